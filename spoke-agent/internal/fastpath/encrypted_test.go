// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"
)

// TestEncrypted has vault's packets where there is a tunnel. Any interface is one to the programs; here it is ul1.
func TestEncrypted(t *testing.T) {
	ns, f := relayGateway(t)
	cfg := relayConfig()
	cfg.Underlay.Tunnel = "ul1"
	ns.IP(t, "link set ul1 mtu 1440 address 02:00:00:00:00:01") // what tombolo_in_tunnel makes up is this node's
	ns.MustDo(t, func() error { return f.Set(cfg) })
	sized := func(n int) []byte {
		return ethernet(gatewayMAC, routerMAC, 0x0800,
			ip4{ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.5.3", payload: tcpSegment(1, 2, make([]byte, n-40))}.bytes())
	}
	_, port := to(flowHash("10.1.1.2", "10.1.5.3", tcp, 1, 2), "")
	got := runStory(t, ns, f, f.programs.TomboloOut, "tbg100", sized(1390), skbContext{})
	want := outcome{Verdict: redirect, Packet: encapsulated(sized(1390), "203.0.113.9", port, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@vault": "1/1390"}}
	if diff := diffOutcome(got, want); diff != "" {
		t.Errorf("1390 + 50 is the tunnel's MTU (-want +got):\n%s", diff)
	}
	wantEffect(t, "1391 is one too many for the tunnel", runStory(t, ns, f, f.programs.TomboloOut, "tbg100", sized(1391), skbContext{}), "drop too_big")

	for name, change := range map[string]func(*ip4){
		"first fragment": func(p *ip4) { p.frag = 0x2000 },
		"short fragment": func(p *ip4) { p.frag, p.payload = 0x2000, p.payload[:24] },
		"with options":   func(p *ip4) { p.options = []byte{1, 1, 1, 0} },
	} {
		outer := ip4{ttl: 63, protocol: udp, src: "203.0.113.9", dst: "192.0.2.1", payload: udpDatagram(50000, 4789, vxlan(100, make([]byte, 42)))}
		change(&outer)
		got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", ethernet([]byte{2, 0, 0, 0, 0, 1}, someMAC, 0x0800, outer.bytes()), skbContext{})
		wantEffect(t, name+": the kernel would take it for vault's", got, "drop not_encrypted")
	}

	for name, outer := range map[string]ip4{
		"later fragment":  {frag: 1, ttl: 63, protocol: udp, src: "203.0.113.9", dst: "192.0.2.1", payload: make([]byte, 40)},
		"no port to read": {frag: 0x2000, ttl: 63, protocol: udp, src: "203.0.113.9", dst: "192.0.2.1", payload: []byte{1, 2}},
	} {
		frame := ethernet([]byte{2, 0, 0, 0, 0, 1}, someMAC, 0x0800, outer.bytes())
		got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", frame, skbContext{})
		if got.Verdict != next || len(got.Drops) != 0 {
			t.Errorf("%s: the kernel makes no encapsulation of it: %+v", name, got)
		}
	}

	// Set refuses relays of encrypted clusters: these entries come from nowhere.
	for name, entry := range map[string]struct{ key, value []byte }{
		"source":     {prefixKey{500, prefixes("10.5.9.0/24")[0]}.encode(), remoteEntry{cluster: clusterID("vault"), vni: 500}.encode()},
		"permission": {relayKey{clusterID("vault"), clusterID("south"), 500}.encode(), nil},
	} {
		m := gatewayMapTomboloTransit
		if entry.value == nil {
			m = gatewayMapTomboloRelays
		}
		if err := f.put(m, string(entry.key), entry.value); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	packet := relayed{src: "203.0.113.9", dst: "192.0.2.1", ttl: 63, vni: 500, inner: ip4{ttl: 64, protocol: icmp, src: "10.5.9.7", dst: "10.5.3.9"}}
	frame := packet.bytes([]byte{2, 0, 0, 0, 0, 1}, someMAC)
	for _, from := range []string{"ul0", "ul1"} {
		for _, p := range []*ebpf.Program{f.programs.TomboloIn, f.programs.TomboloXdp} {
			if got := runStory(t, ns, f, p, from, frame, skbContext{}); len(got.Flows) != 0 {
				t.Errorf("from %s: what came encrypted goes on in the clear: %+v", from, got)
			}
		}
	}
}
