// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"testing"
)

// echoed is a packet of bpf/echo.h between two gateways, with what UDP's checksum must be.
type echoed struct {
	src, dst         string
	srcPort, dstPort uint16
	ttl              byte
	frag             uint16
	vni              uint32
	asked, asking    byte // the last octets of the inner destination and source address
	protocol         uint16
	body             int
}

func (e echoed) bytes(dstMAC, srcMAC []byte) []byte {
	frame := ethernet([]byte{2, 't', 'm', 'b', 0, e.asked}, []byte{2, 't', 'm', 'b', 0, e.asking}, e.protocol, echoBody(e.body))
	datagram := udpDatagram(e.srcPort, e.dstPort, vxlan(e.vni, frame))
	pseudo := append(append(append(addr(e.src), addr(e.dst)...), 0, udp, byte(len(datagram)>>8), byte(len(datagram))), datagram...)
	if len(pseudo)%2 == 1 {
		pseudo = append(pseudo, 0)
	}
	binary.BigEndian.PutUint16(datagram[6:], onesComplement(pseudo))
	return ethernet(dstMAC, srcMAC, 0x0800, ip4{tos: 0xb8, id: 7, frag: e.frag, ttl: e.ttl, protocol: udp, src: e.src, dst: e.dst, payload: datagram}.bytes())
}

func echoBody(n int) []byte {
	b := make([]byte, n)
	_, _ = pattern{}.Read(b)
	return b
}

func TestEcho(t *testing.T) {
	ns, f := storyGateway(t)
	cfg := storyConfig()
	cfg.Underlay.Tunnel = "ul1" // any interface is a tunnel to the programs
	ns.IP(t, "link set ul1 address 02:00:00:00:00:01")
	ns.MustDo(t, func() error { return f.Set(cfg) })
	request := echoed{src: "198.51.100.1", dst: "192.0.2.1", srcPort: 40000, dstPort: 4789, ttl: 63, asked: 1, asking: 2, protocol: 0x88b5, body: 16}
	answer := echoed{src: "192.0.2.1", dst: "198.51.100.1", srcPort: 4789, dstPort: 40000, ttl: 64, frag: 0x4000, asked: 2, asking: 1, protocol: 0x88b5, body: 16}
	with := func(e echoed, change func(*echoed)) []byte {
		change(&e)
		return e.bytes(underlayMAC, someMAC)
	}
	for name, tc := range map[string]struct {
		reason  string
		from    string // interface; ul0 when empty
		packet  []byte
		verdict int32
		after   []byte // the packet itself when nil
		drop    string
	}{
		"request": {
			reason: "it goes back as it came: ends, ports and the two octets swapped, TTL new, both checksums right",
			packet: with(request, func(*echoed) {}), verdict: redirect, after: with(answer, func(*echoed) {}),
		},
		"odd length": {
			reason: "the checksum's last octet has no partner",
			packet: with(request, func(e *echoed) { e.body = 1231 }), verdict: redirect, after: with(answer, func(e *echoed) { e.body = 1231 }),
		},
		"no body": {
			reason: "the shortest there is",
			packet: with(request, func(e *echoed) { e.body = 0 }), verdict: redirect, after: with(answer, func(e *echoed) { e.body = 0 }),
		},
		"from the port itself": {
			reason: "the answer then comes to a program, which must not answer it again",
			packet: with(request, func(e *echoed) { e.srcPort = 4789 }), verdict: redirect, after: with(answer, func(e *echoed) { e.dstPort = 4789 }),
		},
		"answer": {
			reason: "two gateways must not play ping-pong",
			packet: with(request, func(e *echoed) { e.asked, e.asking = 2, 1 }), verdict: dropped, drop: "not_ipv4",
		},
		"asked by the asked": {
			reason: "what would be a request again after the swap is none",
			packet: with(request, func(e *echoed) { e.asked, e.asking = 1, 1 }), verdict: dropped, drop: "not_ipv4",
		},
		"unknown sender": {
			reason: "only gateways of the fleet are answered; it may be somebody else's VXLAN",
			packet: with(request, func(e *echoed) { e.src = "198.51.100.77" }), verdict: next,
		},
		"in the clear": {
			reason: "vault's gateways ask through the tunnel",
			packet: with(request, func(e *echoed) { e.src = "203.0.113.9" }), verdict: dropped, drop: "not_encrypted",
		},
		"through the tunnel": {
			reason: "and are answered there", from: "ul1",
			packet: with(request, func(e *echoed) { e.src = "203.0.113.9" }), verdict: redirect, after: with(answer, func(e *echoed) { e.dst = "203.0.113.9" }),
		},
		"through the wrong tunnel": {
			reason: "west's gateways don't", from: "ul1",
			packet: with(request, func(*echoed) {}), verdict: dropped, drop: "not_encrypted",
		},
		"truncated": {
			reason: "it ends within the inner Ethernet header, and is nothing of ours",
			packet: with(request, func(e *echoed) { e.body = 0 })[:14+20+8+8+13], verdict: next,
		},
		"of a Vpc": {
			reason: "a Vpc carries IPv4 and no echoes",
			packet: with(request, func(e *echoed) { e.vni = 100 }), verdict: dropped, drop: "not_ipv4",
		},
		"another type": {
			reason: "VNI 0 is for echoes",
			packet: with(request, func(e *echoed) { e.protocol = 0x0806 }), verdict: dropped, drop: "not_ipv4",
		},
		"IPv4 of no Vpc": {
			reason: "VNI 0 is no Vpc's",
			packet: with(request, func(e *echoed) { e.protocol, e.body = 0x0800, 0 }), verdict: dropped, drop: "malformed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := outcome{Verdict: tc.verdict, Packet: tc.packet}
			if tc.after != nil {
				want.Packet = tc.after
				copy(want.Packet, tc.packet[:12]) // the kernel writes the outer MAC addresses afterwards
			}
			if tc.drop != "" {
				want.Drops = map[string]uint64{tc.drop: 1}
			}
			from := tc.from
			if from == "" {
				from = "ul0"
			}
			if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloIn, from, tc.packet, skbContext{}), want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestQuiet: a gateway that says no word still carries packets, and speaks again when it is told to.
func TestQuiet(t *testing.T) {
	ns, f := storyGateway(t)
	request := echoed{src: "198.51.100.1", dst: "192.0.2.1", srcPort: 40000, dstPort: 4789, ttl: 63, asked: 1, asking: 2, protocol: 0x88b5, body: 16}.bytes(underlayMAC, someMAC)
	inner := ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}.bytes()
	for _, quiet := range []bool{true, false} {
		cfg := storyConfig()
		cfg.Underlay.Quiet = quiet
		ns.MustDo(t, func() error { return f.Set(cfg) })
		got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", request, skbContext{})
		if want := map[bool]int32{true: dropped, false: redirect}[quiet]; got.Verdict != want || quiet != (got.Drops["not_here"] == 1) {
			t.Errorf("quiet %t: verdict %d, drops %v", quiet, got.Verdict, got.Drops)
		}
		data := ethernet(underlayMAC, someMAC, 0x0800, ip4{frag: 0x4000, ttl: 63, protocol: udp, src: "198.51.100.2", dst: "192.0.2.1",
			payload: udpDatagram(50000, 4789, vxlan(100, ethernet(someMAC, someMAC, 0x0800, inner)))}.bytes())
		if got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", data, skbContext{}); got.Verdict != redirect {
			t.Errorf("quiet %t: a packet of a Vpc gets verdict %d, drops %v", quiet, got.Verdict, got.Drops)
		}
	}
}
