// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// encapsulated is what must go out for an inner packet.
func encapsulated(frame []byte, dst string, sport uint16, vni uint32, tos byte) []byte {
	inner := append(make([]byte, 12), frame[12:]...)
	return ethernet(frame[:6], frame[6:12], 0x0800, ip4{
		tos: tos, frag: 0x4000, ttl: 64, protocol: udp, src: "192.0.2.1", dst: dst,
		payload: udpDatagram(sport, 4789, vxlan(vni, inner)),
	}.bytes())
}

// complaint is the ICMP error (RFC 792, 1191) about a frame of an Ethernet and an IPv4 header without options.
func complaint(frame []byte, mtu uint16) []byte {
	quote := frame[14 : 14+28]
	if frame[23] == tcp {
		quote = frame[14 : 14+40]
	}
	message := append([]byte{3, 4, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}, quote...)
	binary.BigEndian.PutUint16(message[2:], onesComplement(message))
	return ethernet(routerMAC, gatewayMAC, 0x0800, ip4{
		tos: 0xc0, ttl: 64, protocol: icmp, src: "169.254.0.2", dst: fmt.Sprint(netip.AddrFrom4([4]byte(frame[26:30]))), payload: message,
	}.bytes())
}

// to returns endpoint and source port for a flow.
func to(hash uint64, endpoints ...string) (string, uint16) {
	return endpoints[(hash>>32)*uint64(len(endpoints))>>32], uint16(49152 + hash&0x3fff)
}

func TestOut(t *testing.T) {
	ns, f := storyGateway(t)
	frame := func(p ip4) []byte { return ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()) }
	west := []string{"198.51.100.1", "198.51.100.2"}

	blue := frame(ip4{tos: 0xb9, id: 7, frag: 0x4000, ttl: 3, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1000, 53, []byte("query"))})
	blueTo, bluePort := to(flowHash("10.1.1.2", "10.1.2.3", udp, 1000, 53), west...)
	red := frame(ip4{ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.2.2.3", payload: tcpSegment(2000, 80, nil)})
	redTo, redPort := to(flowHash("10.1.1.2", "10.2.2.3", tcp, 2000, 80), west...)
	bank := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1000, 53, []byte("query"))})
	_, bankPort := to(flowHash("10.1.1.2", "10.1.2.3", udp, 1000, 53), "")
	echo := frame(ip4{ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.3.3", payload: []byte{8, 0, 0, 0, 0, 1, 0, 1}})
	_, echoPort := to(flowHash("10.1.1.2", "10.1.3.3", icmp, 0, 0), "")
	first := frame(ip4{frag: 0x2000, ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: udpDatagram(1000, 53, nil)})
	later := frame(ip4{frag: 0x0001, ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: []byte("the rest of it")})
	rest := frame(ip4{frag: 0x0001, ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", payload: append(append(make([]byte, 12), 0x60, 2, 0, 0, 0, 0, 0, 0), 2, 4, 0xff, 0xff)})
	_, restPort := to(flowHash("10.1.1.2", "10.1.3.3", tcp, 0, 0), "")
	_, fragPort := to(flowHash("10.1.1.2", "10.1.3.3", udp, 0, 0), "")
	options := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", options: []byte{1, 1, 1, 0}, payload: udpDatagram(1000, 53, nil)})
	_, optionsPort := to(flowHash("10.1.1.2", "10.1.3.3", udp, 1000, 53), "")
	short := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.3.3", payload: []byte{1, 2}})
	_, shortPort := to(flowHash("10.1.1.2", "10.1.3.3", udp, 0, 0), "")
	sized := func(n int) []byte {
		return frame(ip4{frag: 0x4000, ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", payload: tcpSegment(1, 2, make([]byte, n-40))})
	}
	_, sizedPort := to(flowHash("10.1.1.2", "10.1.3.3", tcp, 1, 2), "")
	none := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.9.9.9", payload: udpDatagram(1, 2, nil)})
	north := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.4.3", payload: udpDatagram(1, 2, nil)})
	vault := frame(ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.5.3", payload: udpDatagram(1, 2, nil)})
	own := frame(ip4{ttl: 63, protocol: icmp, src: "10.1.2.1", dst: "169.254.0.2", payload: make([]byte, 8)})
	version6 := bytes.Clone(blue)
	version6[14] = 0x65
	ihl4 := bytes.Clone(blue)
	ihl4[14] = 0x44

	for name, tc := range map[string]struct {
		reason  string
		ifname  string
		packet  []byte
		context skbContext
		want    outcome
	}{
		"own Vpc": {
			reason: "the inner packet goes unchanged, TTL 3 included (transit is a wire), and the outer header copies its TOS",
			ifname: "tbg100", packet: blue,
			want: outcome{Verdict: redirect, Packet: encapsulated(blue, blueTo, bluePort, 100, 0xb9), Flows: map[string]string{"shop/blue out shop/blue@west": "1/33"}},
		},
		"peer": {
			reason: "the VNI on the wire is the destination Vpc's",
			ifname: "tbg100", packet: red,
			want: outcome{Verdict: redirect, Packet: encapsulated(red, redTo, redPort, 200, 0), Flows: map[string]string{"shop/blue out shop/red@west": "1/40"}},
		},
		"same addresses, other Vpc": {
			reason: "the port tells the Vpc: the same destination is in another cluster",
			ifname: "tbg300", packet: bank,
			want: outcome{Verdict: redirect, Packet: encapsulated(bank, "203.0.113.1", bankPort, 300, 0), Flows: map[string]string{"bank/blue out bank/blue@south": "1/33"}},
		},
		"no ports to hash": {
			reason: "ICMP flows are hashed by addresses and protocol",
			ifname: "tbg100", packet: echo,
			want: outcome{Verdict: redirect, Packet: encapsulated(echo, "203.0.113.1", echoPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/28"}},
		},
		"first fragment": {
			reason: "it has ports, but the others have not, and all must take one path",
			ifname: "tbg100", packet: first,
			want: outcome{Verdict: redirect, Packet: encapsulated(first, "203.0.113.1", fragPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/28"}},
		},
		"later fragment": {
			reason: "the same port as the first fragment",
			ifname: "tbg100", packet: later,
			want: outcome{Verdict: redirect, Packet: encapsulated(later, "203.0.113.1", fragPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/34"}},
		},
		"later fragment of TCP": {
			reason: "what looks like a SYN is data",
			ifname: "tbg100", packet: rest,
			want: outcome{Verdict: redirect, Packet: encapsulated(rest, "203.0.113.1", restPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/44"}},
		},
		"inner options": {
			reason: "ports lie after the options",
			ifname: "tbg100", packet: options,
			want: outcome{Verdict: redirect, Packet: encapsulated(options, "203.0.113.1", optionsPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/32"}},
		},
		"too short for ports": {
			reason: "what the transport header lacks is not the gateway's business",
			ifname: "tbg100", packet: short,
			want: outcome{Verdict: redirect, Packet: encapsulated(short, "203.0.113.1", shortPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/22"}},
		},
		"largest": {
			reason: "1450 + 50 is the underlay's MTU",
			ifname: "tbg100", packet: sized(1450),
			want: outcome{Verdict: redirect, Packet: encapsulated(sized(1450), "203.0.113.1", sizedPort, 100, 0), Flows: map[string]string{"shop/blue out shop/blue@south": "1/1450"}},
		},
		"too big": {
			reason: "1451 + 50 is one too many for the underlay",
			ifname: "tbg100", packet: sized(1451),
			want: outcome{Verdict: redirect, Packet: complaint(sized(1451), 1450), Drops: map[string]uint64{"fragmentation_needed": 1}},
		},
		"super-packet of no kind": {
			reason: "its segments fit (20 + 20 + 1410), but the kernel makes room only in super-packets of TCP and UDP, " +
				"and BPF_PROG_TEST_RUN can't make these: TestTransit sends them",
			ifname: "tbg100", packet: sized(40 + 2*1410), context: skbContext{GSOSize: 1410, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: sized(40 + 2*1410), Drops: map[string]uint64{"encapsulate": 1}},
		},
		"super-packet of too big segments": {
			reason: "20 + 20 + 1411 + 50 is one too many",
			ifname: "tbg100", packet: sized(40 + 2*1411), context: skbContext{GSOSize: 1411, GSOSegs: 2},
			want: outcome{Verdict: redirect, Packet: complaint(sized(40+2*1411), 1450), Drops: map[string]uint64{"fragmentation_needed": 1}},
		},
		"super-packet of UDP": {
			reason: "its segments fit (20 + 8 + 1400), and the kernel refuses it as above",
			ifname: "tbg100", packet: blue, context: skbContext{GSOSize: 1400, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: blue, Drops: map[string]uint64{"encapsulate": 1}},
		},
		"super-packet without a TCP header": {
			reason: "the length of its segments can't be known",
			ifname: "tbg100", packet: frame(ip4{ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", payload: []byte{1, 2}}),
			context: skbContext{GSOSize: 1400, GSOSegs: 2},
			want: outcome{Verdict: dropped, Packet: frame(ip4{ttl: 64, protocol: tcp, src: "10.1.1.2", dst: "10.1.3.3", payload: []byte{1, 2}}),
				Drops: map[string]uint64{"malformed": 1}},
		},
		"no remote prefix": {
			reason: "an aggregate of the router leads here more than exists",
			ifname: "tbg100", packet: none,
			want: outcome{Verdict: dropped, Packet: none, Drops: map[string]uint64{"no_route": 1}},
		},
		"no endpoint": {
			reason: "the cluster has no gateway yet",
			ifname: "tbg100", packet: north,
			want: outcome{Verdict: dropped, Packet: north, Drops: map[string]uint64{"no_endpoint": 1}},
		},
		"nothing to encrypt with": {
			reason: "vault's packets leave encrypted or not at all",
			ifname: "tbg100", packet: vault,
			want: outcome{Verdict: dropped, Packet: vault, Drops: map[string]uint64{"not_encrypted": 1}},
		},
		"to this gateway": {
			reason: "the prober's socket gets it",
			ifname: "tbg100", packet: own,
			want: outcome{Verdict: next, Packet: own},
		},
		"flooded": {
			reason: "a packet for another gateway of the switch would arrive twice",
			ifname: "tbg100", packet: ethernet(someMAC, routerMAC, 0x0800, blue[14:]),
			want: outcome{Verdict: dropped, Packet: ethernet(someMAC, routerMAC, 0x0800, blue[14:]), Drops: map[string]uint64{"other_mac": 1}},
		},
		"not IPv4": {
			reason: "ARP and IPv6 are left to the kernel",
			ifname: "tbg100", packet: ethernet(gatewayMAC, routerMAC, 0x86dd, make([]byte, 40)),
			want: outcome{Verdict: next, Packet: ethernet(gatewayMAC, routerMAC, 0x86dd, make([]byte, 40))},
		},
		"not a gateway port": {
			reason: "an interface that is in no map",
			ifname: "ul0", packet: ethernet(underlayMAC, someMAC, 0x0800, blue[14:]),
			want: outcome{Verdict: next, Packet: ethernet(underlayMAC, someMAC, 0x0800, blue[14:])},
		},
		"version 6 in IPv4": {
			reason: "Ethernet says IPv4, the header does not",
			ifname: "tbg100", packet: version6,
			want: outcome{Verdict: dropped, Packet: version6, Drops: map[string]uint64{"malformed": 1}},
		},
		"header of 16 octets": {
			reason: "no IPv4 header is shorter than 20",
			ifname: "tbg100", packet: ihl4,
			want: outcome{Verdict: dropped, Packet: ihl4, Drops: map[string]uint64{"malformed": 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := runStory(t, ns, f, f.programs.TomboloOut, tc.ifname, tc.packet, tc.context)
			if diff := diffOutcome(got, tc.want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOutSpreadsFlows(t *testing.T) {
	ns, f := storyGateway(t)
	perEndpoint, sourcePorts := map[string]int{}, map[uint16]bool{}
	for i := range 400 {
		p := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(uint16(30000+i), 53, nil)}
		got := runStory(t, ns, f, f.programs.TomboloOut, "tbg100", ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()), skbContext{})
		if got.Verdict != redirect {
			t.Fatalf("flow %d: verdict %d", i, got.Verdict)
		}
		perEndpoint[fmt.Sprint(got.Packet[30:34])]++
		sourcePorts[binary.BigEndian.Uint16(got.Packet[34:])] = true
	}
	for endpoint, n := range perEndpoint {
		if n < 150 || n > 250 {
			t.Errorf("endpoint %s has %d of 400 flows, want about half", endpoint, n)
		}
	}
	if len(sourcePorts) < 380 {
		t.Errorf("400 flows have %d outer source ports: links and queues between the clusters can't tell them apart", len(sourcePorts))
	}
}
