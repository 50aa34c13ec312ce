// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gate holds what a fast path may not give up for speed. Each gate is tried
// on kernel VXLAN too: one that the kernel does not pass would be a wrong gate.
package gate

import (
	"errors"
	"fmt"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

// Result of one gate.
type Result struct {
	Gate    string `json:"gate"`
	Variant string `json:"variant"`
	Passed  bool   `json:"passed"`
	// Detail says what was seen.
	Detail string `json:"detail"`
}

// gates in the order in which they are tried. Each returns what it has seen, and an error when that is not right.
var gates = []struct {
	name  string
	check func(p *topology.Path, swaps int) (string, error)
}{
	{"udp_gso_delivered_whole", superDatagrams},
	{"oversize_gets_path_mtu", pathMTU},
	{"ttl_answered_by_each_hop", hops},
	{"no_checksum_errors_with_tx_off", checksums},
	{"no_loss_over_program_swaps", swaps},
}

// errNotHere is that of a gate which says nothing about a path.
var errNotHere = errors.New("not for this path")

// All tries every gate on p, whose product is restarted so many times.
func All(variant string, p *topology.Path, swaps int) []Result {
	var out []Result
	for _, g := range gates {
		detail, err := g.check(p, swaps)
		if errors.Is(err, errNotHere) {
			continue
		}
		if err != nil {
			detail = err.Error()
		}
		out = append(out, Result{Gate: g.name, Variant: variant, Passed: err == nil, Detail: detail})
	}
	return out
}

// String is one line of a report.
func (r Result) String() string {
	word := "FAILED"
	if r.Passed {
		word = "passed"
	}
	return fmt.Sprintf("%-32s %-10s %s: %s", r.Gate, r.Variant, word, r.Detail)
}
