// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/gate"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
)

func table(cost map[string]map[string]float64) *measure.Table {
	t := &measure.Table{}
	for name, variants := range cost {
		for variant, v := range variants {
			t.Series = append(t.Series, &measure.Series{Measure: name, Variant: variant, Unit: "ns", Rounds: map[int]float64{0: v}, Turns: map[int][]float64{}})
		}
	}
	return t
}

func TestBelow(t *testing.T) {
	r := New(1)
	r.Fill(table(map[string]map[string]float64{
		"rr":            {"veth": 8, "vxlan": 14, "tombolo": 10},
		"udp":           {"vxlan": 18, "tombolo": 10},
		"lpm_10_zipf":   {"tombolo": 10},
		"lpm_100k_zipf": {"tombolo": 14},
	}), []gate.Result{{Gate: "g", Variant: "tombolo", Detail: "lost"}, {Gate: "h", Variant: "tombolo", Passed: true}}, true)
	want := map[string]float64{"rr_over_kernel_vxlan": 1.4, "rr_over_veth": 0.8, "udp_cpu_kernel_over_ours": 1.8, "lpm_100k_over_10_tcx": 1.4}
	if diff := cmp.Diff(want, r.Ratios); diff != "" {
		t.Errorf("only what was measured has a ratio (-want +got):\n%s", diff)
	}
	if !slices.Contains(r.NotMeasured, "transit_kernel_over_xdp") {
		t.Errorf("what was not measured is named: %v", r.NotMeasured)
	}
	var below []string
	for _, line := range r.Below() {
		if !strings.Contains(line, "not measured") {
			below = append(below, line)
		}
	}
	if diff := cmp.Diff([]string{
		"udp_cpu_kernel_over_ours: 1.800 is below 1.90",
		"lpm_100k_over_10_tcx: 1.400 is above 1.30",
		"gate g of tombolo: lost",
	}, below); diff != "" {
		t.Errorf("a floor that is just reached holds (-want +got):\n%s", diff)
	}
}

func TestAgain(t *testing.T) {
	attempt := func(ours float64) *measure.Table {
		return table(map[string]map[string]float64{"rr": {"vxlan": 10, "tombolo": ours}})
	}
	r := New(1)
	r.Fill(attempt(10), nil, true)
	for _, ours := range []float64{4, 8} {
		if diff := cmp.Diff([]string{"rr_over_kernel_vxlan"}, r.Doubtful()); ours == 4 && diff != "" {
			t.Errorf("a ratio below its floor is doubted (-want +got):\n%s", diff)
		}
		r.Again(r.Doubtful(), attempt(ours))
	}
	if got, want := r.Ranges["rr_over_kernel_vxlan"], (measure.Summary{Min: 1, Median: 1.25, Max: 2.5}); got != want {
		t.Errorf("all attempts count, not the best: %+v, want %+v", got, want)
	}
}

func TestBusy(t *testing.T) {
	rounds := func(ours ...float64) *measure.Table {
		t := &measure.Table{}
		for _, v := range ours {
			t.Append(table(map[string]map[string]float64{"rr": {"vxlan": 14, "tombolo": v}, "lpm_10_zipf": {"tombolo": 10}, "lpm_100k_zipf": {"tombolo": v}}))
		}
		return t
	}
	all := func(n int, v float64) []float64 { return slices.Repeat([]float64{v}, n) }
	for name, tc := range map[string]struct {
		reason string
		ours   []float64
		want   []string
	}{
		"holds":   {"all rounds are right", all(20, 10), nil},
		"near":    {"a run may be off by drift", all(20, 10.2), nil},
		"few":     {"nine rounds of nine happen by chance once in 512 runs", all(9, 20), nil},
		"certain": {"all of twenty don't", all(20, 20), []string{"rr_over_kernel_vxlan", "lpm_100k_over_10_tcx"}},
		"mixed":   {"14 of 20 may be chance", slices.Concat(all(14, 20), all(6, 10)), nil},
	} {
		r := New(1)
		r.Busy = true
		r.Fill(rounds(tc.ours...), nil, true)
		var got []string
		for _, line := range r.Below() {
			if key, rest, _ := strings.Cut(line, ":"); !strings.Contains(rest, "not measured") {
				got = append(got, key)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestDecides(t *testing.T) {
	for variant, want := range map[string]bool{"veth": true, "vxlan": true, "tombolo": true, "vxlan-ct": false, "wireguard-go": false} {
		if got := Decides("rr", variant); got != want {
			t.Errorf("rr of %s decides: %v", variant, got)
		}
	}
	if !Needs("rr_over_veth", "rr", "veth") || Needs("rr_over_veth", "rr", "vxlan") {
		t.Error("a ratio needs its two sides, and nothing else")
	}
}

func TestSVG(t *testing.T) {
	r := New(1)
	r.Fill(table(map[string]map[string]float64{"rr": {"vxlan": 14, "tombolo": 10}}), nil, true)
	path := filepath.Join(t.TempDir(), "bars.svg")
	if err := r.WriteSVG(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for decoder := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v\n%s", err, text)
		}
	}
	if got := strings.Count(string(text), "<rect class="); got != 2 {
		t.Errorf("%d bars, want one per variant that was measured:\n%s", got, text)
	}
}

func TestDocs(t *testing.T) {
	for _, q := range ratios {
		if titles[q.key] == "" {
			t.Errorf("%s has no title", q.key)
		}
	}
	dir := t.TempDir()
	doc, file := filepath.Join(dir, "doc.md"), filepath.Join(dir, "r.json")
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "img"), 0o755),
		os.WriteFile(doc, []byte("before\n"+docsBegin+"old\n"+docsEnd+"after\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	r := New(1)
	r.Command = "bench"
	r.Fill(table(map[string]map[string]float64{"rr": {"vxlan": 14, "tombolo": 10}}), nil, true)
	if err := r.WriteJSON(file); err != nil {
		t.Fatal(err)
	}
	read, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // over what it has written itself, too
		if err := read.WriteDocs(doc); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "after\n", "÷ ours | 1.40 (1.40 to 1.40) | 1.40 |", "not measured", "`bench`"} {
		if strings.Count(string(text), want) == 0 || strings.Contains(string(text), "old") {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, drawing)); err != nil {
		t.Error(err)
	}
	if err := read.WriteDocs(file); err == nil {
		t.Error("a document without a place for ratios was written")
	}
}
