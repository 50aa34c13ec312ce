// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report says what was measured: as JSON, as text, as a drawing, and as the
// list of floors that it is below.
package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
)

// side is one series.
type side struct{ measure, variant string }

// ratio of two series of costs, and what it must be.
type ratio struct {
	key  string
	a, b side
	// floor is what the median must reach at least, ceiling at most. 0 is none.
	floor, ceiling float64
}

const (
	kernel = "vxlan"
	ours   = "tombolo"
	xdp    = "tombolo-xdp"
)

// ratios in the order of reports. Those without a floor explain those that have one.
var ratios = []ratio{
	{key: "transit_kernel_over_tcx", a: side{"transit", kernel}, b: side{"transit", ours}, floor: 2.5},
	{key: "transit_kernel_over_xdp", a: side{"transit", kernel}, b: side{"transit", xdp}, floor: 7},
	{key: "rr_over_kernel_vxlan", a: side{"rr", kernel}, b: side{"rr", ours}, floor: 1.40},
	{key: "rr_over_veth", a: side{"rr", "veth"}, b: side{"rr", ours}, floor: 0.80},
	{key: "udp_cpu_kernel_over_ours", a: side{"udp", kernel}, b: side{"udp", ours}, floor: 1.9},
	{key: "tcp_over_kernel_vxlan", a: side{"tcp", kernel}, b: side{"tcp", ours}, floor: 1.03},
	{key: "tcp_wire_over_kernel_vxlan", a: side{"tcp_wire", kernel}, b: side{"tcp_wire", ours}, floor: 1.0},
	{key: "hops4_rr", a: side{"hops4_rr", kernel}, b: side{"hops4_rr", ours}, floor: 1.6},
	{key: "hops4_udp", a: side{"hops4_udp", kernel}, b: side{"hops4_udp", ours}, floor: 2.3},
	{key: "lpm_100k_over_10_tcx", a: side{"lpm_100k_zipf", ours}, b: side{"lpm_10_zipf", ours}, ceiling: 1.3},
	{key: "lpm_100k_over_10_xdp", a: side{"lpm_100k_zipf", xdp}, b: side{"lpm_10_zipf", xdp}, ceiling: 1.6},

	{key: "encap_kernel_over_tcx", a: side{"encap", kernel}, b: side{"encap", ours}},
	{key: "decap_kernel_over_tcx", a: side{"decap", kernel}, b: side{"decap", ours}},
	{key: "lpm_100k_over_10_tcx_uniform", a: side{"lpm_100k_uniform", ours}, b: side{"lpm_10_uniform", ours}},
	{key: "rr_over_kernel_vxlan_ct", a: side{"rr", "vxlan-ct"}, b: side{"rr", ours}},
	{key: "udp_cpu_kernel_ct_over_ours", a: side{"udp", "vxlan-ct"}, b: side{"udp", ours}},
	{key: "rr_over_collect_md", a: side{"rr", "collect-md"}, b: side{"rr", ours}},
	{key: "udp_cpu_collect_md_over_ours", a: side{"udp", "collect-md"}, b: side{"udp", ours}},
	{key: "rr_over_routing", a: side{"rr", "routing"}, b: side{"rr", ours}},
	{key: "rr_over_wireguard_go", a: side{"rr", "wireguard-go"}, b: side{"rr", ours}},
	{key: "tcp_over_wireguard_go", a: side{"tcp", "wireguard-go"}, b: side{"tcp", ours}},
	{key: "rr_encrypted_over_wireguard_go", a: side{"rr", "wireguard-go"}, b: side{"rr", "tombolo-wireguard"}},
	{key: "tcp_encrypted_over_wireguard_go", a: side{"tcp", "wireguard-go"}, b: side{"tcp", "tombolo-wireguard"}},
	{key: "udp_cpu_routing_over_ours", a: side{"udp", "routing"}, b: side{"udp", ours}},
}

// On a busy machine a ratio fails when it is certainly wrong: when so many of its rounds are beyond its floor or ceiling by more than drift that a
// ratio which is right, up to drift, has as many with a probability of less than doubt.
const (
	// drift is by how much a whole run is off: where its maps and sockets lie in memory, and what else the caches hold.
	drift = 0.03
	doubt = 0.001
)

// refuted says whether rounds prove that q does not hold. Half of the rounds of a ratio that just holds are on either side.
func (q ratio) refuted(rounds []float64) bool {
	beyond := 0
	for _, got := range rounds {
		if q.floor != 0 && got < q.floor*(1-drift) || q.ceiling != 0 && got > q.ceiling*(1+drift) {
			beyond++
		}
	}
	return tail(len(rounds), beyond) < doubt
}

// tail is the probability that a fair coin falls on one side at least k times of n.
func tail(n, k int) float64 {
	sum, ways := 0.0, 1.0 // ways to choose i of n
	for i := range n + 1 {
		if i >= k {
			sum += ways
		}
		ways *= float64(n-i) / float64(i+1)
	}
	return sum / math.Exp2(float64(n))
}

func (q ratio) decides() bool { return q.floor != 0 || q.ceiling != 0 }

func (q ratio) holds(got float64) bool {
	return got >= q.floor && (q.ceiling == 0 || got <= q.ceiling)
}

// of is the ratio in t. One that decides something needs most of the rounds: what fails most of the time has none.
func (q ratio) of(t *measure.Table, rounds int) []float64 {
	all := measure.Ratios(t.Find(q.a.measure, q.a.variant), t.Find(q.b.measure, q.b.variant))
	if q.decides() && len(all) < (rounds+1)/2 {
		return nil
	}
	return all
}

// Decides says whether a ratio with a floor or ceiling needs this variant of a measure.
func Decides(measure, variant string) bool {
	return slices.ContainsFunc(ratios, func(q ratio) bool { return q.decides() && q.has(measure, variant) })
}

func (q ratio) has(measure, variant string) bool {
	return q.a == side{measure, variant} || q.b == side{measure, variant}
}

// Doubtful are the ratios whose medians are below their floors or above their ceilings.
func (r *Report) Doubtful() []string {
	var out []string
	for _, q := range ratios {
		if got, ok := r.Ratios[q.key]; ok && !q.holds(got) {
			out = append(out, q.key)
		}
	}
	return out
}

// Needs says whether a ratio is one of this variant of a measure.
func Needs(key, measure, variant string) bool {
	return slices.ContainsFunc(ratios, func(q ratio) bool { return q.key == key && q.has(measure, variant) })
}

// Again takes more rounds of some ratios into the report, of both sides of each. All rounds count, none is chosen: slow rounds of ours and slow rounds
// of the others'.
func (r *Report) Again(keys []string, t *measure.Table) {
	r.table.Append(t)
	r.fill()
	for _, key := range keys {
		r.Attempts[key] = max(r.Attempts[key], 1) + 1
	}
}

// fillRatios computes all ratios that were measured.
func (r *Report) fillRatios() {
	r.Ratios, r.Ranges, r.Reasons, r.NotMeasured = map[string]float64{}, map[string]measure.Summary{}, map[string]string{}, nil
	r.rounds = map[string][]float64{}
	for _, q := range ratios {
		if all := q.of(r.table, r.Rounds); len(all) > 0 {
			got := measure.Summarize(all)
			r.Ratios[q.key], r.Ranges[q.key], r.rounds[q.key] = got.Median, got, all
			continue
		}
		r.NotMeasured = append(r.NotMeasured, q.key)
		r.Reasons[q.key] = "this run did not measure both sides in most of its rounds"
	}
}

// Below names every floor that r is below, every ceiling that it is above (on a busy machine: certainly), what has a floor and was not measured, and
// every gate of the product's that it did not pass.
func (r *Report) Below() []string {
	var out []string
	for _, q := range ratios {
		got, measured := r.Ratios[q.key]
		switch {
		case !q.decides():
		case measured && r.Busy && !q.refuted(r.rounds[q.key]):
		case !measured:
			out = append(out, fmt.Sprintf("%s: not measured: %s", q.key, r.Reasons[q.key]))
		case q.floor != 0 && got < q.floor:
			out = append(out, fmt.Sprintf("%s: %.3f is below %.2f", q.key, got, q.floor))
		case q.ceiling != 0 && got > q.ceiling:
			out = append(out, fmt.Sprintf("%s: %.3f is above %.2f", q.key, got, q.ceiling))
		}
	}
	for _, g := range r.Gates {
		if !g.Passed {
			out = append(out, fmt.Sprintf("gate %s of %s: %s", g.Gate, g.Variant, g.Detail))
		}
	}
	return out
}
