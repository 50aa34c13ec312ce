// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDirect sends real packets between pods that send by themselves. Its parts run in order, on one topology.
func TestDirect(t *testing.T) {
	for name, switches := range map[string]bool{"bridge": false, "switch": true} {
		t.Run(name, func(t *testing.T) {
			testDirect(t, switches)
		})
	}
}

func testDirect(t *testing.T, switches bool) {
	x := newDirectWorld(t, switches)
	east := x.pod(t, x.east, x.east.a, "pe", "10.1.1.2")
	west := x.pod(t, x.west, x.west.a, "pw", "10.1.2.2")
	x.start(t)
	if coverage != nil {
		for _, n := range x.nodes() {
			n.ns.MustDo(t, func() error { return coverage.attach(n.f, n.cfg) })
		}
	}
	// The router's MAC address has to be known: what asks for it goes through the bridge.
	for _, p := range []struct{ out string }{{east.IP(t, "neigh")}, {west.IP(t, "neigh")}} {
		if p.out != "" {
			t.Errorf("neighbours before the first packet: %s", p.out)
		}
	}
	out, err := east.Run("ping", "-c", "20", "-i", "0.02", "-W", "2", "10.1.2.2")
	if err != nil || strings.Count(out, "ttl=62") != 20 {
		t.Errorf("ping: %v\n%s", err, out)
	}
	for n, want := range map[*directNode]map[string]uint64{
		x.east.a:       {"out pod": 20, "in pod": 20},
		x.west.a:       {"out pod": 20, "in pod": 20},
		x.west.gateway: {"in node": 1},
		x.east.gateway: {},
	} {
		if diff := cmp.Diff(want, n.by(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s\n%+v", n.name, diff, counters(t, n.f))
		}
	}
	echo(t, west, "west")
	conn := dialUDP(t, east, "10.1.2.2:7")
	for _, n := range []int{0, 1, 1400, 1422} {
		if got := ask(t, conn, strings.Repeat("x", n)); got != "west "+strings.Repeat("x", n) {
			t.Errorf("%d bytes: answer %.30q of %d bytes", n, got, len(got))
		}
	}
	t.Logf("TCP: %.0f Mbit/s", transfer(t, east, west, "10.1.2.2:80", 64<<20))
}

// coverDirect is testDirect with the twins.
func coverDirect(t *testing.T) { testDirect(t, true) }
