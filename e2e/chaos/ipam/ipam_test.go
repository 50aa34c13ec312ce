// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/fleet"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/planted"
)

var (
	operations = flag.Int("operations", 20_000, "how many operations the allocators do")
	limit      = flag.Duration("limit", 40*time.Second, "after which time they end, whatever is done")
	plants     = flag.Int("planted", 0, "how many of the planted errors to look for")
	seed       = flag.Uint64("seed", 1, "what is chosen at random")
)

// config of a run that ends soon.
func config(t *testing.T) fleet.Config {
	return fleet.Config{
		Dir: t.TempDir(), Operations: *operations, Limit: *limit, Allocators: 8, Seed: *seed, KillEvery: 5 * time.Second, Logf: t.Logf,
	}
}

// TestAllocators: eight processes hand out of the same pools, and one is killed every five seconds. Nobody gets what somebody else has, and nothing is lost.
func TestAllocators(t *testing.T) {
	c := config(t)
	var err error
	if c.Program, err = fleet.Build(t.Context(), c.Dir, ""); err != nil {
		t.Fatal(err)
	}
	r, err := fleet.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", *r)
	if r.Failed() {
		t.Errorf("a promise was broken; again: go run ./e2e/chaos/ipam -seed %d -n %d", r.Seed, r.Operations)
	}
	if r.Kills < 2 && r.Operations < *operations {
		t.Errorf("%d kills are too few to say anything", r.Kills)
	}
	if r.Allocations < 100 || r.Refusals == 0 {
		t.Errorf("%d allocations and %d refusals: hardly anything has happened", r.Allocations, r.Refusals)
	}
}

// TestPlantable: the guards are where the planted errors take them away.
func TestPlantable(t *testing.T) {
	for _, name := range planted.Names() {
		if err := planted.Check(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

// TestPlanted: without one of the guards, the same checks find that a promise is broken.
func TestPlanted(t *testing.T) {
	names := planted.Names()
	for _, name := range names[:min(len(names), *plants)] {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			var err error
			if c.Program, err = planted.Build(t.Context(), name, c.Dir); err != nil {
				t.Fatal(err)
			}
			// Nearly all prefixes go to clusters, and what is given back is asked for at once.
			c.Search, c.Limit, c.Args = true, 2*time.Minute, []string{"-told=90", "-keep=8"}
			r, err := fleet.Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", *r)
			if r.Overlaps == 0 || r.Linearizable {
				t.Errorf("the checks did not find it: %+v", *r)
			}
		})
	}
}
