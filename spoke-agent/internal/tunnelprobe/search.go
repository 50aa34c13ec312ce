// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe

import "time"

const (
	// leastMTU is what is looked for at least (RFC 791: what every host takes in one piece).
	leastMTU = 576
	// triesPerSize is how many echoes of a size go unanswered before it is too large.
	triesPerSize = 3
	// verifyEvery is how often an echo of the found size is sent.
	verifyEvery = 10 * time.Second
	// growEvery is how often a larger size is tried, should the path have become wider.
	growEvery = time.Minute
)

// search finds the largest size that the path takes in both directions, by echoes that may not be fragmented. It relies on
// their absence, not on ICMP: what drops them in silence is found too. Pure: the time comes in.
type search struct {
	// best is the largest size that passed when it was last looked for, in octets; 0 before, and when not even leastMTU passes.
	best int

	most      int // what is tried at most
	low, high int // low passes, high does not
	size      int // being tried; 0 is none
	growing   bool
	tries     int
	first     time.Time // when the first try of this size was sent,
	last      time.Time // and the newest
	alive     time.Time // when the first small echo after the first try was sent that was answered
	tryDue    time.Time
	verifyDue time.Time
	growDue   time.Time
}

func newSearch(most int, now time.Time) search {
	s := search{most: most, growDue: now.Add(growEvery)}
	s.try(most, leastMTU-1, most+1)
	return s
}

// try looks for the largest size above low and below high, size first.
func (s *search) try(size, low, high int) {
	s.size, s.low, s.high, s.tryDue = size, low, high, time.Time{}
	s.again()
}

// again forgets the tries of this size: small echoes are lost too.
func (s *search) again() { s.tries, s.alive = 0, time.Time{} }

// small notes that a small echo was answered that was sent then.
func (s *search) small(at time.Time) {
	if s.tries > 0 && at.After(s.first) && s.alive.IsZero() {
		s.alive = at
	}
}

// due is the size of an echo to send now, or 0. wait is how long an answer may take. A size is too large only if a small echo
// passed between its tries.
func (s *search) due(now time.Time, wait time.Duration) (size int, changed bool) {
	if s.size == 0 {
		s.begin(now)
	}
	if s.size != 0 && s.tries >= triesPerSize && !now.Before(s.tryDue) && !s.alive.IsZero() && s.alive.Before(s.last) {
		changed = s.conclude(false, now)
	}
	if s.size == 0 || now.Before(s.tryDue) {
		return 0, changed
	}
	if s.tries == 0 {
		s.first = now
	}
	s.tries++
	s.last, s.tryDue = now, now.Add(wait)
	return s.size, changed
}

// begin starts what is due.
func (s *search) begin(now time.Time) {
	switch {
	case s.best < s.most && !now.Before(s.growDue):
		s.growing, s.growDue = true, now.Add(growEvery)
		s.try(s.most, max(s.best, leastMTU-1), s.most+1)
	case s.best != 0 && !now.Before(s.verifyDue):
		s.try(s.best, leastMTU-1, s.best+1)
	}
}

// answered notes that an echo of this size came back.
func (s *search) answered(size int, now time.Time) (changed bool) {
	return s.size == size && s.conclude(true, now)
}

// conclude narrows the range, and says whether this changes best.
func (s *search) conclude(passed bool, now time.Time) (changed bool) {
	if passed {
		s.low = s.size
	} else {
		s.high = s.size
	}
	if s.high-s.low > 1 {
		next := s.low + (s.high-s.low)/2
		if s.growing && s.low == s.best {
			next = s.low + 1 // most likely nothing has changed
		}
		s.try(next, s.low, s.high)
		return false
	}
	found := s.low
	if found < leastMTU {
		found = 0
	}
	changed = found != s.best
	s.best, s.size, s.growing, s.verifyDue = found, 0, false, now.Add(verifyEvery)
	return changed
}

// next is when due is to be asked again.
func (s *search) next() time.Time {
	switch {
	case s.size != 0:
		return s.tryDue
	case s.best == 0:
		return s.growDue
	case s.best < s.most && s.growDue.Before(s.verifyDue):
		return s.growDue
	}
	return s.verifyDue
}
