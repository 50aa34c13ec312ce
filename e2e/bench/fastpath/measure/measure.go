// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package measure runs tasks in rounds, those that are compared one right after the
// other, and keeps what each gave in each round.
package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"sync"
)

// Value is one result of a Task.
type Value struct {
	// Measure and Unit, for example rr and "us CPU/txn". Less is better but for rates, whose unit ends in /s.
	Measure, Unit string
	Value         float64
}

// Task measures one variant. Tasks of the same Measure are compared, or those of the same Group.
type Task struct {
	Measure, Variant, Group string
	// Unit of its costs.
	Unit string
	// Every is how many rounds there are from one run to the next. 0 is 1.
	Every int
	// Turns in a round. All tasks of a Measure or Group have the same.
	Turns int
	// Start makes ready what is measured in this round.
	Start func(context.Context) (Run, error)
}

// Run is a Task in one round. Those of all tasks that are compared take turns of a few milliseconds.
type Run interface {
	// Turn works for some milliseconds and gives the cost of one. It is NaN when nothing was done.
	Turn() (float64, error)
	// End gives what else was measured, and by how much costs have to be multiplied, for what was lost.
	End() (factor float64, others []Value, err error)
}

// Series is one measure of one variant, by the number of the round. A round that failed has none.
type Series struct {
	Measure, Variant, Unit string
	Rounds                 map[int]float64
	// Turns of each round, of costs. A turn without any is NaN.
	Turns map[int][]float64
}

// Sorted are the values, least first.
func (s *Series) Sorted() []float64 { return slices.Sorted(maps.Values(s.Rounds)) }

// Table has all Series, in the order in which they first came.
type Table struct {
	Series []*Series
	// Errors are those of tasks that failed in some round.
	Errors []string

	thread func() error
}

// Find returns nil when that was not measured.
func (t *Table) Find(measure, variant string) *Series {
	i := slices.IndexFunc(t.Series, func(s *Series) bool { return s.Measure == measure && s.Variant == variant })
	if i < 0 {
		return nil
	}
	return t.Series[i]
}

func (t *Table) add(round int, variant string, v Value) *Series {
	s := t.Find(v.Measure, variant)
	if s == nil {
		s = &Series{Measure: v.Measure, Variant: variant, Unit: v.Unit, Rounds: map[int]float64{}, Turns: map[int][]float64{}}
		t.Series = append(t.Series, s)
	}
	s.Rounds[round] = v.Value
	return s
}

// Rounds runs all tasks in so many rounds, each in those that are its. Within a round the tasks that are compared take turns of milliseconds, and which of them
// comes first changes from turn to turn: what disturbs the machine for longer disturbs all alike. A measure that fails is run
// once more. progress is called before each round; thread prepares each thread that gives turns, and that ends after them.
func Rounds(ctx context.Context, rounds int, tasks []Task, thread func() error, progress func(round int)) (*Table, error) {
	t := &Table{thread: thread}
	for round := range rounds {
		progress(round)
		if err := t.round(ctx, round, tasks); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Table) round(ctx context.Context, round int, tasks []Task) error {
	due := slices.DeleteFunc(slices.Clone(tasks), func(t Task) bool { return round%max(t.Every, 1) != 0 })
	for _, group := range groups(due) {
		err := t.takeTurns(ctx, round, group)
		if err != nil && ctx.Err() == nil { // a busy machine may keep somebody waiting too long, once
			err = t.takeTurns(ctx, round, group)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			t.Errors = append(t.Errors, fmt.Sprintf("round %d: %v", round, err))
		}
	}
	return nil
}

// entrant is a Task in a round.
type entrant struct {
	Task
	run   Run
	costs []float64
	err   error
}

// takeTurns measures all tasks of a measure. One that fails is left out.
func (t *Table) takeTurns(ctx context.Context, round int, group []Task) error {
	var entrants []*entrant
	var starts sync.WaitGroup // on a busy machine a process is long in starting
	for _, task := range group {
		e := &entrant{Task: task}
		entrants = append(entrants, e)
		starts.Go(func() { e.run, e.err = task.Start(ctx) })
	}
	starts.Wait()
	var errs []error
	entrants = slices.DeleteFunc(entrants, func(e *entrant) bool {
		if e.err != nil {
			errs = append(errs, e.failed())
		}
		return e.err != nil
	})
	if err := t.onThread(func() { turns(ctx, entrants) }); err != nil {
		errs = append(errs, err)
	}
	for _, e := range entrants {
		factor, others, err := e.run.End()
		if e.err = errors.Join(e.err, err); e.err != nil {
			errs = append(errs, e.failed())
			continue
		}
		t.take(round, e, factor)
		for _, v := range others {
			t.add(round, e.Variant, v)
		}
	}
	return errors.Join(errs...)
}

func (e *entrant) failed() error { return fmt.Errorf("%s of %s: %w", e.Measure, e.Variant, e.err) }

// onThread calls give on a thread of its own, which is as t.thread makes it and ends with it.
func (t *Table) onThread(give func()) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := t.thread()
		if err == nil {
			give()
		}
		done <- err
	}()
	return <-done
}

// turns gives all their turns. Every other time it goes back: who followed whom is followed by it.
func turns(ctx context.Context, entrants []*entrant) {
	if len(entrants) == 0 {
		return
	}
	order := slices.Clone(entrants)
	for range entrants[0].Turns {
		for _, e := range order {
			if e.err != nil || ctx.Err() != nil {
				continue
			}
			var cost float64
			cost, e.err = e.run.Turn()
			e.costs = append(e.costs, cost)
		}
		slices.Reverse(order)
	}
}

// take keeps the turns of a task, and their median.
func (t *Table) take(round int, e *entrant, factor float64) {
	for i := range e.costs {
		e.costs[i] *= factor
	}
	sorted := slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(e.costs), math.IsNaN)))
	if len(sorted) > 0 {
		t.add(round, e.Variant, Value{e.Measure, e.Unit, median(sorted)}).Turns[round] = e.costs
	}
}

// groups are the tasks by group, in the order of the first of each.
func groups(tasks []Task) [][]Task {
	var out [][]Task
	at := map[string]int{}
	for _, task := range tasks {
		name := cmp.Or(task.Group, task.Measure)
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name], out = i, append(out, nil)
		}
		out[i] = append(out[i], task)
	}
	return out
}

// Ratios are a over b in the rounds that have both, least first. Of a round it is the median of the ratios of its turns.
func Ratios(a, b *Series) []float64 {
	if a == nil || b == nil {
		return nil
	}
	var all []float64
	for round, value := range a.Rounds {
		if other, ok := b.Rounds[round]; ok {
			all = append(all, paired(a.Turns[round], b.Turns[round], value/other))
		}
	}
	slices.Sort(all)
	return all
}

// Append takes in the rounds of another table, after its own: it is as if they had been run at once.
func (t *Table) Append(more *Table) {
	next := 0
	for _, s := range t.Series {
		for round := range s.Rounds {
			next = max(next, round+1)
		}
	}
	for _, m := range more.Series {
		for round, value := range m.Rounds {
			s := t.add(next+round, m.Variant, Value{m.Measure, m.Unit, value})
			if turns, ok := m.Turns[round]; ok {
				s.Turns[next+round] = turns
			}
		}
	}
	t.Errors = append(t.Errors, more.Errors...)
}

// paired is the median of the ratios of turns, if a and b have taken turns.
func paired(a, b []float64, otherwise float64) float64 {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if r := a[i] / b[i]; !math.IsNaN(r) && !math.IsInf(r, 0) {
			ratios = append(ratios, r)
		}
	}
	if len(ratios) == 0 || len(a) != len(b) {
		return otherwise
	}
	slices.Sort(ratios)
	return median(ratios)
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Summary of values.
type Summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// Summarize takes sorted values, one at least.
func Summarize(sorted []float64) Summary {
	return Summary{Min: sorted[0], Median: median(sorted), Max: sorted[len(sorted)-1]}.rounded()
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
