// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/fleet"
	"github.com/tombolo-io/tombolo/e2e/chaos/history"
	"github.com/tombolo-io/tombolo/e2e/chaos/planted"
)

var (
	seed      = flag.Uint64("seed", 0, "play this history alone")
	histories = flag.Int("histories", 100, "how many histories")
	worlds    = flag.Int("worlds", 3, "on how many worlds they are played at the same time, 1 GiB each")
	plants    = flag.String("planted", "quick", "which planted errors to look for: quick (two), all or none")
	only      = flag.String("only", "", "look for these planted errors alone, separated by commas")
	programs  = flag.String("programs", "", "directory of tombolo-hub and tombolo-agent (default: they are built)")
)

// attempts is how many histories may look for a planted error before it counts as not found.
const attempts = 40

// TestHistories plays histories on the tree as it is, and then on the tree with errors in it.
func TestHistories(t *testing.T) {
	f, err := fleet.Start(t.Context(), fleet.Config{Clusters: 2, Logf: t.Logf, Programs: *programs})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	good := f.Programs()
	if *only == "" {
		t.Run("Tree", func(t *testing.T) { playAll(t, f) })
	}
	if *seed != 0 {
		return
	}
	for _, name := range chosen(t) {
		t.Run("Planted/"+name, func(t *testing.T) { find(t, f, name, good) })
	}
}

// playAll plays on several worlds at once: most of a history is waiting.
func playAll(t *testing.T, f *fleet.Fleet) {
	first, n := uint64(1), *histories
	if *seed != 0 {
		first, n = *seed, 1
	}
	seeds := make(chan uint64, n)
	for i := range uint64(n) {
		seeds <- first + i
	}
	close(seeds)
	var mu sync.Mutex
	var results []*history.Result
	begin := time.Now()
	play := func(f *fleet.Fleet) {
		for s := range seeds {
			r, err := f.Play(t.Context(), s, "")
			if err != nil {
				t.Error(err)
				return
			}
			t.Log(r)
			if r.Failed() {
				t.Errorf("history %d broke a promise; again: go run ./e2e/chaos -seed %d", s, s)
			}
			mu.Lock()
			results = append(results, r)
			mu.Unlock()
		}
	}
	var all sync.WaitGroup
	for range min(*worlds, n) - 1 {
		all.Go(func() {
			other, err := fleet.Start(t.Context(), fleet.Config{Clusters: 2, Logf: t.Logf, Programs: f.Programs()})
			if err != nil {
				t.Error(err)
				return
			}
			defer other.Stop()
			play(other)
		})
	}
	play(f)
	all.Wait()
	s := fleet.Summarize(results, time.Since(begin))
	t.Log(s)
	if len(s.Hits) < 3 && n >= 100 {
		t.Errorf("hardly anything went wrong: %v", s.Hits)
	}
}

// chosen are the planted errors of this run. What a short run leaves out it says.
func chosen(t *testing.T) []string {
	t.Helper()
	names, err := planted.Names()
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case *only != "":
		return strings.Split(*only, ",")
	case *plants == "all":
		return names
	case *plants == "none":
		return nil
	case *plants != "quick":
		t.Fatalf("-planted %s: choose quick, all or none", *plants)
	}
	left := slices.DeleteFunc(names, func(name string) bool { return slices.Contains(planted.Quick, name) })
	t.Logf("not looked for in this short run, only applied: %s (make chaos looks for all)", strings.Join(left, ", "))
	return planted.Quick
}

// find plays histories on a tree with an error until one of them breaks a promise.
func find(t *testing.T, f *fleet.Fleet, name, good string) {
	begin := time.Now()
	profile, err := planted.Profile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := planted.Build(t.Context(), name, dir, good); err != nil {
		t.Fatal(err)
	}
	built := time.Since(begin)
	if err := f.Use(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(attempts) {
		r, err := f.Play(t.Context(), i+1, profile)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed() {
			t.Logf("built in %s, found by history %d after %s: %s", built.Round(time.Second), i+1, (time.Since(begin) - built).Round(time.Second), r.Failures[0])
			compare(t, f, i+1, profile, good)
			return
		}
	}
	t.Errorf("%d histories of profile %s did not find what %s plants", attempts, profile, filepath.Base(name))
}

// compare plays the history that has found an error on the tree without it: otherwise it may have found something else.
func compare(t *testing.T, f *fleet.Fleet, seed uint64, profile history.Profile, good string) {
	t.Helper()
	if err := f.Use(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	r, err := f.Play(t.Context(), seed, profile)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() {
		t.Errorf("without the error it is broken too: %s", r)
	}
}

// TestPatches: every patch applies and changes something, and has a profile that finds it.
func TestPatches(t *testing.T) {
	names, err := planted.Names()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 20 {
		t.Errorf("%d planted errors are too few", len(names))
	}
	for _, name := range names {
		if _, err := planted.Profile(name); err != nil {
			t.Error(err)
		}
		if p, err := planted.Apply(t.Context(), name, t.TempDir()); err != nil {
			t.Error(err)
		} else if !p.Hub && !p.Agent {
			t.Errorf("patch %s changes neither hub nor agent", name)
		}
	}
}
