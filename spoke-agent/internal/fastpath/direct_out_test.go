// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"fmt"
	"testing"
)

func TestDirectOut(t *testing.T) {
	ns, f := directGateway(t)
	west := []string{"198.51.100.1", "198.51.100.2"}
	frame := func(p ip4) []byte { return ethernet(subnetMAC, podMAC, 0x0800, p.bytes()) }
	good := ip4{tos: 0xb9, ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: udpDatagram(1000, 53, []byte("query"))}
	change := func(p ip4, f func(*ip4)) ip4 { f(&p); return p }
	to := func(dst string) ip4 { return change(good, func(p *ip4) { p.dst = dst }) }
	sized := func(n int) ip4 {
		return change(good, func(p *ip4) { p.protocol, p.payload = tcp, tcpSegment(1, 2, make([]byte, n-40)) })
	}
	green := change(good, func(p *ip4) { p.src, p.dst = "10.4.1.3", "10.4.2.3" })
	fromGreen := ethernet(subnetMAC, otherMAC, 0x0800, green.bytes())
	// sent is the packet behind its outer header: this node is its origin, and its router is not met.
	sent := func(frame []byte, p ip4, vni uint32, endpoints ...string) []byte {
		srcPort, dstPort := uint16(p.payload[0])<<8|uint16(p.payload[1]), uint16(p.payload[2])<<8|uint16(p.payload[3])
		if p.protocol == icmp {
			srcPort, dstPort = 0, 0
		}
		endpoint, port := to2(flowHash(p.src, p.dst, p.protocol, srcPort, dstPort), endpoints)
		p.ttl--
		return originated(encapsulated(ethernet(frame[:6], frame[6:12], 0x0800, p.bytes()), endpoint, port, vni, p.tos), "192.0.2.1")
	}
	changed := func(offset int, to byte) []byte {
		b := bytes.Clone(frame(good))
		b[offset] = to
		return b
	}
	echo := change(good, func(p *ip4) { p.protocol, p.payload = icmp, []byte{8, 0, 0, 0, 0, 1, 0, 1} })
	last := change(good, func(p *ip4) { p.ttl = 2 })
	stub := change(good, func(p *ip4) { p.protocol, p.payload = tcp, p.payload[:8] })
	cut := sized(44)
	cut.payload[12], cut.payload[13] = 15<<4, 2
	copy(cut.payload[20:], []byte{1, 1, 1, 1})
	const south = "shop/blue out shop/blue@south by pod"

	for name, tc := range map[string]struct {
		reason  string
		ifname  string // pod0 if empty
		packet  []byte
		context skbContext
		want    []byte // nil: left as it is
		flow    string
		slow    string
	}{
		"own Vpc":     {reason: "TTL one less, this node its origin", packet: frame(good), want: sent(frame(good), good, 100, "203.0.113.1"), flow: south},
		"peer":        {reason: "with the destination's VNI", packet: frame(to("10.2.2.3")), want: sent(frame(good), to("10.2.2.3"), 200, west...), flow: "shop/blue out shop/red@west by pod"},
		"echo":        {reason: "ICMP has no ports", packet: frame(echo), want: sent(frame(echo), echo, 100, "203.0.113.1"), flow: south},
		"TCP":         {reason: "1450 bytes and 50 more just fit", packet: frame(sized(1450)), want: sent(frame(good), sized(1450), 100, "203.0.113.1"), flow: south},
		"TCP's start": {reason: "what it lacks is the receiver's business", packet: frame(stub), want: sent(frame(stub), stub, 100, "203.0.113.1"), flow: south},
		"TCP, cut":    {reason: "its options end behind the packet", packet: frame(cut), want: sent(frame(cut), cut, 100, "203.0.113.1"), flow: south},
		"last hop":    {reason: "TTL 2 is enough for this router", packet: frame(last), want: sent(frame(last), last, 100, "203.0.113.1"), flow: south},
		"TTL ends":    {reason: "the router answers", packet: frame(change(good, func(p *ip4) { p.ttl = 1 })), slow: "router"},
		"TTL 0":       {reason: "it does not become 255", packet: frame(change(good, func(p *ip4) { p.ttl = 0 })), slow: "router"},
		"options":     {reason: "a router looks at them", packet: frame(change(good, func(p *ip4) { p.options = []byte{1, 1, 1, 0} })), slow: "router"},
		"fragment":    {reason: "the first has ports, the others not, and all must take one way", packet: frame(change(good, func(p *ip4) { p.frag = 0x2000 })), slow: "router"},
		"later one":   {reason: "of the fragments", packet: frame(change(good, func(p *ip4) { p.frag = 1 })), slow: "router"},
		"too big":     {reason: "1451 bytes and 50 more", packet: frame(sized(1451)), slow: "too_big"},
		"no endpoint": {reason: "north has no gateway yet", packet: frame(to("10.1.4.3")), slow: "no_endpoint"},
		"encrypted":   {reason: "only gateways have keys", packet: frame(to("10.1.5.3")), slow: "encrypted"},
		"super-packet of no kind": {
			reason: "the kernel makes room only in super-packets of TCP and UDP; TestDirect sends real ones",
			packet: frame(sized(2000)), context: skbContext{GSOSize: 1000, GSOSegs: 2}, slow: "encapsulate",
		},
		"super-packet without a header": {
			reason: "it ends before the length of TCP's header",
			packet: frame(stub), context: skbContext{GSOSize: 1, GSOSegs: 2}, slow: "encapsulate",
		},
		"own cluster":       {reason: "inside the cluster OVN carries packets", packet: frame(to("10.1.1.9"))},
		"the gateway":       {reason: "its address is of this cluster, although a peer's prefix might hold it", packet: frame(to("169.254.0.2"))},
		"anywhere":          {reason: "OVN has other routes", packet: frame(to("203.0.113.1"))},
		"other source":      {reason: "OVN knows whether the pod may have two addresses", packet: frame(change(good, func(p *ip4) { p.src = "10.1.1.3" }))},
		"other MAC":         {reason: "not for the router", packet: changed(5, 9)},
		"other MAC, middle": {reason: "each octet counts", packet: changed(3, 9)},
		"other MAC, first":  {reason: "each octet counts", packet: changed(1, 9)},
		"ARP":               {reason: "OVN answers", packet: changed(13, 6)},
		"version 6":         {reason: "Ethernet says IPv4, the header does not", packet: changed(14, 0x65)},
		"short header":      {reason: "no IPv4 header is shorter than 20", packet: changed(14, 0x44)},
		"no pod's":          {reason: "an interface that is in no map", ifname: "ul1", packet: frame(good)},
		"behind a switch":   {reason: "it makes no difference on the way out", ifname: "pod1", packet: fromGreen, want: sent(fromGreen, green, 400, west...), flow: "shop/green out shop/green@west by pod"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.ifname == "" {
				tc.ifname = "pod0"
			}
			want := outcome{Verdict: next, Packet: tc.packet}
			switch {
			case tc.want != nil:
				want = outcome{Verdict: redirect, Packet: tc.want, Flows: map[string]string{tc.flow: fmt.Sprintf("1/%d", len(tc.packet)-14)}}
			case tc.slow != "":
				want.Slow = map[string]uint64{tc.slow: 1}
			}
			got := runStory(t, ns, f, f.programs.TomboloPod, tc.ifname, tc.packet, tc.context)
			if diff := diffOutcome(got, want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("to the switch", func(t *testing.T) {
		inside := ethernet(subnetMAC, otherMAC, 0x0800, change(green, func(p *ip4) { p.dst = "10.4.1.9" }).bytes())
		got := runStory(t, ns, f, f.programs.TomboloPod, "pod1", inside, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: redirect, Packet: inside}); diff != "" {
			t.Errorf("what is left to OVN goes there by the second pair (-want +got):\n%s", diff)
		}
	})
	t.Run("to a router by the switch", func(t *testing.T) {
		last := ethernet(subnetMAC, otherMAC, 0x0800, change(green, func(p *ip4) { p.ttl = 1 }).bytes())
		got := runStory(t, ns, f, f.programs.TomboloPod, "pod1", last, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: redirect, Packet: last, Slow: map[string]uint64{"router": 1}}); diff != "" {
			t.Errorf("what is left to OVN goes there by the second pair (-want +got):\n%s", diff)
		}
	})
	t.Run("a prefix of this cluster within a remote one", func(t *testing.T) {
		cfg := directConfig()
		cfg.Ports[0].Remotes[2].Prefixes = prefixes("10.1.3.0/24", "10.7.0.0/16")
		cfg.Ports[0].Local = append(cfg.Ports[0].Local, prefixes("10.7.7.0/24")...)
		ns.MustDo(t, func() error { return f.Set(cfg) })
		for dst, want := range map[string]int32{"10.7.8.1": redirect, "10.7.7.1": next} {
			if got := runStory(t, ns, f, f.programs.TomboloPod, "pod0", frame(to(dst)), skbContext{}); got.Verdict != want {
				t.Errorf("to %s, as the longest match says: verdict %d, want %d", dst, got.Verdict, want)
			}
		}
		back := ethernet(gatewayMAC, routerMAC, 0x0800, to("10.7.7.1").bytes())
		got := runStory(t, ns, f, f.programs.TomboloOut, "tbg100", back, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: dropped, Packet: back, Drops: map[string]uint64{"no_route": 1}}); diff != "" {
			t.Errorf("nor does the gateway send it out (-want +got):\n%s", diff)
		}
	})
}

// to2 is to, of a list.
func to2(hash uint64, endpoints []string) (string, uint16) { return to(hash, endpoints...) }

func TestSwitch(t *testing.T) {
	ns, f := directGateway(t)
	payload := ip4{ttl: 64, protocol: udp, src: "10.4.1.9", dst: "10.4.1.3", payload: udpDatagram(1, 2, nil)}.bytes()
	for name, tc := range map[string]struct {
		reason  string
		ifname  string
		dst     []byte
		verdict int32
	}{
		"the pod's":   {"into its namespace", "sw1", otherMAC, redirect},
		"everybody's": {"an ARP request, for example", "sw1", bytes.Repeat([]byte{0xff}, 6), redirect},
		"another's":   {"a switch that floods: the pod must see whose it is", "sw1", someMAC, redirect},
		"last octet":  {"each octet counts", "sw1", podMAC, redirect},
		"middle":      {"each octet counts", "sw1", []byte{0x0a, 0x58, 9, 1, 1, 3}, redirect},
		"no switch":   {"an interface that is in no map", "ul1", otherMAC, next},
	} {
		t.Run(name, func(t *testing.T) {
			packet := ethernet(tc.dst, subnetMAC, 0x0800, payload)
			got := runStory(t, ns, f, f.programs.TomboloSwitch, tc.ifname, packet, skbContext{})
			if diff := diffOutcome(got, outcome{Verdict: tc.verdict, Packet: packet}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
