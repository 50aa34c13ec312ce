// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package measure runs tasks in rounds, those that are compared one right after the
// other, and keeps what each gave in each round.
package measure

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Value is one result of a Task.
type Value struct {
	// Measure and Unit, for example rr and "us CPU/txn". Less is better but for rates, whose unit ends in /s.
	Measure, Unit string
	Value         float64
}

// Task measures one variant once. Tasks of the same Measure are compared.
type Task struct {
	Measure, Variant string
	// Every is how many rounds there are from one run to the next. 0 is 1.
	Every int
	Run   func(context.Context) ([]Value, error)
}

// Series is one measure of one variant, by the number of the round. A round that failed has none.
type Series struct {
	Measure, Variant, Unit string
	Rounds                 map[int]float64
}

// Sorted are the values, least first.
func (s *Series) Sorted() []float64 { return slices.Sorted(maps.Values(s.Rounds)) }

// Table has all Series, in the order in which they first came.
type Table struct {
	Series []*Series
	// Errors are those of tasks that failed in some round.
	Errors []string
}

// Find returns nil when that was not measured.
func (t *Table) Find(measure, variant string) *Series {
	i := slices.IndexFunc(t.Series, func(s *Series) bool { return s.Measure == measure && s.Variant == variant })
	if i < 0 {
		return nil
	}
	return t.Series[i]
}

func (t *Table) add(round int, variant string, v Value) {
	s := t.Find(v.Measure, variant)
	if s == nil {
		s = &Series{Measure: v.Measure, Variant: variant, Unit: v.Unit, Rounds: map[int]float64{}}
		t.Series = append(t.Series, s)
	}
	s.Rounds[round] = v.Value
}

// Rounds runs all tasks in so many rounds, each in those that are its. Within a round the tasks of one measure follow each other, and which of them
// comes first changes from round to round: what disturbs the machine for a while disturbs all alike. A task that fails is run
// once more. progress is called before each round.
func Rounds(ctx context.Context, rounds int, tasks []Task, progress func(round int)) (*Table, error) {
	t := &Table{}
	for round := range rounds {
		progress(round)
		due := slices.DeleteFunc(slices.Clone(tasks), func(t Task) bool { return round%max(t.Every, 1) != 0 })
		for _, group := range groups(due) {
			for i := range group {
				task := group[(i+round)%len(group)]
				values, err := task.Run(ctx)
				if err != nil && ctx.Err() == nil { // a busy machine may keep somebody waiting too long, once
					values, err = task.Run(ctx)
				}
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				if err != nil {
					t.Errors = append(t.Errors, fmt.Sprintf("round %d: %s of %s: %v", round, task.Measure, task.Variant, err))
				}
				for _, v := range values {
					t.add(round, task.Variant, v)
				}
			}
		}
	}
	return t, nil
}

// groups are the tasks by measure, in the order of the first of each.
func groups(tasks []Task) [][]Task {
	var out [][]Task
	at := map[string]int{}
	for _, task := range tasks {
		i, ok := at[task.Measure]
		if !ok {
			i = len(out)
			at[task.Measure], out = i, append(out, nil)
		}
		out[i] = append(out[i], task)
	}
	return out
}

// Ratio is the median, over the rounds that have both, of a over b. ok is false when fewer rounds than atLeast have both:
// what fails most of the time has no ratio.
func Ratio(a, b *Series, atLeast int) (ratio Summary, ok bool) {
	if a == nil || b == nil {
		return Summary{}, false
	}
	var all []float64
	for round, value := range a.Rounds {
		if other, ok := b.Rounds[round]; ok {
			all = append(all, value/other)
		}
	}
	if len(all) < max(atLeast, 1) {
		return Summary{}, false
	}
	slices.Sort(all)
	return Summarize(all), true
}

// Summary of values.
type Summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Summarize takes sorted values, one at least.
func Summarize(sorted []float64) Summary {
	n := len(sorted)
	return Summary{Min: sorted[0], Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Max: sorted[n-1]}.rounded()
}

func (s Summary) rounded() Summary {
	return Summary{round(s.Min), round(s.Median), round(s.Max)}
}

// round keeps four digits: there is no more in a measurement.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
