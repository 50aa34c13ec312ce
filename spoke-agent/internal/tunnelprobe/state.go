// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe

import (
	"maps"
	"slices"
	"time"
)

const (
	// interval of small echoes.
	interval = time.Second
	// lostAfter is when an echo is lost that has not been answered.
	lostAfter = 2 * time.Second
	// window is how many echoes loss and round trip are of.
	window = 60
	// missedLimit is how many echoes in a row may be lost before the target is unreachable.
	missedLimit = 3
	// Bounds of how long an answer to a large echo is waited for: four round trips within.
	leastWait, mostWait = 250 * time.Millisecond, lostAfter
)

// sent is an echo on its way.
type sent struct {
	at    time.Time
	size  int
	large bool
}

// state is what is known of a target. Pure: the time comes in.
type state struct {
	// known is false until the first answer, or missedLimit echoes without one.
	known, reachable bool
	since            time.Time
	search           search

	seq      uint32
	pending  map[uint32]sent
	smallDue time.Time
	missed   int    // in a row
	outcomes []bool // of the newest small echoes, true for answered
	rtts     []time.Duration
}

func newState(most int, now time.Time) *state {
	return &state{search: newSearch(most, now), pending: map[uint32]sent{}, smallDue: now}
}

// request is an echo to send now.
type request struct {
	seq  uint32
	size int
}

// poll returns the echoes to send now, and whether reachability or path MTU have changed.
func (s *state) poll(now time.Time) (requests []request, changed bool) {
	changed = s.expire(now)
	if !now.Before(s.smallDue) {
		requests = append(requests, s.send(sent{now, smallest, false}))
		s.smallDue = now.Add(interval)
	}
	if s.reachable {
		size, other := s.search.due(now, s.wait())
		changed = changed || other
		if size != 0 {
			requests = append(requests, s.send(sent{now, size, true}))
		}
	}
	return requests, changed
}

// next is when poll is to be asked again.
func (s *state) next() time.Time {
	next := s.smallDue
	if at := s.search.next(); s.reachable && at.Before(next) {
		next = at
	}
	return next
}

func (s *state) send(e sent) request {
	s.seq++
	s.pending[s.seq] = e
	return request{s.seq, e.size}
}

// expire gives up what is not answered in time.
func (s *state) expire(now time.Time) (changed bool) {
	for _, seq := range slices.Sorted(maps.Keys(s.pending)) {
		e := s.pending[seq]
		if now.Sub(e.at) < lostAfter {
			continue
		}
		delete(s.pending, seq)
		if e.large {
			continue
		}
		s.search.again()
		s.outcomes = newest(append(s.outcomes, false))
		s.missed++
		if s.missed >= missedLimit {
			changed = s.become(false, now) || changed
		}
	}
	return changed
}

// answer notes that the echo seq came back, and returns its round trip; ok is false when none was waited for.
func (s *state) answer(now time.Time, seq uint32) (rtt time.Duration, ok, changed bool) {
	e, ok := s.pending[seq]
	if !ok {
		return 0, false, false
	}
	delete(s.pending, seq)
	rtt = now.Sub(e.at)
	if e.large {
		return rtt, true, s.search.answered(e.size, now)
	}
	s.missed = 0
	s.search.small(e.at)
	s.outcomes = newest(append(s.outcomes, true))
	s.rtts = newest(append(s.rtts, rtt))
	return rtt, true, s.become(true, now)
}

func (s *state) become(reachable bool, now time.Time) (changed bool) {
	if s.known && s.reachable == reachable {
		return false
	}
	s.known, s.reachable, s.since = true, reachable, now
	return true
}

// loss is the part of the newest small echoes that were lost.
func (s *state) loss() float64 {
	if len(s.outcomes) == 0 {
		return 0
	}
	lost := 0
	for _, answered := range s.outcomes {
		if !answered {
			lost++
		}
	}
	return float64(lost) / float64(len(s.outcomes))
}

// rtt is the median of the newest small echoes' round trips; 0 before the first.
func (s *state) rtt() time.Duration {
	if len(s.rtts) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s.rtts))[len(s.rtts)/2]
}

func (s *state) wait() time.Duration { return min(max(4*s.rtt(), leastWait), mostWait) }

// newest are the last window entries.
func newest[T any](all []T) []T { return all[max(0, len(all)-window):] }
