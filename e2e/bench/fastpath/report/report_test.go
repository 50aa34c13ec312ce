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
	if !slices.Contains(r.NotMeasured, "transit_kernel_over_xdp") || !slices.Contains(r.NotMeasured, "wireguard-go") {
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
