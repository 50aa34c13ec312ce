// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"testing"

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

// TestBench runs the short form: each variant carries packets, each gate is passed, no ratio is certainly below its floor (one that is below is measured
// up to four times, and all rounds count), and nothing is left.
func TestBench(t *testing.T) {
	o := short
	o.cpu, o.attempts, o.sparse, o.busy = runtime.NumCPU()-1, 4, o.rounds, true
	r, err := run(t.Context(), o, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	for _, e := range r.Errors {
		t.Error(e)
	}
	for _, line := range r.Below() {
		t.Error(line)
	}
	if left, err := netns.List("tmbf-"); err != nil || len(left) > 0 {
		t.Errorf("namespaces are left: %v %v", left, err)
	}
}
