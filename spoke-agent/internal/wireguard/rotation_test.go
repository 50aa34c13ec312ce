// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"net/netip"
	"testing"
	"time"
)

// rotate makes a side's next key, serves it, and returns its public half, as the agent does before the hub has approved it.
func (s *side) rotate(t *testing.T, request string) PublicKey {
	t.Helper()
	if err := s.keys.Rotate(request); err != nil {
		t.Fatal(err)
	}
	announced, err := s.keys.Announced()
	if err != nil || announced == public(t, s.keys.Current()) {
		t.Fatalf("announced %s, %v: want another key than the current one", announced, err)
	}
	s.wireguard.Next = s.keys.Next()
	s.set(t)
	return announced
}

// approve is the hub's answer: this side hears of it.
func (s *side) approve(t *testing.T, key PublicKey) {
	t.Helper()
	if err := s.keys.Approve(key); err != nil {
		t.Fatal(err)
	}
	s.wireguard.Key, s.wireguard.Next, s.wireguard.Former = s.keys.Current(), s.keys.Next(), s.keys.Former()
	s.set(t)
	if public(t, s.keys.Current()) != key {
		t.Error("the key in use is not the approved one")
	}
}

// hear is the other side's copy of the directory.
func (s *side) hear(t *testing.T, key PublicKey) {
	t.Helper()
	s.wireguard.Peers[0].Key = key
	s.set(t)
}

// TestRotation replaces keys under 1,000 packets a second, there and back, in every order in which the copies of the directory can come.
func TestRotation(t *testing.T) {
	w := newWorld(t)
	eventually(t, "an answer", func() bool { return w.ping(t, 1) == 1 })
	pause := func() { time.Sleep(300 * time.Millisecond) } // the copies do not come at the same time
	for _, tc := range []struct {
		name, reason string
		rotate       func(t *testing.T)
	}{
		{"the other first", "west may know the key before east hears that it is approved", func(t *testing.T) {
			key := w.east.rotate(t, "a")
			pause()
			w.west.hear(t, key)
			pause()
			w.east.approve(t, key)
		}},
		{"the own first", "west may be away from the hub", func(t *testing.T) {
			key := w.east.rotate(t, "b")
			pause()
			w.east.approve(t, key)
			pause()
			w.west.hear(t, key)
		}},
		{"both", "each end on its own", func(t *testing.T) {
			east, west := w.east.rotate(t, "c"), w.west.rotate(t, "c")
			pause()
			w.west.hear(t, east)
			w.west.approve(t, west)
			pause()
			w.east.hear(t, west)
			w.east.approve(t, east)
		}},
	} {
		const packets = 3000
		done := make(chan int)
		go func() { done <- w.ping(t, packets, "-i", "0.001", "-W", "10") }()
		pause()
		tc.rotate(t)
		n := <-done
		t.Logf("%s: %d of %d answered", tc.name, n, packets)
		if n != packets {
			t.Errorf("%s: %s: %d of %d packets were lost", tc.name, tc.reason, packets-n, packets)
		}
		for name, s := range map[string]*side{"east": &w.east, "west": &w.west} {
			e := s.tunnel.engine.(*embedded)
			eventually(t, "sessions with the newest keys at "+name, func() bool { return e.newest() })
			s.later(t, grace)
			s.set(t)
			if pairs := e.served(); pairs != 1 || !s.tunnel.Settled() {
				t.Errorf("%s: a minute later %s serves %d pairs of keys, settled %t: want the newest alone", tc.name, name, pairs, s.tunnel.Settled())
			}
			if err := s.keys.DropFormer(); err != nil {
				t.Fatal(err)
			}
			s.wireguard.Former = PrivateKey{}
		}
	}
	if n := w.ping(t, 100, "-i", "0.001"); n != 100 {
		t.Errorf("%d of 100 answered after all rotations", n)
	}
}

// newest says whether packets go through the wanted pair.
func (e *embedded) newest() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.establish()
	current, err := e.want.key.Public()
	for _, p := range e.pairs() {
		if err == nil && p.own == current && e.want.wants(p) && p.established.IsZero() {
			return false
		}
	}
	return err == nil
}

func (e *embedded) served() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.pairs())
}

// later lets time pass for what the side remembers.
func (s *side) later(t *testing.T, d time.Duration) {
	t.Helper()
	e := s.tunnel.engine.(*embedded)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.pairs() {
		for _, at := range []*time.Time{&p.since, &p.established, &p.replaced} {
			if !at.IsZero() {
				*at = at.Add(-d)
			}
		}
	}
}

// TestOverlap: which pairs are served, and which one packets go through.
func TestOverlap(t *testing.T) {
	var keys [3]PrivateKey
	for i := range keys {
		key, err := newPrivateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	former, current, next := public(t, keys[0]), public(t, keys[1]), public(t, keys[2])
	west, gone := netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("192.0.2.30")
	peer := func(first byte, a netip.Addr) Peer { return Peer{Key: PublicKey{first}, Address: a, Port: port} }
	want := state{key: keys[1], next: keys[2], former: keys[0], peers: map[PublicKey]Peer{{2}: peer(2, west)}}
	now := time.Now()
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	old := func(replaced time.Duration) *pair {
		return &pair{own: current, Peer: peer(1, west), since: at(2 * time.Hour), established: at(2 * time.Hour), replaced: at(replaced)}
	}
	fresh := func(own PublicKey, established time.Time) *pair {
		return &pair{own: own, Peer: peer(2, west), since: at(time.Minute), established: established}
	}
	for name, tc := range map[string]struct {
		reason string
		pair   *pair
		others []*pair
		over   bool
	}{
		"wanted":         {"it is the one", fresh(current, at(0)), nil, false},
		"next":           {"others may use it before this node hears that they may", fresh(next, time.Time{}), nil, false},
		"gone":           {"a gateway that was withdrawn is served no more", &pair{own: current, Peer: peer(3, gone)}, nil, true},
		"no session yet": {"the other end does not know the new key", old(time.Minute), []*pair{fresh(current, time.Time{})}, false},
		"fresh session":  {"packets may be on the way", old(time.Minute), []*pair{fresh(current, at(grace-time.Second))}, false},
		"session":        {"the new key works", old(time.Minute), []*pair{fresh(current, at(grace))}, true},
		"former":         {"our own former key, too", &pair{own: former, Peer: peer(2, west)}, []*pair{fresh(current, at(grace))}, true},
		"former needed":  {"the other end uses it yet", &pair{own: former, Peer: peer(2, west)}, []*pair{fresh(current, time.Time{})}, false},
		"patience":       {"who does not come in an hour does not come", old(patience), []*pair{fresh(current, time.Time{})}, true},
	} {
		if got := over(tc.pair, append(tc.others, tc.pair), want, now); got != tc.over {
			t.Errorf("%s: %s: over is %t", name, tc.reason, got)
		}
	}
	fallback, waiting, later := old(time.Minute), fresh(current, time.Time{}), fresh(next, at(time.Second))
	later.since = at(time.Second)
	for name, tc := range map[string]struct {
		reason string
		pairs  []*pair
		want   *pair
	}{
		"old":     {"what works is used until the new works", []*pair{waiting, fallback}, fallback},
		"new":     {"the newest that works", []*pair{fallback, fresh(current, at(time.Minute)), later}, later},
		"nothing": {"the key in use, when nothing has been heard yet", []*pair{fresh(next, time.Time{}), waiting, {own: former, Peer: peer(2, west)}}, waiting},
	} {
		if got := choose(tc.pairs, current, want); got != tc.want {
			t.Errorf("%s: %s: chose %+v", name, tc.reason, got)
		}
	}
}
