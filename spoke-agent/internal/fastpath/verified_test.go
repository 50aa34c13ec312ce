// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

var update = flag.Bool("update", false, "write testdata/verified.txt")

// verifiedFile has how many instructions the verifier walked through, on all ways through each program. A kernel refuses
// a program at a million; and what grows here is what a packet may have to go through.
const verifiedFile = "testdata/verified.txt"

func TestVerified(t *testing.T) {
	_, f := storyGateway(t)
	var now strings.Builder
	counts := map[string]int{}
	for name, p := range map[string]*ebpf.Program{gatewayProgTomboloIn: f.programs.TomboloIn, gatewayProgTomboloOut: f.programs.TomboloOut,
		gatewayProgTomboloInTunnel: f.programs.TomboloInTunnel, gatewayProgTomboloSlowIn: f.programs.TomboloSlowIn, gatewayProgTomboloXdp: f.programs.TomboloXdp,
		gatewayProgTomboloPod: f.programs.TomboloPod, gatewayProgTomboloSwitch: f.programs.TomboloSwitch} {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		n, ok := info.VerifiedInstructions()
		if !ok {
			t.Fatal("the kernel does not say how many instructions it verified: it needs Linux 5.16")
		}
		counts[name] = int(n)
	}
	for _, name := range []string{gatewayProgTomboloIn, gatewayProgTomboloInTunnel, gatewayProgTomboloOut, gatewayProgTomboloPod, gatewayProgTomboloSlowIn, gatewayProgTomboloSwitch, gatewayProgTomboloXdp} {
		fmt.Fprintf(&now, "%s %d\n", name, counts[name])
	}
	if *update {
		if err := os.WriteFile(verifiedFile, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(verifiedFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var name string
		var recorded int
		if _, err := fmt.Sscan(line, &name, &recorded); err != nil {
			t.Fatalf("%s: %q: %v", verifiedFile, line, err)
		}
		got := counts[name]
		delete(counts, name)
		if got == 0 || 10*got > 12*recorded {
			t.Errorf("%s: the verifier walked %d instructions, %d when last recorded: make it shorter, or run this test with -update "+
				"and say why", name, got, recorded)
		}
	}
	if len(counts) != 0 {
		t.Errorf("%s lacks %v: run this test with -update", verifiedFile, counts)
	}
}
