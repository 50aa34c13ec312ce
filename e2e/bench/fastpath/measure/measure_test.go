// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRounds(t *testing.T) {
	var order []string
	task := func(measure, variant string, fails bool) Task {
		return Task{Measure: measure, Variant: variant, Run: func(context.Context) ([]Value, error) {
			order = append(order, measure+"/"+variant)
			if fails && len(order) > 3 {
				return nil, errors.New("lost")
			}
			return []Value{{measure, "ns", float64(len(order))}}, nil
		}}
	}
	table, err := Rounds(t.Context(), 2, []Task{task("rr", "a", false), task("udp", "a", false), task("rr", "b", true)}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("rr/a rr/b udp/a rr/b rr/b rr/a udp/a", strings.Join(order, " ")); diff != "" {
		t.Errorf("what is compared follows each other, and takes turns in being first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]float64{0: 1, 1: 6}, table.Find("rr", "a").Rounds); diff != "" {
		t.Errorf("rr of a (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]float64{0: 2}, table.Find("rr", "b").Rounds); diff != "" {
		t.Errorf("a failed round has no value (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"round 1: rr of b: lost"}, table.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestRoundsOfSparseTasks(t *testing.T) {
	runs := map[string]int{}
	task := func(variant string, every int) Task {
		return Task{Measure: "rr", Variant: variant, Every: every, Run: func(context.Context) ([]Value, error) {
			runs[variant]++
			return nil, nil
		}}
	}
	if _, err := Rounds(t.Context(), 5, []Task{task("a", 0), task("b", 2), task("c", 9)}, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"a": 5, "b": 3, "c": 1}, runs); diff != "" {
		t.Errorf("runs in five rounds (-want +got):\n%s", diff)
	}
}

func TestRatio(t *testing.T) {
	series := func(values ...float64) *Series {
		s := &Series{Rounds: map[int]float64{}}
		for round, v := range values {
			if v != 0 {
				s.Rounds[round] = v
			}
		}
		return s
	}
	for name, tc := range map[string]struct {
		reason  string
		a, b    *Series
		atLeast int
		want    Summary
		ok      bool
	}{
		"paired":        {"a machine that gets slower changes no ratio", series(2, 4, 60), series(1, 2, 20), 3, Summary{2, 2, 3}, true},
		"even":          {"between the two in the middle", series(1, 2), series(1, 1), 2, Summary{1, 1.5, 2}, true},
		"missing":       {"a round without one of them has no ratio", series(2, 0, 6), series(1, 1, 2), 2, Summary{2, 2.5, 3}, true},
		"mostly failed": {"one good round of three proves nothing", series(2, 0, 0), series(1, 1, 1), 2, Summary{}, false},
		"not measured":  {"there is no such variant yet", nil, series(1), 0, Summary{}, false},
		"four digits":   {"more are noise", series(1), series(3), 1, Summary{0.3333, 0.3333, 0.3333}, true},
	} {
		got, ok := Ratio(tc.a, tc.b, tc.atLeast)
		if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
			t.Errorf("%s: %s: ok is %v, want %v (-want +got):\n%s", name, tc.reason, ok, tc.ok, diff)
		}
	}
}
