// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

func TestMain(m *testing.M) {
	if served, err := serve(os.Args[1:]); served {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestBench runs everything for a moment: its numbers mean nothing, but each variant carries packets, and nothing is left.
func TestBench(t *testing.T) {
	r, err := run(t.Context(), options{rounds: 1, cpu: runtime.NumCPU() - 1, frames: 4096, swaps: 2, duration: 20 * time.Millisecond}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Errors {
		t.Error(e)
	}
	for _, g := range r.Gates {
		if g.Variant == "vxlan" && !g.Passed {
			t.Errorf("the kernel does not pass a gate: %s", g)
		}
	}
	for _, name := range r.NotMeasured {
		if reason := r.Reasons[name]; strings.Contains(reason, "this run") {
			t.Errorf("%s: %s", name, reason)
		}
	}
	if left, err := netns.List("tmbf-"); err != nil || len(left) > 0 {
		t.Errorf("namespaces are left: %v %v", left, err)
	}
}
