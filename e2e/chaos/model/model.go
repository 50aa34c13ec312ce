// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package model checks two protocols of Tombolo by walking through all their states, within bounds:
//
//	ledger   two leaders hand out one value: stale caches, writes of unknown outcome, objects that vanish, quarantine
//	publish  a hub publishes, a cluster applies, and copies are collected: late deliveries, new leaders, a restored backup
//
// Each guard of the design can be taken away, and then the walk must find a way to break the promise.
package model

import (
	"fmt"
	"strings"
)

// Step is something that may happen in a state.
type Step[S comparable] struct {
	What string
	To   S
}

// Report of a walk.
type Report struct {
	States int
	// Broken is the shortest way to a broken promise; empty when there is none.
	Broken []string
}

func (r Report) String() string {
	if len(r.Broken) == 0 {
		return fmt.Sprintf("holds in all %d states", r.States)
	}
	return fmt.Sprintf("broken after %d states: %s", r.States, strings.Join(r.Broken, " → "))
}

// most is how many states are walked through: more is an error in the bounds of a model.
const most = 5_000_000

// Walk goes through all states that can be reached, nearest first, and ends at the first one that breaks the promise.
func Walk[S comparable](begin S, steps func(S) []Step[S], holds func(S) bool) (Report, error) {
	type origin struct {
		from S
		what string
	}
	came := map[S]origin{begin: {}}
	queue := []S{begin}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		if !holds(state) {
			var way []string
			for s := state; s != begin; s = came[s].from {
				way = append([]string{came[s].what}, way...)
			}
			return Report{States: len(came), Broken: way}, nil
		}
		for _, step := range steps(state) {
			if _, seen := came[step.To]; !seen {
				came[step.To] = origin{state, step.What}
				queue = append(queue, step.To)
			}
		}
		if len(came) > most {
			return Report{States: len(came)}, fmt.Errorf("more than %d states: bound the model", most)
		}
	}
	return Report{States: len(came)}, nil
}
