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
	c := &Controller{past: past{then: federation.Past{}}}
	c.grant(&federation.Removal{Held: true, Items: map[string]bool{"a": true}})
	if c.granted != nil {
		t.Errorf("granted is %v although nobody has confirmed", c.granted)
	}
	c.grant(&federation.Removal{Items: map[string]bool{"a": true, "b": true}})
	c.grant(&federation.Removal{Items: map[string]bool{"b": true}})
	if !c.granted["a"] || !c.granted["b"] || c.past.then == nil {
		t.Errorf("granted is %v", c.granted)
	}
	c.grant(nil)
	if c.granted != nil || c.past.then != nil {
		t.Errorf("granted is %v when all is done", c.granted)
	}
}
