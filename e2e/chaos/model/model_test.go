// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"
	"time"
)

// check walks, and compares what was found with what the guards promise.
func check[S comparable](t *testing.T, begin S, steps func(S) []Step[S], holds func(S) bool, broken bool) {
	t.Helper()
	start := time.Now()
	report, err := Walk(begin, steps, holds)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, in %s", report, time.Since(start).Round(time.Millisecond))
	if found := len(report.Broken) > 0; found != broken {
		t.Errorf("the promise is broken: %v, want %v", found, broken)
	}
	if report.States < 20 {
		t.Errorf("%d states are no model", report.States)
	}
}

func TestLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		remove func(*LedgerGuards)
		broken bool
	}{
		"AllGuards":      {"one value never has two holders", func(*LedgerGuards) {}, false},
		"CompareAndSwap": {"two leaders decide from one version", func(g *LedgerGuards) { g.CompareAndSwap = false }, true},
		"LedgerFirst":    {"what is used is not written down yet", func(g *LedgerGuards) { g.LedgerFirst = false }, true},
		"Reread":         {"a write of unknown outcome is taken for done", func(g *LedgerGuards) { g.Reread = false }, true},
		"Quarantine":     {"a value is free although routers have it", func(g *LedgerGuards) { g.Quarantine = false }, true},
		"Holds":          {"an object that vanished is taken for one that was let go", func(g *LedgerGuards) { g.Holds = false }, true},
		"SayFirst":       {"a cluster has what it has not said yet, and the object vanishes in between", func(g *LedgerGuards) { g.SayFirst = false }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			guards := LedgerGuards{CompareAndSwap: true, LedgerFirst: true, Reread: true, Quarantine: true, Holds: true, SayFirst: true}
			tc.remove(&guards)
			check(t, Ledger{}, guards.Steps, Ledger.Exclusive, tc.broken)
		})
	}
}

func TestPublish(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		remove func(*PublishGuards)
		broken bool
	}{
		"AllGuards":   {"a cluster never goes back", func(*PublishGuards) {}, false},
		"Generations": {"an old plan is applied over a new one", func(g *PublishGuards) { g.Generations = false }, true},
		"Tombstones":  {"what is not listed is taken for deleted", func(g *PublishGuards) { g.Tombstones = false }, true},
		"Identity":    {"the tombstone of another object of that name counts", func(g *PublishGuards) { g.Identity = false }, true},
		"Restart":     {"a leader outlives a restore, and writes until its generations look right", func(g *PublishGuards) { g.Restart = false }, true},
		"AskFirst":    {"a hub that was put back believes reports that were put back with it", func(g *PublishGuards) { g.AskFirst = false }, true},
		"Compare":     {"a cluster is ahead of the hub, and the hub does not mind", func(g *PublishGuards) { g.Compare = false }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			guards := PublishGuards{Generations: true, Tombstones: true, Identity: true, Restart: true, AskFirst: true, Compare: true}
			tc.remove(&guards)
			check(t, guards.Begin(), guards.Steps, Publish.Forward, tc.broken)
		})
	}
}
