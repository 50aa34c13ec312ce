// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
	"github.com/tombolo-io/tombolo/e2e/chaos/witness"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// Result of one history.
type Result struct {
	Seed    uint64  `json:"seed"`
	Profile Profile `json:"profile"`
	Steps   int     `json:"steps"`
	// Hits is how often a fault has happened: one that did not proves nothing.
	Hits map[faulty.Kind]int `json:"hits,omitempty"`
	// Converged is the time from the heal to exact convergence, and Emptied from the end of everything to nothing left.
	Converged time.Duration `json:"converged_ns"`
	Emptied   time.Duration `json:"emptied_ns"`
	Took      time.Duration `json:"took_ns"`
	// Failures say which promises were broken.
	Failures []string `json:"failures,omitempty"`
	// History is told when there are failures.
	History []Step `json:"history,omitempty"`
}

// Failed is true when a promise was broken.
func (r *Result) Failed() bool { return len(r.Failures) > 0 }

func (r *Result) String() string {
	if !r.Failed() {
		return fmt.Sprintf("seed %d (%s): fine; converged in %s, empty in %s, %d steps in %s, faults %v",
			r.Seed, r.Profile, r.Converged.Round(time.Millisecond), r.Emptied.Round(time.Millisecond), r.Steps, r.Took.Round(time.Millisecond), r.Hits)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d (%s): BROKEN\n", r.Seed, r.Profile)
	for _, f := range r.Failures {
		fmt.Fprintf(&text, "  %s\n", strings.ReplaceAll(f, "\n", "\n    "))
	}
	fmt.Fprintf(&text, "faults that happened: %v\nhistory:\n", r.Hits)
	for i, s := range r.History {
		fmt.Fprintf(&text, "  %2d %s\n", i+1, s)
	}
	return text.String()
}

// Run plays a history on a world that is empty, and leaves it empty. After a failure something may be left. An error is not
// the hub's or an agent's: the history could not be played.
func Run(ctx context.Context, w *world.World, seen *witness.Witness, seed uint64, profile Profile, steps []Step) (*Result, error) {
	begin := time.Now()
	seen.Begin()
	p := &player{world: w, seen: seen, wanted: nothing(), lies: map[*faulty.Proxy][]string{}, hits: map[faulty.Kind]int{},
		killed: map[*world.Process]bool{}, disturbed: map[*world.Process]bool{}}
	r := &Result{Seed: seed, Profile: profile, Steps: len(steps), Hits: p.hits}
	fail := func(err error) (*Result, error) {
		r.Failures, r.History, r.Took = seen.Broken(true), steps, time.Since(begin)
		if err == nil || len(r.Failures) > 0 {
			return r, nil
		}
		if !errors.Is(err, errBroken) {
			return r, fmt.Errorf("play history of seed %d: %w", seed, err)
		}
		r.Failures = append(r.Failures, err.Error())
		return r, nil
	}
	for _, s := range steps {
		if err := p.play(ctx, s); err != nil {
			return fail(fmt.Errorf("%s: %w", s, err))
		}
		if len(seen.Broken(false)) > 0 {
			return fail(nil)
		}
	}
	if err := p.heal(ctx); err != nil {
		return fail(err)
	}
	var err error
	if r.Converged, err = p.settle(ctx); err != nil || len(seen.Broken(true)) > 0 {
		return fail(err)
	}
	for _, vpc := range vpcs {
		seen.Touch("vpc/" + vpc)
	}
	p.wanted = nothing()
	if r.Emptied, err = p.settle(ctx); err != nil {
		return fail(fmt.Errorf("I5: something is left of what nobody wants: %w", err))
	}
	if len(seen.Broken(true)) > 0 {
		return fail(nil)
	}
	if err := p.refresh(); err != nil {
		return fail(err)
	}
	r.Took = time.Since(begin)
	return r, nil
}
