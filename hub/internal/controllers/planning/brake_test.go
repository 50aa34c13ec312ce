// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
)

// TestPast: what counts is what there was when the window began, however much has gone since.
func TestPast(t *testing.T) {
	snapshot := func(routers ...string) *federation.Snapshot {
		s := &federation.Snapshot{}
		for _, name := range routers {
			s.Routers = append(s.Routers, &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: name}})
		}
		return s
	}
	var p past
	start := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		reason string
		at     time.Duration
		now    *federation.Snapshot
		want   int
	}{
		{"the first look begins a window", 0, snapshot("a", "b", "c"), 3},
		{"what has gone since is remembered", window - 1, snapshot("a"), 3},
		{"until the window is over", window, snapshot("a"), 1},
		{"a clock that went back begins a new one", -time.Hour, snapshot("a", "b"), 2},
	} {
		if got := len(p.since(step.now, start.Add(step.at))); got != step.want {
			t.Errorf("%s: %d objects, want %d", step.reason, got, step.want)
		}
	}
}

// TestGrant: what is confirmed is remembered until all of it is done, and what has gone by it counts no more.
func TestGrant(t *testing.T) {
	c, s, start := &Controller{}, &federation.Snapshot{}, time.Unix(1_700_000_000, 0)
	c.grant(&federation.Removal{Held: true, Digest: "1", Items: map[string]bool{"a": true}}, "", s, start)
	if c.granted != nil || c.past.then != nil {
		t.Errorf("granted is %v although nobody has confirmed", c.granted)
	}
	c.grant(&federation.Removal{Granted: map[string]bool{"a": true, "b": true}}, "1", s, start)
	if !c.granted["a"] || !c.granted["b"] || !c.past.began.Equal(start) {
		t.Errorf("granted is %v, and the window began %v", c.granted, c.past.began)
	}
	c.grant(&federation.Removal{Held: true, Digest: "2", Items: map[string]bool{"x": true}, Granted: map[string]bool{"b": true}}, "1", s, start.Add(time.Minute))
	if c.granted["a"] || !c.granted["b"] || !c.past.began.Equal(start) {
		t.Errorf("granted is %v: what is done may not be done again, and what is not is still granted; the window began %v", c.granted, c.past.began)
	}
	c.grant(nil, "1", s, start)
	if c.granted != nil {
		t.Errorf("granted is %v when all is done", c.granted)
	}
}

// TestOffers: who confirms what was shown to him confirms that, although more is lost by now; and confirms it once.
func TestOffers(t *testing.T) {
	c, s, now := &Controller{}, &federation.Snapshot{}, time.Unix(1_700_000_000, 0)
	shown := &federation.Removal{Held: true, Digest: "1", Items: map[string]bool{"a": true, "b": true}}
	more := &federation.Removal{Held: true, Digest: "2", Items: map[string]bool{"a": true, "b": true, "c": true}}
	c.grant(shown, "", s, now)
	c.grant(more, "", s, now)
	c.grant(more, "", s, now)
	if got := c.brake(federation.Brake{Confirmed: "1"}, s, now).Granted; len(got) != 2 || !got["a"] || !got["b"] {
		t.Errorf("%v is granted", got)
	}
	if got := c.brake(federation.Brake{Confirmed: "3"}, s, now).Granted; len(got) != 0 {
		t.Errorf("%v is granted, and nobody was shown it", got)
	}
	c.grant(&federation.Removal{Held: true, Digest: "3", Items: map[string]bool{"c": true}, Granted: shown.Items}, "1", s, now)
	c.grant(&federation.Removal{Held: true, Digest: "3", Items: map[string]bool{"c": true}}, "1", s, now)
	if got := c.brake(federation.Brake{Confirmed: "1"}, s, now).Granted; len(got) != 0 {
		t.Errorf("%v is granted once more", got)
	}
	c.grant(nil, "1", s, now)
	if len(c.offers) != 0 {
		t.Errorf("%v is still offered", c.offers)
	}
}
