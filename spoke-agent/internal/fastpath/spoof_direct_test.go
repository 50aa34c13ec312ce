// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// judgeDirect is judge, and says of what is delivered where: "port", "pod 10.1.1.2" or "node 192.0.2.8".
func judgeDirect(cfg Config, c crafted) string {
	judgement := judge(cfg, c)
	if judgement != "deliver" {
		return judgement
	}
	own, routine := false, c.first == 0x45 && c.inner.ttl > 1
	for _, a := range cfg.Own.Nodes {
		own = own || a.String() == c.src
	}
	for _, p := range cfg.Pods {
		if p.VNI == c.vni && p.Address.String() == c.inner.dst && routine {
			return "pod " + c.inner.dst
		}
	}
	for _, p := range cfg.Ports {
		if p.VNI == c.vni && p.Interface == "" {
			return judgeOnward(cfg, c, own)
		}
	}
	for _, h := range cfg.Own.Hosts {
		if h.VNI == c.vni && h.Address.String() == c.inner.dst && routine && !own && c.ttl > 1 && c.checksum == 0 {
			return "node " + h.Node.String()
		}
	}
	return "port"
}

func judgeOnward(cfg Config, c crafted, own bool) string {
	switch {
	case own:
		return "not_here"
	case c.ttl <= 1:
		return "ttl"
	case c.checksum != 0:
		return "checksum"
	}
	return "node " + cfg.Own.Gateways[0].String()
}

// whither says where a packet goes that was redirected.
func whither(cfg Config, after []byte) string {
	for _, p := range cfg.Pods {
		if mac, err := parseMAC(p.MAC); err == nil && bytes.Equal(after[:6], mac[:]) {
			return "pod " + p.Address.String()
		}
	}
	if bytes.Equal(after[:6], routerMAC) {
		return "port"
	}
	if to := netip.AddrFrom4([4]byte(after[30:34])); slices.Contains(cfg.Own.Nodes, to) {
		return "node " + to.String()
	}
	return "relay"
}

// TestSpoofDirect is TestSpoof on a node with pods: no forged packet gets into one, or on to another node, and none makes the
// node send a pod's packets elsewhere.
func TestSpoofDirect(t *testing.T) {
	ns, f := directGateway(t)
	cfg := directConfig()
	seed := rand.Uint64()
	g := newCrafter(seed, cfg)
	before := counters(t, f).Drops
	want, judged := map[string]uint64{}, map[string]int{}
	ns.MustDo(t, func() error {
		devices, _, err := findDevices(cfg)
		if err != nil {
			return err
		}
		ctx := skbContext{Ifindex: uint32(devices["ul0"].index)}
		for forged := 0; forged < 50_000; {
			c := g.packet()
			packet, judgement := c.bytes(), judgeDirect(cfg, c)
			// An origin that is no node of a cluster which has the source: nobody may learn it.
			packet = originated(packet, one(g, "198.51.100.77", "192.0.2.8", "192.0.2.1", "203.0.113.9", "0.0.0.0"))
			judged[judgement]++
			verdict, after, err := runProgram(f.programs.TomboloIn, packet, ctx)
			if err != nil {
				return err
			}
			got := map[int32]string{dropped: "drop", next: "next"}[verdict]
			wanted := judgement
			switch {
			case verdict == redirect:
				got = whither(cfg, after)
			case judgement != "next":
				want[judgement]++
				forged++
				wanted = "drop"
			}
			if got != wanted {
				return fmt.Errorf("seed %d: %s, want %s (%s): %v", seed, got, wanted, judgement, c)
			}
		}
		return nil
	})
	if diff := cmp.Diff(want, grown(before, counters(t, f).Drops)); diff != "" {
		t.Errorf("seed %d: drops (-want +got):\n%s", seed, diff)
	}
	for _, judgement := range []string{"pod 10.1.1.2", "pod 10.4.1.3", "port", "node 192.0.2.8", "node 192.0.2.9", "relay", "next",
		"unknown_endpoint", "unknown_vni", "not_local", "spoofed_source", "not_encrypted", "not_relayed", "ttl", "checksum", "not_here"} {
		if judged[judgement] < 10 {
			t.Errorf("seed %d: %d packets are %s: the test makes too few", seed, judged[judgement], judgement)
		}
	}
	learned, err := f.origins()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range learned {
		t.Errorf("seed %d: learned that %s is at %s, which is no sender of its cluster", seed, e.pod.address, e.origin)
	}
	t.Logf("seed %d: %v", seed, judged)
}
