// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import "time"

const (
	// steady is the interval of a target that answers.
	steady = time.Second
	// eager is the interval of a target that has not answered yet, and the first one after an answer.
	eager = 100 * time.Millisecond
	// eagerProbes is how many probes go unanswered before eager backs off, up to steady.
	eagerProbes = 30
	// doubtful is the interval after a missed answer of a target that answers otherwise.
	doubtful = 250 * time.Millisecond
	// missedLimit is how many answers in a row a target may miss before it is unreachable.
	missedLimit = 3
	// remembered is how many probes an answer may be late: 6 seconds at the eager interval.
	remembered = 64
)

// state is what is known of a target. Pure: the time comes in.
type state struct {
	// known is false until the first answer, or missedLimit probes without one.
	known, reachable bool
	rtt              time.Duration
	since            time.Time

	seq      uint16
	sentAt   [remembered]time.Time
	missed   int // probes without an answer since the newest answer
	answered int // answers since the newest miss
	waiting  bool
}

// send notes that a probe goes out now. It returns the probe's sequence number, when the next one is due, and whether
// the answers that have not come until now make the target unreachable.
func (s *state) send(now time.Time) (seq uint16, next time.Duration, changed bool) {
	if s.waiting {
		s.missed++
		s.answered = 0
	}
	if s.missed >= missedLimit {
		changed = s.become(false, now)
	}
	s.seq++
	s.sentAt[s.seq%remembered] = now
	s.waiting = true
	return s.seq, s.interval(), changed
}

func (s *state) interval() time.Duration {
	switch {
	case s.reachable && s.missed > 0:
		return doubtful
	case s.reachable:
		return min(steady, eager<<min(s.answered, 10))
	case s.missed > eagerProbes:
		return min(steady, eager<<min((s.missed-eagerProbes)/2, 10))
	}
	return eager
}

// answer notes that the answer to the probe seq has come, and returns whether this makes the target reachable.
func (s *state) answer(now time.Time, seq uint16) (changed bool) {
	slot := &s.sentAt[seq%remembered]
	if s.seq-seq >= remembered || slot.IsZero() {
		return false // too old, never sent, or answered already
	}
	s.rtt = now.Sub(*slot)
	*slot = time.Time{}
	s.missed, s.waiting = 0, false
	s.answered++
	return s.become(true, now)
}

func (s *state) become(reachable bool, now time.Time) (changed bool) {
	if s.known && s.reachable == reachable {
		return false
	}
	s.known, s.reachable, s.since = true, reachable, now
	return true
}
