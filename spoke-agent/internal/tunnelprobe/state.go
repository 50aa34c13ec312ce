// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe

import (
	"maps"
	"slices"
	"time"
)

const (
	// Interval of small echoes.
	Interval = 500 * time.Millisecond
	// lostAfter is when an echo is lost that has not been answered.
	lostAfter = 2 * time.Second
	// window is how many echoes loss and round trip are of: those of a minute.
	window = 120
	// missedLimit is how many echoes in a row may go unanswered before the target is unreachable.
	missedLimit = 3
	// backAfter is how long an unreachable target must have answered before it is reachable again.
	backAfter = 3 * time.Second
	// leastPatience is how long an answer is waited for at least before the echo counts as missed. It may still come.
	leastPatience = 500 * time.Millisecond
	// Bounds of how long an answer to a large echo is waited for: four round trips within.
	leastWait, mostWait = 250 * time.Millisecond, lostAfter
)

// sent is an echo on its way.
type sent struct {
	at     time.Time
	size   int
	large  bool
	missed bool // it has been counted as such
}

// state is what is known of a target. Pure: the time comes in.
type state struct {
	// known is false until the first answer, or missedLimit echoes without one.
	known, reachable bool
	since            time.Time
	search           search
	interval         time.Duration

	seq      uint32
	pending  map[uint32]sent
	smallDue time.Time
	missed   int       // in a row
	back     time.Time // when the first echo was answered after one that was missed
	outcomes []bool    // of the newest small echoes, true for answered
	rtts     []time.Duration
}

// newState is that of a new target. No size is searched for when most is 0.
func newState(most int, interval time.Duration, now time.Time) *state {
	return &state{search: newSearch(most, now), interval: interval, pending: map[uint32]sent{}, smallDue: now}
}

// searching is true while the path MTU is looked for.
func (s *state) searching() bool { return s.reachable && s.search.most > 0 }

// request is an echo to send now.
type request struct {
	seq  uint32
	size int
}

// poll returns the echoes to send now, and whether reachability or path MTU have changed.
func (s *state) poll(now time.Time) (requests []request, changed bool) {
	changed = s.expire(now)
	if !now.Before(s.smallDue) {
		requests = append(requests, s.send(sent{at: now, size: smallest}))
		s.smallDue = now.Add(s.interval)
	}
	if s.searching() {
		size, other := s.search.due(now, s.wait())
		changed = changed || other
		if size != 0 {
			requests = append(requests, s.send(sent{at: now, size: size, large: true}))
		}
	}
	return requests, changed
}

// next is when poll is to be asked again.
func (s *state) next() time.Time {
	next := s.smallDue
	if at := s.search.next(); s.searching() && at.Before(next) {
		next = at
	}
	return next
}

func (s *state) send(e sent) request {
	s.seq++
	s.pending[s.seq] = e
	return request{s.seq, e.size}
}

// expire counts what is not answered in time, and gives up what is lost.
func (s *state) expire(now time.Time) (changed bool) {
	for _, seq := range slices.Sorted(maps.Keys(s.pending)) {
		e := s.pending[seq]
		if !e.large && !e.missed && now.Sub(e.at) >= s.patience() {
			e.missed = true
			s.pending[seq] = e
			s.search.again()
			s.missed, s.back = s.missed+1, time.Time{}
			if s.missed >= missedLimit {
				changed = s.become(false, now) || changed
			}
		}
		if now.Sub(e.at) < lostAfter {
			continue
		}
		delete(s.pending, seq)
		if !e.large {
			s.outcomes = newest(append(s.outcomes, false))
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
	if s.back.IsZero() {
		s.back = now
	}
	if s.known && !s.reachable && now.Sub(s.back) < backAfter {
		return rtt, true, false
	}
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

// patience is how long an answer is waited for before the echo counts as missed: four round trips within bounds.
func (s *state) patience() time.Duration { return max(s.wait(), leastPatience) }

// newest are the last window entries.
func newest[T any](all []T) []T { return all[max(0, len(all)-window):] }
