// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// TestRecordsOfSlowIn has what comes out of the kernel's VXLAN device.
func TestRecordsOfSlowIn(t *testing.T) {
	ns, f := directGateway(t)
	reader, err := ringbuf.NewReader(f.maps[gatewayMapTomboloRecords])
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	p := loadSlowIn(t, f)
	ip := netip.MustParseAddr
	west, own := from("198.51.100.3", 100), from("192.0.2.8", 100)
	blue := ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	change := func(f func(*ip4)) []byte { c := blue; f(&c); return inner(c) }
	arrived := Record{Direction: "in", Program: "tombolo_slow_in", Verdict: "forwarded", SrcVpc: "shop/blue", DstVpc: "shop/blue", Cluster: "west",
		VNI: 100, RemoteVNI: 100, Src: ip("10.1.2.3"), Dst: ip("10.1.1.2"), Protocol: udp, SrcPort: 53, DstPort: 1000, Packets: 1, Bytes: 34}
	as := func(f func(*Record)) *Record { r := arrived; f(&r); return &r }
	ping, later, short := change(func(p *ip4) { p.protocol, p.payload = icmp, make([]byte, 8) }),
		change(func(p *ip4) { p.frag, p.payload = 5, make([]byte, 8) }), change(func(p *ip4) { p.payload = []byte{1} })
	notIPv4 := inner(blue)
	notIPv4[14] = 0x65
	cut := west
	cut.CB[2] = 18
	only := func(e *samplingEntry) { e.drops = true }
	for name, tc := range map[string]recordStory{
		"datagram":       {reason: "it has ports", packet: inner(blue), context: west, want: &arrived},
		"of an own node": {reason: "which passes on what west has sent", packet: inner(blue), context: own, want: &arrived},
		"segment":        {reason: "it has ports", packet: change(func(p *ip4) { p.protocol, p.payload = tcp, tcpSegment(80, 2000, nil) }), context: west, want: as(func(r *Record) { r.Protocol, r.SrcPort, r.DstPort, r.Bytes = tcp, 80, 2000, 40 })},
		"no ports":       {reason: "ICMP has none", packet: ping, context: west, want: as(func(r *Record) { r.Protocol, r.SrcPort, r.DstPort, r.Bytes = icmp, 0, 0, 28 })},
		"later fragment": {reason: "it has no ports", packet: later, context: west, want: as(func(r *Record) { r.SrcPort, r.DstPort, r.Bytes = 0, 0, 28 })},
		"cut off":        {reason: "too short for ports", packet: short, context: west, want: as(func(r *Record) { r.SrcPort, r.DstPort, r.Bytes = 0, 0, 21 })},
		"4 octets": {reason: "too short for anything", packet: inner(blue), context: cut, want: as(func(r *Record) {
			*r = Record{Direction: r.Direction, Program: r.Program, Verdict: "dropped", Reason: "malformed", DstVpc: r.DstVpc, Cluster: "west", VNI: 100, Src: ip("0.0.0.0"), Dst: ip("0.0.0.0"), Packets: 1, Bytes: 4}
		})},
		"no IPv4": {reason: "although it says so", packet: notIPv4, context: west, want: as(func(r *Record) {
			*r = Record{Direction: r.Direction, Program: r.Program, Verdict: "dropped", Reason: "malformed", DstVpc: r.DstVpc, Cluster: "west", VNI: 100, Src: ip("0.0.0.0"), Dst: ip("0.0.0.0"), Packets: 1, Bytes: 34}
		})},
		"forged": {reason: "who sends it is known, whose it is is not", packet: change(func(p *ip4) { p.src = "10.9.9.9" }), context: west, want: as(func(r *Record) {
			r.Verdict, r.Reason, r.SrcVpc, r.RemoteVNI, r.Src = "dropped", "spoofed_source", "", 0, ip("10.9.9.9")
		})},
		"drops only, drop": {reason: "it is one", packet: change(func(p *ip4) { p.src = "10.9.9.9" }), context: west, sampling: only, want: as(func(r *Record) {
			r.Verdict, r.Reason, r.SrcVpc, r.RemoteVNI, r.Src = "dropped", "spoofed_source", "", 0, ip("10.9.9.9")
		})},
		"drops only": {reason: "it is none", packet: inner(blue), context: west, sampling: only},
		"unknown endpoint": {reason: "of nobody", packet: inner(blue), context: from("198.51.100.77", 100), want: as(func(r *Record) {
			r.Verdict, r.Reason, r.SrcVpc, r.Cluster, r.RemoteVNI = "dropped", "unknown_endpoint", "", "", 0
		})},
		"no tunnel":   {reason: "nothing is known of it", packet: inner(blue), context: skbContext{}},
		"off":         {reason: "nobody looks", packet: inner(blue), context: west, sampling: func(e *samplingEntry) { e.every = 0 }},
		"one in many": {reason: "not this one", packet: inner(blue), context: west, sampling: func(e *samplingEntry) { e.every = 1<<32 - 1 }},
		"reader gone": {reason: "who was killed is not heard of any more", packet: inner(blue), context: west, sampling: func(e *samplingEntry) { e.until -= 2 * time.Hour }},
	} {
		tc.program, tc.ifname = p, "ul0"
		t.Run(name, func(t *testing.T) { tc.run(t, ns, f, reader) })
	}
}
