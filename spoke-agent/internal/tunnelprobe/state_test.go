// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe

import (
	"math/rand/v2"
	"testing"
	"time"
)

// path is a way that changes with time.
type path struct {
	mtu   func(time.Duration) int
	rtt   time.Duration
	loss  float64
	down  func(time.Duration) bool
	state *state
	// sent by size, and when changes were told.
	sent    map[int]int
	changes []time.Duration
}

var epoch = time.Unix(1_700_000_000, 0)

func newPath(most, mtu int) *path {
	return &path{
		mtu: func(time.Duration) int { return mtu }, rtt: 20 * time.Millisecond, down: func(time.Duration) bool { return false },
		state: newState(most, Interval, epoch), sent: map[int]int{},
	}
}

// run lets the clock go from one moment to another, in milliseconds.
func (p *path) run(from, to time.Duration) *path {
	random := rand.New(rand.NewPCG(1, 2))
	arrive := map[time.Duration][]uint32{}
	for at := from; at < to; at += time.Millisecond {
		now := epoch.Add(at)
		for _, seq := range arrive[at] {
			if _, _, changed := p.state.answer(now, seq); changed {
				p.changes = append(p.changes, at)
			}
		}
		if now.Before(p.state.next()) {
			continue
		}
		requests, changed := p.state.poll(now)
		if changed {
			p.changes = append(p.changes, at)
		}
		for _, r := range requests {
			p.sent[r.size]++
			if r.size <= p.mtu(at) && !p.down(at) && random.Float64() >= p.loss {
				arrive[at+p.rtt] = append(arrive[at+p.rtt], r.seq)
			}
		}
	}
	return p
}

func TestPathMTU(t *testing.T) {
	constant := func(n int) func(time.Duration) int { return func(time.Duration) int { return n } }
	step := func(at time.Duration, before, after int) func(time.Duration) int {
		return func(now time.Duration) int {
			if now < at {
				return before
			}
			return after
		}
	}
	for name, tc := range map[string]struct {
		reason string
		most   int
		mtu    func(time.Duration) int
		rtt    time.Duration
		loss   float64
		down   [2]time.Duration
		until  time.Duration
		want   int
	}{
		"as the interface":        {reason: "the first try passes", most: 1500, mtu: constant(1500), until: time.Second, want: 1500},
		"narrower":                {reason: "found to the octet", most: 1500, mtu: constant(1399), until: 30 * time.Second, want: 1399},
		"one less":                {reason: "found to the octet", most: 1500, mtu: constant(1499), until: 30 * time.Second, want: 1499},
		"jumbo":                   {reason: "a wide range takes a few steps more", most: 9000, mtu: constant(1500), until: 40 * time.Second, want: 1500},
		"the least":               {reason: "what is looked for at all", most: 1500, mtu: constant(576), until: 30 * time.Second, want: 576},
		"less than the least":     {reason: "small echoes pass, and no size that counts", most: 1500, mtu: constant(575), until: 30 * time.Second},
		"becomes narrower":        {reason: "seen at the next look at the found size", most: 1500, mtu: step(20*time.Second, 1500, 1400), until: 60 * time.Second, want: 1400},
		"becomes wider":           {reason: "tried each minute", most: 1500, mtu: step(40*time.Second, 1400, 1500), until: 125 * time.Second, want: 1500},
		"becomes somewhat wider":  {reason: "not only the whole", most: 1500, mtu: step(40*time.Second, 1400, 1450), until: 150 * time.Second, want: 1450},
		"becomes usable":          {reason: "after nothing at all", most: 1500, mtu: step(40*time.Second, 500, 1300), until: 100 * time.Second, want: 1300},
		"slow":                    {reason: "an answer is waited for as long as the others take", most: 1500, mtu: constant(1500), rtt: 700 * time.Millisecond, until: 10 * time.Second, want: 1500},
		"slow and narrower":       {reason: "and for no longer", most: 1500, mtu: constant(1400), rtt: 400 * time.Millisecond, until: 90 * time.Second, want: 1400},
		"outage":                  {reason: "what takes no small packet says nothing of large ones", most: 1500, mtu: constant(1500), down: [2]time.Duration{9 * time.Second, 40 * time.Second}, until: 41500 * time.Millisecond, want: 1500},
		"short outage":            {reason: "too short to be called unreachable", most: 1500, mtu: constant(1500), down: [2]time.Duration{9500 * time.Millisecond, 10900 * time.Millisecond}, until: 16 * time.Second, want: 1500},
		"short outage when found": {reason: "the same in the search", most: 1500, mtu: constant(1400), down: [2]time.Duration{3100 * time.Millisecond, 4500 * time.Millisecond}, until: 60 * time.Second, want: 1400},
		"lossy":                   {reason: "one in ten is lost at any size", most: 1500, mtu: constant(1400), loss: 0.1, until: 5 * time.Minute, want: 1400},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(tc.most, 0)
			p.mtu, p.loss = tc.mtu, tc.loss
			if tc.rtt != 0 {
				p.rtt = tc.rtt
			}
			p.down = func(at time.Duration) bool { return at >= tc.down[0] && at < tc.down[1] }
			p.run(0, tc.until)
			if got := p.state.search.best; got != tc.want {
				t.Errorf("%s: found %d, want %d (changes at %v)", tc.reason, got, tc.want, p.changes)
			}
		})
	}
}

func TestReachability(t *testing.T) {
	p := newPath(1500, 1500)
	if p.run(0, 15*time.Millisecond); p.state.known {
		t.Error("something is known before the first answer")
	}
	p.run(15*time.Millisecond, 30*time.Millisecond) // lets the first answer go: it was another run's
	p = newPath(1500, 1500)
	p.down = func(at time.Duration) bool { return at >= 10*time.Second && at < 30*time.Second }
	p.run(0, 10*time.Second)
	if s := p.state; !s.reachable || s.loss() != 0 || s.rtt() != 20*time.Millisecond || s.since != epoch.Add(20*time.Millisecond) {
		t.Errorf("after ten seconds: %+v, loss %f, round trip %s", s, s.loss(), s.rtt())
	}
	p.run(10*time.Second, 20*time.Second)
	if s := p.state; s.reachable || s.since != epoch.Add(11500*time.Millisecond) {
		t.Errorf("reachable %t since %s: the third echo in a row was missed after 11.5 s", s.reachable, s.since.Sub(epoch))
	}
	p.run(20*time.Second, 33*time.Second)
	if p.state.reachable {
		t.Error("reachable again after less than three seconds")
	}
	p.run(33*time.Second, 60*time.Second)
	if s := p.state; !s.reachable || s.since != epoch.Add(33020*time.Millisecond) || s.loss() < 0.3 || s.loss() > 0.37 || s.search.best != 1500 {
		t.Errorf("after 20 of 60 seconds without: reachable %t, loss %f, path MTU %d", s.reachable, s.loss(), s.search.best)
	}
	p.run(60*time.Second, 3*time.Minute)
	if got := p.state.loss(); got != 0 {
		t.Errorf("loss is %f of the last minute, which lost nothing", got)
	}
	if got := p.sent[1500]; got > 40 {
		t.Errorf("%d large echoes in three minutes", got)
	}
	if len(p.state.pending) > 3 {
		t.Errorf("%d echoes are still waited for", len(p.state.pending))
	}
}

func TestNeverReachable(t *testing.T) {
	p := newPath(1500, 1500)
	p.down = func(time.Duration) bool { return true }
	p.run(0, 10*time.Second)
	if s := p.state; !s.known || s.reachable || s.loss() != 1 || len(p.changes) != 1 || len(p.sent) != 1 {
		t.Errorf("%+v, changes %v, sent %v: want it known as unreachable, and nothing large sent", s, p.changes, p.sent)
	}
	if _, ok, _ := p.state.answer(epoch.Add(time.Hour), 1); ok {
		t.Error("an answer is taken that nobody waits for")
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(echo{1, 2, 3}.request(1500))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseAnswer(b)
		if err != nil {
			return
		}
		again := e.request(len(b) + headers)
		again[frameOffset+5], again[frameOffset+11] = echoAsking, echoAsked
		if got, err := parseAnswer(again); err != nil || got != e {
			t.Errorf("%+v, and from its own octets %+v (%v)", e, got, err)
		}
	})
}

func TestRequestIsNoAnswer(t *testing.T) {
	b := echo{1, 2, 3}.request(100)
	if len(b)+headers != 100 {
		t.Errorf("a request of 100 octets has %d", len(b)+headers)
	}
	if _, err := parseAnswer(b); err == nil {
		t.Error("a request passes for its answer")
	}
	b[frameOffset+5], b[frameOffset+11] = echoAsking, echoAsked
	if got, err := parseAnswer(b); err != nil || got != (echo{1, 2, 3}) {
		t.Errorf("the answer is %+v (%v)", got, err)
	}
}

// TestFlapping: short outages change nothing, and what comes and goes stays away until it has answered for a while.
func TestFlapping(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		up, down time.Duration
		changes  int
		want     bool
	}{
		"Short": {"two echoes in a row are not three", 3 * time.Second, time.Second, 1, true},
		"Long":  {"it never answers for three seconds", 2 * time.Second, 3 * time.Second, 2, false},
		"Slow":  {"out and back each time", 20 * time.Second, 20 * time.Second, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(0, 1500)
			p.down = func(at time.Duration) bool { return at%(tc.up+tc.down) >= tc.up }
			p.run(0, 95*time.Second)
			if p.state.reachable != tc.want || len(p.changes) != tc.changes {
				t.Errorf("%s: reachable %t after changes at %v, want %t after %d", tc.reason, p.state.reachable, p.changes, tc.want, tc.changes)
			}
		})
	}
}

// TestWithoutSearch: who does not want to know the path MTU sends no large echo, and is not asked without end.
func TestWithoutSearch(t *testing.T) {
	p := newPath(0, 1500).run(0, 3*time.Minute)
	if len(p.sent) != 1 || p.sent[smallest] > 361 || p.state.next().Before(epoch.Add(3*time.Minute)) {
		t.Errorf("sent %v in three minutes, and then is due at %s", p.sent, p.state.next().Sub(epoch))
	}
	slow := newPath(0, 1500)
	slow.state.interval = 2 * time.Second
	if slow.run(0, 3*time.Minute); slow.sent[smallest] > 91 {
		t.Errorf("sent %v in three minutes, one every two seconds", slow.sent)
	}
}
