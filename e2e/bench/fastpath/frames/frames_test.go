// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package frames

import (
	"net"
	"net/netip"
	"testing"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

func TestFrame(t *testing.T) {
	for role, want := range map[topology.Role]int{
		topology.Base: 64, topology.Encap: 64, topology.Decap: 114, topology.Transit: 114,
	} {
		mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
		got := frame(&topology.Station{Path: &topology.Path{}, Role: role, InMAC: mac, TunnelMAC: mac})
		if len(got) != want {
			t.Errorf("%s: frame has %d bytes, want %d", role, len(got), want)
		}
		// RFC 1071: the sum over a header with its checksum is all ones.
		if sum := checksum(got[14:34]); sum != 0 {
			t.Errorf("%s: the IPv4 header's checksum is off by %#x", role, sum)
		}
	}
}

func TestPrefixes(t *testing.T) {
	const n = 100_000
	seen := map[netip.Prefix]bool{}
	for _, p := range Prefixes(n) {
		if p != p.Masked() || !topology.Remote.Contains(p.Addr()) || seen[p] {
			t.Fatalf("%s: want different prefixes of %s", p, topology.Remote)
		}
		seen[p] = true
	}
	if len(seen) != n {
		t.Errorf("%d prefixes, want %d", len(seen), n)
	}
}

func TestDraw(t *testing.T) {
	prefixes := Prefixes(1000)
	for name, tc := range map[string]struct {
		reason      string
		zipf        bool
		least, most int
	}{
		"uniform": {"each of 1000 gets about 131 of 131072", false, 80, 200},
		"Zipf":    {"the first of 1000 gets 1/H(1000, 1.1), about a fifth", true, 20_000, 30_000},
	} {
		count, most := map[netip.Addr]int{}, 0
		for _, a := range Draw(prefixes, tc.zipf) {
			count[a]++
			most = max(most, count[a])
		}
		if most < tc.least || most > tc.most {
			t.Errorf("%s: %s: the most frequent destination comes %d times, want %d to %d", name, tc.reason, most, tc.least, tc.most)
		}
	}
}
