// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/gate"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
)

// Report is what a run has found. Its JSON is for machines that compare runs.
type Report struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	// LoadBefore and LoadAfter are the machine's load averages over 1, 5 and 15 minutes.
	LoadBefore string    `json:"load_before"`
	LoadAfter  string    `json:"load_after"`
	Started    time.Time `json:"started"`
	Seconds    float64   `json:"seconds"`
	Rounds     int       `json:"rounds"`
	// Command repeats the run.
	Command string `json:"command,omitempty"`
	// Busy asks only that no floor is certainly missed: machines that do other things meanwhile move medians.
	Busy bool `json:"busy,omitempty"`
	// RealTime says that the loads had their core to themselves.
	RealTime bool      `json:"real_time"`
	Measures []Measure `json:"measures"`
	// Ratios are medians of the ratios of each round, more than 1 when the product is the faster one (but lpm_: that
	// is what many prefixes cost). Ranges are their extremes.
	Ratios map[string]float64         `json:"ratios"`
	Ranges map[string]measure.Summary `json:"ratio_ranges"`
	// Attempts are how often the rounds of a ratio were run that was below its floor at first. All of them count.
	Attempts map[string]int `json:"attempts,omitempty"`
	// NotMeasured are ratios and variants that this run does not have, each with its reason in Reasons.
	NotMeasured []string          `json:"not_measured"`
	Reasons     map[string]string `json:"not_measured_reasons,omitempty"`
	Gates       []gate.Result     `json:"gates"`
	Errors      []string          `json:"errors,omitempty"`

	table  *measure.Table
	rounds map[string][]float64
}

// Measure is one measure of one variant.
type Measure struct {
	Measure string `json:"measure"`
	Variant string `json:"variant"`
	Unit    string `json:"unit"`
	measure.Summary
	Rounds int `json:"rounds"`
}

// New begins a report, at the beginning of the run.
func New(rounds int) *Report {
	r := &Report{CPUs: runtime.NumCPU(), CPU: cpu(), LoadBefore: loadAverage(), Started: time.Now().UTC().Round(time.Second), Rounds: rounds}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		r.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return r
}

// End says when and under what load it ended.
func (r *Report) End() {
	r.LoadAfter, r.Seconds = loadAverage(), time.Since(r.Started).Round(time.Second).Seconds()
}

// Fill takes in what was measured.
func (r *Report) Fill(t *measure.Table, gates []gate.Result, realTime bool) {
	r.Gates, r.RealTime, r.table, r.Attempts = gates, realTime, t, map[string]int{}
	r.fill()
}

func (r *Report) fill() {
	r.Errors, r.Measures = r.table.Errors, nil
	for _, s := range r.table.Series {
		r.Measures = append(r.Measures, Measure{s.Measure, s.Variant, s.Unit, measure.Summarize(s.Sorted()), len(s.Rounds)})
	}
	// What is compared stands together.
	order := map[string]int{}
	for i, m := range slices.Backward(r.Measures) {
		order[m.Measure] = i
	}
	slices.SortStableFunc(r.Measures, func(a, b Measure) int { return cmp.Compare(order[a.Measure], order[b.Measure]) })
	r.fillRatios()
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the report just does not say
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// WriteJSON writes the whole report to a file.
func (r *Report) WriteJSON(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// String is the report for people.
func (r *Report) String() string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "Linux %s, %d CPUs (%s), load %s before and %s after, %d rounds, %.0f s\n",
		r.Kernel, r.CPUs, r.CPU, r.LoadBefore, r.LoadAfter, r.Rounds, r.Seconds)
	if !r.RealTime {
		fmt.Fprintln(&out, "The loads had no real-time priority: rates and times of day are of little worth, CPU times hold.")
	}
	fmt.Fprintln(&out)
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MEASURE\tVARIANT\tMIN\tMEDIAN\tMAX\tUNIT")
	last := ""
	for _, m := range r.Measures {
		name := m.Measure
		if name == last {
			name = ""
		}
		last = m.Measure
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", name, m.Variant, number(m.Min), number(m.Median), number(m.Max), m.Unit)
	}
	fmt.Fprintln(table)
	fmt.Fprintln(table, "RATIO\t\tMIN\tMEDIAN\tMAX\tWANT")
	for _, q := range ratios {
		if got, ok := r.Ranges[q.key]; ok {
			want := q.want(got.Median)
			if r.Attempts[q.key] > 0 {
				want += fmt.Sprintf(" (of %d rounds)", len(r.rounds[q.key]))
			}
			fmt.Fprintf(table, "%s\t\t%.3f\t%.3f\t%.3f\t%s\n", q.key, got.Min, got.Median, got.Max, want)
		}
	}
	table.Flush()
	fmt.Fprintln(&out, "\nGATES")
	for _, g := range r.Gates {
		fmt.Fprintln(&out, g)
	}
	fmt.Fprintln(&out, "\nNOT MEASURED")
	for _, name := range r.NotMeasured {
		fmt.Fprintf(&out, "%s: %s\n", name, r.Reasons[name])
	}
	for _, e := range r.Errors {
		fmt.Fprintln(&out, "ERROR", e)
	}
	return out.String()
}

func (q ratio) want(got float64) string {
	switch {
	case q.floor != 0 && got < q.floor:
		return fmt.Sprintf("%.2f at least: BELOW", q.floor)
	case q.ceiling != 0 && got > q.ceiling:
		return fmt.Sprintf("%.2f at most: ABOVE", q.ceiling)
	case q.floor != 0:
		return fmt.Sprintf("%.2f at least", q.floor)
	case q.ceiling != 0:
		return fmt.Sprintf("%.2f at most", q.ceiling)
	}
	return ""
}

func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
