// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"testing"
)

func TestIn(t *testing.T) {
	ns, f := storyGateway(t)
	inner := func(p ip4) []byte { return ethernet(someMAC, someMAC, 0x0800, p.bytes()) }
	outer := func(src string, vni uint32, tos byte, inner []byte) []byte {
		return ethernet(underlayMAC, someMAC, 0x0800, ip4{
			tos: tos, frag: 0x4000, ttl: 63, protocol: udp, src: src, dst: "192.0.2.1",
			payload: udpDatagram(50000, 4789, vxlan(vni, inner)),
		}.bytes())
	}
	// changed replaces one octet; the offsets are those of outer IPv4 (14), UDP (34), VXLAN (42), inner Ethernet (50) and IPv4 (64).
	changed := func(b []byte, offset int, to byte) []byte {
		b = bytes.Clone(b)
		b[offset] = to
		return b
	}
	delivered := func(p ip4) []byte { return ethernet(routerMAC, gatewayMAC, 0x0800, p.bytes()) }
	flow := func(name, value string) map[string]string { return map[string]string{name: value} }
	drops := func(reason string) map[string]uint64 { return map[string]uint64{reason: 1} }

	blue := ip4{tos: 0xb8, ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	red, spoofed, south, vault, probe, strange := blue, blue, blue, blue, blue, blue
	red.src, spoofed.src, south.src, vault.src, strange.src = "10.2.2.3", "10.9.9.9", "10.1.3.3", "10.1.5.3", "169.254.0.2"
	probe.src, probe.dst, probe.protocol = "169.254.0.9", "169.254.0.2", icmp
	abroad := blue
	abroad.dst = "10.1.2.9"
	capable, marked, incapable := blue, blue, blue
	capable.tos, marked.tos, incapable.tos = 0xba, 0xbb, 0xb8
	good := outer("198.51.100.2", 100, 0xb8, inner(blue))
	tcpPacket, headless := blue, blue
	headless.protocol, headless.payload = tcp, []byte{1, 2}
	tcpPacket.protocol, tcpPacket.payload = tcp, tcpSegment(80, 2000, make([]byte, 2000))
	stub := outer("198.51.100.2", 100, 0, ethernet(someMAC, someMAC, 0x0800, []byte{0x45, 0, 0, 4}))

	for name, tc := range map[string]struct {
		reason  string
		packet  []byte
		context skbContext
		want    outcome
	}{
		"own Vpc": {
			reason: "the inner packet arrives unchanged, TTL 3 included, with the MAC addresses of this link",
			packet: good,
			want:   outcome{Verdict: redirect, Packet: delivered(blue), Flows: flow("shop/blue in shop/blue@west", "1/34")},
		},
		"peer": {
			reason: "the source tells the Vpc it comes from",
			packet: outer("198.51.100.1", 100, 0, inner(red)),
			want:   outcome{Verdict: redirect, Packet: delivered(red), Flows: flow("shop/blue in shop/red@west", "1/34")},
		},
		"to the link": {
			reason: "link addresses are local: answers to probes and ICMP errors come in",
			packet: outer("198.51.100.1", 100, 0, inner(probe)),
			want:   outcome{Verdict: redirect, Packet: delivered(probe), Flows: flow("shop/blue in shop/blue@west", "1/34")},
		},
		"other cluster's prefix": {
			reason: "10.1.3.0/24 is south's: west may not send from it",
			packet: outer("198.51.100.1", 100, 0, inner(south)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(south)), Drops: drops("spoofed_source")},
		},
		"that cluster's prefix": {
			reason: "and south may",
			packet: outer("203.0.113.1", 100, 0, inner(south)),
			want:   outcome{Verdict: redirect, Packet: delivered(south), Flows: flow("shop/blue in shop/blue@south", "1/34")},
		},
		"in the clear": {
			reason: "vault's packets come through the interface that decrypts or not at all",
			packet: outer("203.0.113.9", 100, 0, inner(vault)),
			want:   outcome{Verdict: dropped, Packet: outer("203.0.113.9", 100, 0, inner(vault)), Drops: drops("not_encrypted")},
		},
		"nobody's prefix": {
			reason: "a source that no cluster has",
			packet: outer("198.51.100.1", 100, 0, inner(spoofed)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(spoofed)), Drops: drops("spoofed_source")},
		},
		"this gateway's own address": {
			reason: "no other cluster has it",
			packet: outer("198.51.100.1", 100, 0, inner(strange)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(strange)), Drops: drops("spoofed_source")},
		},
		"other Vpc's peer": {
			reason: "10.2.2.0/24 is a peer of shop/blue and not of bank/blue",
			packet: outer("198.51.100.1", 300, 0, inner(red)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 300, 0, inner(red)), Drops: drops("spoofed_source")},
		},
		"not in this cluster": {
			reason: "this gateway is not transit between two others",
			packet: outer("198.51.100.1", 100, 0, inner(abroad)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(abroad)), Drops: drops("not_local")},
		},
		"unknown VNI of a known endpoint": {
			reason: "a Vpc that is not here (any more)",
			packet: outer("198.51.100.1", 200, 0, inner(blue)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 200, 0, inner(blue)), Drops: drops("unknown_vni")},
		},
		"known VNI of an unknown endpoint": {
			reason: "somebody who is no gateway of the fleet",
			packet: outer("198.51.100.77", 100, 0, inner(blue)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.77", 100, 0, inner(blue)), Drops: drops("unknown_endpoint")},
		},
		"unknown VNI of an unknown endpoint": {
			reason: "another VXLAN on this node",
			packet: outer("198.51.100.77", 4000, 0, inner(blue)),
			want:   outcome{Verdict: next, Packet: outer("198.51.100.77", 4000, 0, inner(blue))},
		},
		"inner ARP": {
			reason: "only IPv4 crosses",
			packet: outer("198.51.100.1", 100, 0, ethernet(someMAC, someMAC, 0x0806, make([]byte, 28))),
			want: outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, ethernet(someMAC, someMAC, 0x0806, make([]byte, 28))),
				Drops: drops("not_ipv4")},
		},
		"inner version 6": {
			reason: "the inner Ethernet says IPv4, the header does not",
			packet: changed(good, 64, 0x65),
			want:   outcome{Verdict: dropped, Packet: changed(good, 64, 0x65), Drops: drops("malformed")},
		},
		"inner header of 16 octets": {
			reason: "no IPv4 header is shorter than 20",
			packet: changed(good, 64, 0x44),
			want:   outcome{Verdict: dropped, Packet: changed(good, 64, 0x44), Drops: drops("malformed")},
		},
		"inner packet of 4 octets": {
			reason: "it ends within the header",
			packet: stub,
			want:   outcome{Verdict: dropped, Packet: stub, Drops: drops("malformed")},
		},
		"outer fragment": {
			reason: "gateways send none: the kernel may reassemble it for somebody else",
			packet: changed(good, 20, 0x20),
			want:   outcome{Verdict: next, Packet: changed(good, 20, 0x20)},
		},
		"outer options": {
			reason: "gateways send none",
			packet: changed(good, 14, 0x46),
			want:   outcome{Verdict: next, Packet: changed(good, 14, 0x46)},
		},
		"no VNI": {
			reason: "RFC 7348: without the I flag there is no valid VNI",
			packet: changed(good, 42, 0),
			want:   outcome{Verdict: next, Packet: changed(good, 42, 0)},
		},
		"other address": {
			reason: "not to the address that the other clusters have",
			packet: changed(good, 33, 9),
			want:   outcome{Verdict: next, Packet: changed(good, 33, 9)},
		},
		"other UDP port": {
			reason: "not VXLAN",
			packet: changed(good, 37, 9),
			want:   outcome{Verdict: next, Packet: changed(good, 37, 9)},
		},
		"TCP to the port's number": {
			reason: "the same octets, but not UDP",
			packet: changed(good, 23, tcp),
			want:   outcome{Verdict: next, Packet: changed(good, 23, tcp)},
		},
		"short packet": {
			reason: "the node's other traffic passes: an echo request",
			packet: ethernet(underlayMAC, someMAC, 0x0800, ip4{ttl: 64, protocol: icmp, src: "198.51.100.1", dst: "192.0.2.1", payload: make([]byte, 8)}.bytes()),
			want: outcome{Verdict: next,
				Packet: ethernet(underlayMAC, someMAC, 0x0800, ip4{ttl: 64, protocol: icmp, src: "198.51.100.1", dst: "192.0.2.1", payload: make([]byte, 8)}.bytes())},
		},
		"not IPv4": {
			reason: "the node's other traffic passes: ARP",
			packet: ethernet(underlayMAC, someMAC, 0x0806, make([]byte, 28)),
			want:   outcome{Verdict: next, Packet: ethernet(underlayMAC, someMAC, 0x0806, make([]byte, 28))},
		},
		"other MAC": {
			reason: "seen on the wire, but another host's",
			packet: ethernet(someMAC, someMAC, 0x0800, good[14:]),
			want:   outcome{Verdict: next, Packet: ethernet(someMAC, someMAC, 0x0800, good[14:])},
		},
		"congestion on the way": {
			reason: "RFC 6040: CE outside marks an ECN-capable packet inside, and its checksum follows",
			packet: outer("198.51.100.1", 100, 0xbb, inner(capable)),
			want:   outcome{Verdict: redirect, Packet: delivered(marked), Flows: flow("shop/blue in shop/blue@west", "1/34")},
		},
		"congestion marked before": {
			reason: "CE inside stays",
			packet: outer("198.51.100.1", 100, 0xbb, inner(marked)),
			want:   outcome{Verdict: redirect, Packet: delivered(marked), Flows: flow("shop/blue in shop/blue@west", "1/34")},
		},
		"congestion of what can't say so": {
			reason: "RFC 6040: CE outside of a packet that is not ECN-capable is a drop",
			packet: outer("198.51.100.1", 100, 0xbb, inner(incapable)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0xbb, inner(incapable)), Drops: drops("congested")},
		},
		"super-packet of UDP": {
			reason: "the kernel would lose it without a word",
			packet: good, context: skbContext{GSOSize: 7, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: good, Drops: drops("gso_not_tcp")},
		},
		"larger than the port": {
			reason: "2040 bytes don't fit the port's 1500, and nobody fragments here",
			packet: outer("198.51.100.1", 100, 0, inner(tcpPacket)),
			want:   outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(tcpPacket)), Drops: drops("too_big")},
		},
		"super-packet without a TCP header": {
			reason: "what its segments are like is not known",
			packet: outer("198.51.100.1", 100, 0, inner(headless)), context: skbContext{GSOSize: 1000, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(headless)), Drops: drops("malformed")},
		},
		"super-packet of no kind": {
			reason: "the kernel takes room only out of super-packets of TCP and UDP; TestTransit sends real ones",
			packet: outer("198.51.100.1", 100, 0, inner(tcpPacket)), context: skbContext{GSOSize: 1000, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: outer("198.51.100.1", 100, 0, inner(tcpPacket)),
				Drops: drops("decapsulate")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", tc.packet, tc.context)
			if diff := diffOutcome(got, tc.want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
