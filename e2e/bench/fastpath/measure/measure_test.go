// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counted is a Run that notes its turns, and fails from the failAt-th on.
type counted struct {
	order  *[]string
	name   string
	failAt int
}

func (c counted) Turn() (float64, error) {
	*c.order = append(*c.order, c.name)
	if c.failAt > 0 && len(*c.order) >= c.failAt {
		return 0, errors.New("lost")
	}
	return float64(len(*c.order)), nil
}

func (c counted) End() (float64, []Value, error) {
	return 10, []Value{{"rate", "1/s", 5}}, nil
}

func onAnyThread() error { return nil }

func TestRounds(t *testing.T) {
	var order []string
	task := func(measure, variant string, failAt int) Task {
		return Task{Measure: measure, Variant: variant, Unit: "ns", Turns: 3, Start: func(context.Context) (Run, error) {
			return counted{&order, measure + "/" + variant, failAt}, nil
		}}
	}
	table, err := Rounds(t.Context(), 2, []Task{task("rr", "a", 0), task("udp", "a", 0), task("rr", "b", 12)}, onAnyThread, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	round := "rr/a rr/b rr/b rr/a rr/a rr/b udp/a udp/a udp/a "
	again := "rr/a rr/b rr/b rr/a rr/a rr/a rr/b rr/a rr/a udp/a udp/a udp/a"
	if diff := cmp.Diff(round+again, strings.Join(order, " ")); diff != "" {
		t.Errorf("what is compared takes turns, there and back, and once more after a failure (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{10, 40, 50}, table.Find("rr", "a").Turns[0]); diff != "" {
		t.Errorf("turns of a, with what was lost (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]float64{0: 30}, table.Find("rr", "b").Rounds); diff != "" {
		t.Errorf("the median; a failed round has no value (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"round 1: rr of b: lost"}, table.Errors); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if table.Find("rate", "a").Rounds[0] != 5 {
		t.Error("what End gives is kept")
	}
}

func TestRoundsWithoutAThread(t *testing.T) {
	var order []string
	tasks := []Task{{Measure: "rr", Turns: 1, Start: func(context.Context) (Run, error) { return counted{order: &order}, nil }}}
	table, err := Rounds(t.Context(), 1, tasks, func() error { return errors.New("no such CPU") }, func(int) {})
	if err != nil || len(order) > 0 || len(table.Errors) != 1 {
		t.Errorf("turns on a thread that is not as it should be: %v, %v, %v", order, table.Errors, err)
	}
}

func TestRoundsOfSparseTasks(t *testing.T) {
	runs := map[string]int{}
	task := func(variant string, every int) Task {
		return Task{Measure: "rr", Variant: variant, Group: variant, Every: every, Start: func(context.Context) (Run, error) {
			runs[variant]++
			return counted{}, nil
		}}
	}
	if _, err := Rounds(t.Context(), 5, []Task{task("a", 0), task("b", 2), task("c", 9)}, onAnyThread, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"a": 5, "b": 3, "c": 1}, runs); diff != "" {
		t.Errorf("runs in five rounds (-want +got):\n%s", diff)
	}
}

func TestRatios(t *testing.T) {
	series := func(values ...float64) *Series {
		s := &Series{Rounds: map[int]float64{}}
		for round, v := range values {
			if v != 0 {
				s.Rounds[round] = v
			}
		}
		return s
	}
	turns := func(s *Series, turns ...float64) *Series {
		s.Turns = map[int][]float64{0: turns}
		return s
	}
	for name, tc := range map[string]struct {
		reason string
		a, b   *Series
		want   []float64
	}{
		"paired":       {"a machine that gets slower changes no ratio", series(2, 4, 60), series(1, 2, 20), []float64{2, 2, 3}},
		"missing":      {"a round without one of them has no ratio", series(2, 0, 6), series(1, 1, 2), []float64{2, 3}},
		"not measured": {"there is no such variant yet", nil, series(1), nil},
		"turns":        {"turns are compared one by one", turns(series(3), 2, 30, 400), turns(series(3), 1, 10, 100), []float64{3}},
		"apart":        {"who takes other turns is compared by the round", turns(series(6), 2, 30, 400), turns(series(3), 1), []float64{2}},
		"idle turns":   {"in a turn without work there is nothing to compare", turns(series(3), math.NaN(), 30), turns(series(3), 1, 10), []float64{3}},
	} {
		if diff := cmp.Diff(tc.want, Ratios(tc.a, tc.b)); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestAppend(t *testing.T) {
	round := func(value float64) *Table {
		t := &Table{Errors: []string{"e"}}
		t.add(0, "a", Value{"rr", "ns", value}).Turns[0] = []float64{value}
		return t
	}
	table := round(1)
	table.Append(round(2))
	s := table.Find("rr", "a")
	if diff := cmp.Diff(map[int]float64{0: 1, 1: 2}, s.Rounds); diff != "" || s.Turns[1][0] != 2 || len(table.Errors) != 2 {
		t.Errorf("%+v, errors %v (-want +got):\n%s", s, table.Errors, diff)
	}
}

func TestSummarize(t *testing.T) {
	for reason, tc := range map[string]struct {
		in   []float64
		want Summary
	}{
		"an even number's median is between two": {[]float64{1, 2}, Summary{1, 1.5, 2}},
		"more than four digits are noise":        {[]float64{1.0 / 3}, Summary{0.3333, 0.3333, 0.3333}},
	} {
		if diff := cmp.Diff(tc.want, Summarize(tc.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}
