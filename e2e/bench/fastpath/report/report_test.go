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
			t.Series = append(t.Series, &measure.Series{Measure: name, Variant: variant, Unit: "ns", Rounds: map[int]float64{0: v}})
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
	for name, tc := range map[string]struct {
		reason string
		ours   []float64
		want   float64
		below  int
	}{
		"first":  {"what is above its floor is not doubted", []float64{5}, 2, 0},
		"second": {"a better attempt counts", []float64{10, 4}, 2.5, 0},
		"best":   {"a worse one does not", []float64{7, 8, 10}, 1.429, 0},
		"none":   {"no attempt is enough", []float64{10, 9, 10}, 1.111, 1},
	} {
		attempt := func(i int) *measure.Table {
			return table(map[string]map[string]float64{"rr": {"vxlan": 10, "tombolo": tc.ours[i]}})
		}
		r := New(1)
		r.Fill(attempt(0), nil, true)
		for i := 1; i < len(tc.ours); i++ {
			r.Again("rr_over_kernel_vxlan", attempt(i))
		}
		if got := r.Ratios["rr_over_kernel_vxlan"]; got != tc.want || len(r.Doubtful()) != tc.below {
			t.Errorf("%s: %s: %v, doubtful are %v", name, tc.reason, got, r.Doubtful())
		}
	}
}

func TestBusy(t *testing.T) {
	tests := table(map[string]map[string]float64{
		"rr": {"vxlan": 13, "tombolo": 10}, "transit": {"vxlan": 20, "tombolo": 10},
		"lpm_10_zipf": {"tombolo": 10}, "lpm_100k_zipf": {"tombolo": 14},
	})
	for busy, want := range map[bool][]string{
		false: {"transit_kernel_over_tcx", "rr_over_kernel_vxlan", "lpm_100k_over_10_tcx"},
		true:  {"transit_kernel_over_tcx"},
	} {
		r := New(1)
		r.Busy = busy
		r.Fill(tests, nil, true)
		if diff := cmp.Diff(want, r.Doubtful()); diff != "" {
			t.Errorf("busy is %v (-want +got):\n%s", busy, diff)
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
