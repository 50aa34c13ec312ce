// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// TestNarrowPath has a way to west that takes less than the underlay's interface.
func TestNarrowPath(t *testing.T) {
	ns, f := directGateway(t)
	cfg := directConfig()
	cfg.Clusters[0].MTU = 1400
	ns.MustDo(t, func() error { return f.Set(cfg) })
	sized := func(dstMAC, srcMAC []byte, dst string, n int) []byte {
		return ethernet(dstMAC, srcMAC, 0x0800, ip4{frag: 0x4000, ttl: 64, protocol: udp, src: "10.1.1.2", dst: dst, payload: udpDatagram(1, 2, make([]byte, n-28))}.bytes())
	}
	for name, tc := range map[string]struct {
		reason  string
		program *ebpf.Program
		ifname  string
		packet  []byte
		want    string
	}{
		"fits":      {"1350 + 50 is what the way takes", f.programs.TomboloOut, "tbg100", sized(gatewayMAC, routerMAC, "10.1.2.3", 1350), "shop/blue out shop/blue@west"},
		"too big":   {"the sender is told", f.programs.TomboloOut, "tbg100", sized(gatewayMAC, routerMAC, "10.1.2.3", 1351), "drop fragmentation_needed"},
		"elsewhere": {"south's way is as wide as the interface", f.programs.TomboloOut, "tbg100", sized(gatewayMAC, routerMAC, "10.1.3.3", 1450), "shop/blue out shop/blue@south"},
		"pod":       {"the same for a pod that sends by itself", f.programs.TomboloPod, "pod0", sized(subnetMAC, podMAC, "10.1.2.3", 1350), "shop/blue out shop/blue@west by pod"},
	} {
		got := runStory(t, ns, f, tc.program, tc.ifname, tc.packet, skbContext{})
		if len(got.Drops)+len(got.Flows) != 1 || !strings.Contains(tc.want, anyKey(got.Drops)+anyKey(got.Flows)) {
			t.Errorf("%s: %s: %+v, want %s", name, tc.reason, got, tc.want)
		}
	}
	got := runStory(t, ns, f, f.programs.TomboloPod, "pod0", sized(subnetMAC, podMAC, "10.1.2.3", 1351), skbContext{})
	if got.Slow["too_big"] != 1 || len(got.Flows) != 0 {
		t.Errorf("what is too big for the way, a pod's router answers: %+v", got)
	}
	if text := dump(t, f); !strings.Contains(text, "cluster west mtu=1400 ") || !strings.Contains(text, "cluster south mtu=1500 ") {
		t.Errorf("the dump does not say what the ways take:\n%s", text)
	}
	for mtu, reason := range map[int]string{575: "less than anybody may count on", 65536: "no IPv4 packet is larger", -1: "no number of bytes"} {
		cfg.Clusters[0].MTU = mtu
		if err := validate(cfg); err == nil || !strings.Contains(err.Error(), "MTU") {
			t.Errorf("%s: %d is accepted: %v", reason, mtu, err)
		}
	}
}

func anyKey[T any](m map[string]T) string {
	for key := range m {
		return key
	}
	return ""
}
