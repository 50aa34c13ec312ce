// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

const vxlanDevice = "tbx4789"

// slowPathOf is what the kernel has to know for cfg, whose routers all have the link address 169.254.0.1.
func slowPathOf(cfg Config) link.SlowPath {
	endpoints := map[string][]netip.Addr{}
	for _, c := range cfg.Clusters {
		endpoints[c.Name] = c.Endpoints
	}
	s := link.SlowPath{VXLAN: link.VXLAN{Port: cfg.Underlay.UDPPort, Address: cfg.Underlay.Address, Underlay: cfg.Underlay.Interface}}
	for _, p := range cfg.Ports {
		v := link.SlowVpc{
			Interface: p.Interface, VNI: p.VNI, Router: netip.MustParseAddr("169.254.0.1"), RouterMAC: p.RouterMAC, Local: p.Local,
		}
		for _, r := range p.Remotes {
			v.Remotes = append(v.Remotes, link.SlowRemote{VNI: r.VNI, Endpoints: endpoints[r.Cluster], Prefixes: r.Prefixes})
		}
		s.Vpcs = append(s.Vpcs, v)
	}
	return s
}

// setBoth is what a gateway node does: the device, the programs that guard it, and only then the kernel's routes.
func setBoth(t testing.TB, ns *linktest.Namespace, f *Fastpath, cfg Config) {
	t.Helper()
	slow := slowPathOf(cfg)
	ns.MustDo(t, func() error {
		if err := link.EnsureVXLAN(slow.VXLAN); err != nil {
			return err
		}
		if err := f.Set(cfg); err != nil {
			return err
		}
		return link.SetSlowPath(slow)
	})
}

// slowStory is the gateway of the stories with a slow path under it. The kernel alone knows 10.1.7.0/24 in west.
func slowStory(t *testing.T) (*linktest.Namespace, *Fastpath) {
	t.Helper()
	ns, f := storyGateway(t)
	ns.IP(t, "addr add 192.0.2.1/24 dev ul0")
	ns.IP(t, "route add default via 192.0.2.254")
	cfg := storyConfig()
	cfg.Underlay.VXLAN = vxlanDevice
	known := storyConfig()
	known.Ports[0].Remotes[0].Prefixes = append(known.Ports[0].Remotes[0].Prefixes, prefixes("10.1.7.0/24", "192.0.2.0/24")...)
	known.Clusters[2].Endpoints = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	ns.MustDo(t, func() error {
		if err := link.EnsureVXLAN(slowPathOf(cfg).VXLAN); err != nil {
			return err
		}
		if err := f.Set(cfg); err != nil {
			return err
		}
		return link.SetSlowPath(slowPathOf(known))
	})
	return ns, f
}

// TestOutSlow has the packets that tombolo_out leaves to the kernel.
func TestOutSlow(t *testing.T) {
	ns, f := slowStory(t)
	frame := func(p ip4) []byte { return ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()) }
	datagram := func(dst string, ttl byte) ip4 {
		return ip4{ttl: ttl, protocol: udp, src: "10.1.1.2", dst: dst, payload: udpDatagram(1, 2, []byte("odd"))}
	}
	large := func(flags uint16, ttl byte) ip4 {
		return ip4{frag: flags, ttl: ttl, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: udpDatagram(1, 2, make([]byte, 1423))}
	}
	redirected := ip4{frag: 0x4000, ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.3.3", payload: append([]byte{5}, make([]byte, 1450)...)}
	later := large(0x4001, 64)
	fromNobody, fromMany, fromBank := large(0x4000, 64), large(0x4000, 64), large(0x4000, 64)
	fromNobody.src, fromMany.src, fromBank.dst = "0.0.0.0", "224.0.0.1", "10.1.2.3"
	message := func(kind byte) ip4 {
		return ip4{frag: 0x4000, ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.3.3", payload: append([]byte{kind}, make([]byte, 1450)...)}
	}
	told := func(p ip4) outcome {
		return outcome{Verdict: redirect, Packet: complaint(frame(p), 1450), Drops: map[string]uint64{"fragmentation_needed": 1}}
	}
	segment := ip4{frag: 0x4000, ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", payload: tcpSegment(1, 2, make([]byte, 1430))}
	options := large(0x4000, 64)
	options.options = []byte{1, 1, 1, 0}
	ping := ip4{frag: 0x4000, ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.3.3", payload: append([]byte{8}, make([]byte, 1430)...)}
	for name, tc := range map[string]struct {
		reason string
		packet []byte
		want   outcome
		ifname string
	}{
		"large echo reply":      {reason: "its sender can make it smaller", packet: frame(message(0)), want: told(message(0))},
		"large timestamp":       {reason: "RFC 792", packet: frame(message(13)), want: told(message(13))},
		"large timestamp reply": {reason: "RFC 792", packet: frame(message(14)), want: told(message(14))},
		"large TCP":             {reason: "the whole header is quoted", packet: frame(segment), want: told(segment)},
		"from many": {
			reason: "a multicast address is nobody's source (RFC 1122)",
			packet: frame(fromMany),
			want:   outcome{Verdict: dropped, Packet: frame(fromMany), Drops: map[string]uint64{"too_big": 1}},
		},
		"no link address": {
			reason: "this node has none in bank/blue to answer from",
			ifname: "tbg300",
			packet: frame(fromBank),
			want:   outcome{Verdict: dropped, Packet: frame(fromBank), Drops: map[string]uint64{"too_big": 1}},
		},
		"no route here, but in the kernel": {
			reason: "an empty map costs speed; the TTL that the kernel will take is given before: the transit is a wire",
			packet: frame(datagram("10.1.7.3", 1)),
			want:   outcome{Verdict: next, Packet: frame(datagram("10.1.7.3", 2)), Slow: map[string]uint64{"no_route": 1}},
		},
		"TTL 255": {
			reason: "there is no 256",
			packet: frame(datagram("10.1.7.3", 255)),
			want:   outcome{Verdict: next, Packet: frame(datagram("10.1.7.3", 255)), Slow: map[string]uint64{"no_route": 1}},
		},
		"no route anywhere": {
			reason: "the node has a default route, which is no tenant's",
			packet: frame(datagram("10.9.9.9", 64)),
			want:   outcome{Verdict: dropped, Packet: frame(datagram("10.9.9.9", 64)), Drops: map[string]uint64{"no_route": 1}},
		},
		"the node's own address": {
			reason: "the kernel would take the packet as its own, although the Vpc has a remote prefix with this address",
			packet: frame(datagram("192.0.2.1", 64)),
			want:   outcome{Verdict: dropped, Packet: frame(datagram("192.0.2.1", 64)), Drops: map[string]uint64{"no_route": 1}},
		},
		"back to where it came from": {
			reason: "a local destination has no business here: the kernel would send it round for ever",
			packet: frame(datagram("10.1.1.9", 64)),
			want:   outcome{Verdict: dropped, Packet: frame(datagram("10.1.1.9", 64)), Drops: map[string]uint64{"no_route": 1}},
		},
		"no endpoint here, but in the kernel": {
			reason: "as without a route",
			packet: frame(datagram("10.1.4.3", 64)),
			want:   outcome{Verdict: next, Packet: frame(datagram("10.1.4.3", 65)), Slow: map[string]uint64{"no_endpoint": 1}},
		},
		"may be fragmented": {
			reason: "the kernel does it",
			packet: frame(large(0, 64)),
			want:   outcome{Verdict: next, Packet: frame(large(0, 65)), Slow: map[string]uint64{"too_big": 1}},
		},
		"must not be fragmented": {
			reason: "RFC 1191: the sender is told what fits",
			packet: frame(large(0x4000, 64)),
			want:   outcome{Verdict: redirect, Packet: complaint(frame(large(0x4000, 64)), 1450), Drops: map[string]uint64{"fragmentation_needed": 1}},
		},
		"large echo": {
			reason: "ping -M do finds the path's MTU",
			packet: frame(ping),
			want:   outcome{Verdict: redirect, Packet: complaint(frame(ping), 1450), Drops: map[string]uint64{"fragmentation_needed": 1}},
		},
		"ICMP error": {
			reason: "RFC 1122: no error about an error (here a redirect)",
			packet: frame(redirected),
			want:   outcome{Verdict: dropped, Packet: frame(redirected), Drops: map[string]uint64{"too_big": 1}},
		},
		"later fragment": {
			reason: "RFC 1122: an error is about the first fragment only",
			packet: frame(later),
			want:   outcome{Verdict: dropped, Packet: frame(later), Drops: map[string]uint64{"too_big": 1}},
		},
		"from nobody": {
			reason: "there is nobody to tell",
			packet: frame(fromNobody),
			want:   outcome{Verdict: dropped, Packet: frame(fromNobody), Drops: map[string]uint64{"too_big": 1}},
		},
		"with options": {
			reason: "nobody sends those; they are counted",
			packet: frame(options),
			want:   outcome{Verdict: dropped, Packet: frame(options), Drops: map[string]uint64{"too_big": 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := runStory(t, ns, f, f.programs.TomboloOut, cmp.Or(tc.ifname, "tbg100"), tc.packet, skbContext{})
			if diff := diffOutcome(got, tc.want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestOutWithoutTunnel: a kernel that can't do it gets nothing.
func TestOutWithoutTunnel(t *testing.T) {
	ns, f := storyGateway(t)
	packet := ethernet(gatewayMAC, routerMAC, 0x0800,
		ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: udpDatagram(1, 2, make([]byte, 1423))}.bytes())
	got := runStory(t, ns, f, f.programs.TomboloOut, "tbg100", packet, skbContext{})
	if diff := diffOutcome(got, outcome{Verdict: dropped, Packet: packet, Drops: map[string]uint64{"too_big": 1}}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClamp(t *testing.T) {
	ns, f := storyGateway(t)
	testClamp(t, 64, func(t *testing.T, packet []byte) outcome {
		return runStory(t, ns, f, f.programs.TomboloOut, "tbg100", ethernet(gatewayMAC, routerMAC, 0x0800, packet), skbContext{})
	})
}

func TestPodClamp(t *testing.T) {
	ns, f := directGateway(t)
	testClamp(t, 63, func(t *testing.T, packet []byte) outcome {
		return runStory(t, ns, f, f.programs.TomboloPod, "pod0", ethernet(subnetMAC, podMAC, 0x0800, packet), skbContext{})
	})
}

// testClamp: the underlay of 1500 bytes leaves 1500 − 50 − 40 = 1410 for a segment. ttl is what of 64 is left, and packets
// with options, which a pod's program leaves to the router, are for those that take none.
func testClamp(t *testing.T, ttl byte, run func(t *testing.T, packet []byte) outcome) {
	mss := func(n uint16) []byte { return binary.BigEndian.AppendUint16([]byte{2, 4}, n) }
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	nops := bytes.Repeat([]byte{1}, 36)
	const syn, synAck, ack = 0x02, 0x12, 0x10
	for name, tc := range map[string]struct {
		reason    string
		flags     byte
		options   []byte
		want      []byte
		ipOptions []byte
	}{
		"SYN":             {reason: "1460 would not fit", flags: syn, options: mss(1460), want: mss(1410)},
		"SYN, ACK":        {reason: "the answer too", flags: synAck, options: mss(8960), want: mss(1410)},
		"fits":            {reason: "it is never raised", flags: syn, options: mss(1410), want: mss(1410)},
		"small":           {reason: "it is never raised", flags: syn, options: mss(536), want: mss(536)},
		"no SYN":          {reason: "the option means nothing later", flags: ack, options: mss(1460), want: mss(1460)},
		"behind others":   {reason: "as Linux does not, but may", flags: syn, options: join([]byte{4, 2}, []byte{1, 1}, mss(1460)), want: join([]byte{4, 2, 1, 1}, mss(1410))},
		"at an odd place": {reason: "its octets are in two words of the checksum", flags: syn, options: join([]byte{1}, mss(1460), []byte{1, 1, 1}), want: join([]byte{1}, mss(1410), []byte{1, 1, 1})},
		"last":            {reason: "40 octets are the most", flags: syn, options: join(nops, mss(1460)), want: join(nops, mss(1410))},
		"after the end":   {reason: "what follows the end is padding", flags: syn, options: join([]byte{0, 0, 0, 0}, mss(1460)), want: join([]byte{0, 0, 0, 0}, mss(1460))},
		"only others":     {reason: "there is nothing behind them", flags: syn, options: []byte{8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}, want: []byte{8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1}},
		"none":            {reason: "the default of 536 fits", flags: syn},
		"broken":          {reason: "an option of no length does not hang the gateway", flags: syn, options: join([]byte{8, 0, 0, 0}, mss(1460)), want: join([]byte{8, 0, 0, 0}, mss(1460))},
		"broken MSS":      {reason: "it has 4 octets", flags: syn, options: []byte{2, 6, 0x10, 0, 0, 0, 1, 1}, want: []byte{2, 6, 0x10, 0, 0, 0, 1, 1}},
		"with IP options": {reason: "TCP begins later", flags: syn, options: mss(1460), want: mss(1410), ipOptions: []byte{1, 1, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.ipOptions != nil && ttl != 64 {
				return
			}
			segment := func(options []byte, ttl byte) []byte {
				b := append(tcpSegment(1000, 80, nil), options...)
				b[12], b[13] = byte(5+len(options)/4)<<4, tc.flags
				p := ip4{ttl: ttl, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", options: tc.ipOptions, payload: append(b, "data"...)}
				binary.BigEndian.PutUint16(p.payload[16:], tcpChecksum(p))
				return p.bytes()
			}
			got := run(t, segment(tc.options, 64))
			if got.Verdict != redirect || string(got.Packet[64:]) != string(segment(tc.want, ttl)) {
				t.Errorf("%s: verdict %d\ngot  %x\nwant %x", tc.reason, got.Verdict, got.Packet[64:], segment(tc.want, ttl))
			}
		})
	}
}

// tcpChecksum is RFC 9293 section 3.1, of a payload whose checksum is zero.
func tcpChecksum(p ip4) uint16 {
	pseudo := append(append(addr(p.src), addr(p.dst)...), 0, tcp, byte(len(p.payload)>>8), byte(len(p.payload)))
	return onesComplement(append(pseudo, p.payload...))
}

// TestInSlow has the packets that tombolo_in leaves to the VXLAN device.
func TestInSlow(t *testing.T) {
	ns, f := slowStory(t)
	outer := func(inner ip4) []byte {
		return ethernet(underlayMAC, someMAC, 0x0800, ip4{
			frag: 0x4000, ttl: 63, protocol: udp, src: "198.51.100.1", dst: "192.0.2.1",
			payload: udpDatagram(50000, 4789, vxlan(100, ethernet(someMAC, someMAC, 0x0800, inner.bytes()))),
		}.bytes())
	}
	answer := ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	spoofed := answer
	spoofed.src = "10.9.9.9"
	segment := answer
	segment.protocol, segment.payload = tcp, tcpSegment(80, 2000, make([]byte, 1500))
	for name, tc := range map[string]struct {
		reason  string
		packet  []byte
		context skbContext
		want    outcome
	}{
		"super-packet of UDP": {
			reason:  "the VXLAN device takes it apart cleanly; it is admitted before",
			packet:  outer(answer),
			context: skbContext{GSOSize: 7, GSOSegs: 2},
			want:    outcome{Verdict: next, Packet: outer(answer), Slow: map[string]uint64{"gso_not_tcp": 1}},
		},
		"spoofed super-packet of UDP": {
			reason:  "what is not admitted never gets there",
			packet:  outer(spoofed),
			context: skbContext{GSOSize: 7, GSOSegs: 2},
			want:    outcome{Verdict: dropped, Packet: outer(spoofed), Drops: map[string]uint64{"spoofed_source": 1}},
		},
		"super-packet of no kind": {
			reason:  "the kernel takes no room out of it",
			packet:  outer(segment),
			context: skbContext{GSOSize: 1000, GSOSegs: 2},
			want:    outcome{Verdict: next, Packet: outer(segment), Slow: map[string]uint64{"decapsulate": 1}},
		},
		"larger than the port": {
			reason: "1540 bytes don't fit the port's 1500",
			packet: outer(segment),
			want:   outcome{Verdict: next, Packet: outer(segment), Slow: map[string]uint64{"too_big": 1}},
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
