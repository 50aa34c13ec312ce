// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"fmt"
	"testing"
	"time"
)

// story drives a state through time: each probe is answered after rtt, unless f says that it is lost.
func story(until time.Duration, rtt time.Duration, lost func(now time.Duration) bool) (changes []string, probes int) {
	var s state
	start := time.Now()
	type event struct {
		at  time.Duration
		seq uint16
	}
	var answers []event
	for now := time.Duration(0); now < until; {
		seq, next, changed := s.send(start.Add(now))
		probes++
		if changed {
			changes = append(changes, fmt.Sprintf("%v %t", now.Round(time.Millisecond), s.reachable))
		}
		if !lost(now) {
			answers = append(answers, event{now + rtt, seq})
		}
		for len(answers) > 0 && answers[0].at <= now+next {
			if s.answer(start.Add(answers[0].at), answers[0].seq) {
				changes = append(changes, fmt.Sprintf("%v %t", answers[0].at.Round(time.Millisecond), s.reachable))
			}
			answers = answers[1:]
		}
		now += next
	}
	return changes, probes
}

func TestState(t *testing.T) {
	between := func(from, to time.Duration) func(time.Duration) bool {
		return func(now time.Duration) bool { return now >= from && now < to }
	}
	for name, tc := range map[string]struct {
		reason    string
		until     time.Duration
		rtt       time.Duration
		lost      func(time.Duration) bool
		want      []string
		maxProbes int
	}{
		"always there": {
			reason: "the first answer makes it reachable; from then on one probe per second",
			until:  20 * time.Second, rtt: time.Millisecond, lost: between(0, 0),
			want: []string{"1ms true"}, maxProbes: 24,
		},
		"never there": {
			reason: "three probes without an answer are a result; the eagerness ends",
			until:  30 * time.Second, rtt: time.Millisecond, lost: between(0, time.Hour),
			want: []string{"300ms false"}, maxProbes: 70,
		},
		"one lost": {
			reason: "one lost packet is no outage",
			until:  20 * time.Second, rtt: time.Millisecond, lost: between(5*time.Second, 6*time.Second),
			want: []string{"1ms true"}, maxProbes: 26,
		},
		"outage": {
			reason: "three answers missing in a row; found within 2.5 s of the first lost probe, and the end of it with the next probe",
			until:  20 * time.Second, rtt: time.Millisecond, lost: between(5*time.Second, 10*time.Second),
			want: []string{"1ms true", "7s false", "10.101s true"}, maxProbes: 70,
		},
		"far away": {
			reason: "a round trip longer than the eager interval: late answers are answers",
			until:  20 * time.Second, rtt: 280 * time.Millisecond, lost: between(0, 0),
			want: []string{"280ms true"}, maxProbes: 28,
		},
		"far away, one lost": {
			reason: "the answer to the probe after the lost one comes before the third is missed",
			until:  20 * time.Second, rtt: 280 * time.Millisecond, lost: between(5*time.Second, 6*time.Second),
			want: []string{"280ms true"}, maxProbes: 32,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, probes := story(tc.until, tc.rtt, tc.lost)
			if fmt.Sprint(got) != fmt.Sprint(tc.want) || probes > tc.maxProbes {
				t.Errorf("%s: %v with %d probes, want %v with at most %d", tc.reason, got, probes, tc.want, tc.maxProbes)
			}
		})
	}
}

func TestStateRefusesAnswers(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		reason string
		seq    func(s *state) uint16
	}{
		"never asked": {reason: "a number that no probe had yet", seq: func(s *state) uint16 { return s.seq + 1 }},
		"too old":     {reason: "the time it was sent is forgotten", seq: func(s *state) uint16 { return s.seq - remembered }},
		"twice": {reason: "a duplicate tells nothing new", seq: func(s *state) uint16 {
			s.answer(now, s.seq)
			s.known = false
			return s.seq
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var s state
			for range 100 {
				s.send(now)
			}
			s.known = false
			if s.answer(now, tc.seq(&s)) {
				t.Error(tc.reason)
			}
		})
	}
}
