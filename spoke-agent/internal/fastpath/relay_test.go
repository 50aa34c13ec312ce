// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// What tombolo_xdp returns (linux/bpf.h, enum xdp_action).
const (
	xdpPass = 2
	xdpTX   = 3
)

// relayConfig lets west send through this node to south and north, for VNI 500, which has no port here, and for VNI 100.
func relayConfig() Config {
	cfg := storyConfig()
	cfg.Relays = []Relay{
		{VNI: 500, From: "west", Sources: prefixes("10.5.2.0/24"), To: "south", Destinations: prefixes("10.5.3.0/24")},
		{VNI: 500, From: "west", Sources: prefixes("10.5.2.0/24"), To: "north", Destinations: prefixes("10.5.4.0/24")},
		{VNI: 100, From: "west", Sources: prefixes("10.1.2.0/24"), To: "south", Destinations: prefixes("10.1.3.0/24")},
		{VNI: 100, From: "south", Sources: prefixes("10.1.3.0/24"), To: "west", Destinations: prefixes("10.1.2.0/24")},
	}
	return cfg
}

// relayGateway is a storyGateway that relays, and whose kernel knows the way to south and not to west.
func relayGateway(t *testing.T) (*linktest.Namespace, *Fastpath) {
	t.Helper()
	ns, f := storyGateway(t)
	ns.Sysctl(t, "net/ipv4/ip_forward", "1")
	ns.IP(t, "addr add 192.0.2.1/24 dev ul0")
	ns.IP(t, "neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev ul0")
	ns.IP(t, "route add 203.0.113.0/24 via 192.0.2.254")
	ns.MustDo(t, func() error { return f.Set(relayConfig()) })
	return ns, f
}

// relayed is a packet between two gateways.
type relayed struct {
	src, dst string
	tos, ttl byte // tos 0 is 0xb9
	vni      uint32
	checksum byte
	inner    ip4
}

func (r relayed) bytes(dstMAC, srcMAC []byte) []byte {
	datagram := udpDatagram(51234, 4789, vxlan(r.vni, ethernet(someMAC, someMAC, 0x0800, r.inner.bytes())))
	datagram[7] = r.checksum
	if r.tos == 0 {
		r.tos = 0xb9
	}
	return ethernet(dstMAC, srcMAC, 0x0800, ip4{
		tos: r.tos, id: 0xfff3, frag: 0x4000, ttl: r.ttl, protocol: udp, src: r.src, dst: r.dst, payload: datagram,
	}.bytes())
}

func TestRelay(t *testing.T) {
	ns, f := relayGateway(t)
	inner := func(src, dst string) ip4 {
		return ip4{tos: 1, ttl: 1, protocol: udp, src: src, dst: dst, payload: udpDatagram(53, 1000, []byte("answer"))}
	}
	good := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 500, inner: inner("10.5.2.7", "10.5.3.9")}
	change := func(f func(*relayed)) relayed { r := good; f(&r); return r }
	// passed is r as it leaves for south: nothing but outer addresses, TTL and checksum differ.
	passed := func(r relayed) *relayed { r.src, r.dst, r.ttl = "192.0.2.1", "203.0.113.1", r.ttl-1; return &r }
	port := change(func(r *relayed) { r.vni, r.inner = 100, inner("10.1.2.7", "10.1.3.9") })
	high := change(func(r *relayed) { r.ttl = 255 })
	last := change(func(r *relayed) { r.ttl = 2 })

	for name, tc := range map[string]struct {
		reason string
		packet relayed
		want   *relayed // nil: it does not pass
		flow   string
		drop   string
	}{
		"no port here": {
			reason: "the VNI's Vpc need not exist in the cluster between the two; the inner TTL of 1 is none of the relay's business",
			packet: good, want: passed(good), flow: "relay 500 west→south",
		},
		"port here": {
			reason: "what is for this cluster is delivered here, the rest is relayed",
			packet: port, want: passed(port), flow: "relay 100 west→south",
		},
		"largest TTL":    {reason: "the checksum follows", packet: high, want: passed(high), flow: "relay 500 west→south"},
		"last hop":       {reason: "TTL 2 is enough for one more", packet: last, want: passed(last), flow: "relay 500 west→south"},
		"used up":        {reason: "TTL 1 is not", packet: change(func(r *relayed) { r.ttl = 1 }), drop: "ttl"},
		"TTL 0":          {reason: "nor is 0: it does not become 255", packet: change(func(r *relayed) { r.ttl = 0 }), drop: "ttl"},
		"no VNI of ours": {reason: "neither a port nor a relay", packet: change(func(r *relayed) { r.vni = 501 }), drop: "unknown_vni"},
		"nobody's destination": {
			reason: "in no cluster that packets pass to",
			packet: change(func(r *relayed) { r.inner.dst = "10.5.9.9" }), drop: "unknown_vni",
		},
		"nobody's destination, port here": {
			reason: "bank/blue has the addresses, but no relay",
			packet: change(func(r *relayed) { r.vni, r.inner = 300, inner("10.1.2.7", "10.1.3.9") }), drop: "not_local",
		},
		"foreign source":        {reason: "10.9.9.9 is nobody's", packet: change(func(r *relayed) { r.inner.src = "10.9.9.9" }), drop: "spoofed_source"},
		"south's source":        {reason: "west may not send as south", packet: change(func(r *relayed) { r.inner.src = "10.5.3.1" }), drop: "spoofed_source"},
		"other VNI's source":    {reason: "10.1.2.0/24 is west's with VNI 100 only", packet: change(func(r *relayed) { r.inner.src = "10.1.2.7" }), drop: "spoofed_source"},
		"source of another way": {reason: "west's source, but south sent it", packet: change(func(r *relayed) { r.src = "203.0.113.1" }), drop: "spoofed_source"},
		"the way back": {
			reason: "south to west is another permission, and VNI 500 does not have it",
			packet: change(func(r *relayed) { r.src, r.inner = "203.0.113.1", inner("10.5.3.9", "10.5.2.7") }), drop: "not_relayed",
		},
		"back to the sender": {reason: "west sends to west", packet: change(func(r *relayed) { r.inner.dst = "10.5.2.8" }), drop: "not_relayed"},
		"no endpoint":        {reason: "north has no gateway yet", packet: change(func(r *relayed) { r.inner.dst = "10.5.4.1" }), drop: "no_endpoint"},
		"UDP checksum":       {reason: "it would be wrong with other addresses", packet: change(func(r *relayed) { r.checksum = 9 }), drop: "checksum"},
		"unknown endpoint":   {reason: "VNI 100 is ours: a stranger may not use it", packet: change(func(r *relayed) { r.src, r.vni = "198.51.100.77", 100 }), drop: "unknown_endpoint"},
		"encrypted sender":   {reason: "vault's packets come through the tunnel", packet: change(func(r *relayed) { r.src = "203.0.113.9" }), drop: "not_encrypted"},
		"stranger's VNI":     {reason: "no port and no gateway of the fleet: another VXLAN on this node", packet: change(func(r *relayed) { r.src = "198.51.100.77" })},
	} {
		t.Run(name, func(t *testing.T) {
			packet := tc.packet.bytes(underlayMAC, someMAC)
			in, early := outcome{Verdict: next, Packet: packet}, outcome{Verdict: xdpPass, Packet: packet}
			switch {
			case tc.want != nil:
				count := map[string]string{tc.flow: "1/34"}
				// The kernel writes Ethernet after tombolo_in, and tombolo_xdp writes it itself.
				in = outcome{Verdict: redirect, Packet: tc.want.bytes(underlayMAC, someMAC), Flows: count}
				early = outcome{Verdict: xdpTX, Packet: tc.want.bytes([]byte{2, 0, 0, 0, 0, 0xfe}, underlayMAC), Flows: count}
			case tc.drop != "":
				in.Verdict, in.Drops = dropped, map[string]uint64{tc.drop: 1}
			}
			if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloIn, "ul0", packet, skbContext{}), in); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloXdp, "ul0", packet, skbContext{}), early); diff != "" {
				t.Errorf("by XDP, which leaves drops to tcx: %s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestXDPPasses has the packets that tombolo_xdp must leave to the kernel as they are.
func TestXDPPasses(t *testing.T) {
	ns, f := relayGateway(t)
	good := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 500,
		inner: ip4{ttl: 64, protocol: udp, src: "10.5.2.7", dst: "10.5.3.9", payload: udpDatagram(53, 1000, make([]byte, 1400))}}
	frame := good.bytes(underlayMAC, someMAC)
	changed := func(offset int, to byte) []byte {
		b := bytes.Clone(frame)
		b[offset] = to
		return b
	}
	local, west := good, good
	local.vni, local.inner.src, local.inner.dst = 100, "10.1.2.7", "10.1.1.2"
	west.src, west.vni, west.inner.src, west.inner.dst = "203.0.113.1", 100, "10.1.3.9", "10.1.2.7"
	for name, tc := range map[string]struct {
		reason string
		packet []byte
	}{
		"for this cluster":  {"tombolo_in takes off the outer header", local.bytes(underlayMAC, someMAC)},
		"unknown way":       {"the kernel has no route to west: tombolo_in lets it find one", west.bytes(underlayMAC, someMAC)},
		"other MAC":         {"seen on the wire, but another host's", changed(5, 9)},
		"other MAC, middle": {"each octet counts", changed(3, 9)},
		"other MAC, first":  {"each octet counts", changed(1, 9)},
		"ARP":               {"the node's other traffic", changed(13, 6)},
		"outer options":     {"gateways send none", changed(14, 0x46)},
		"TCP":               {"the same octets, but not UDP", changed(23, tcp)},
		"other UDP port":    {"not VXLAN", changed(37, 9)},
		"other address":     {"not this node's endpoint", changed(33, 9)},
		"no VNI":            {"RFC 7348: the I flag", changed(42, 0)},
		"fragment":          {"gateways send none", changed(20, 0x20)},
		"inner ARP":         {"only IPv4 crosses", changed(63, 6)},
		"inner version 6":   {"only IPv4 crosses", changed(64, 0x65)},
		"inner header":      {"no IPv4 header is shorter than 20", changed(64, 0x44)},
		"short":             {"it ends within the inner header", frame[:80]},
	} {
		t.Run(name, func(t *testing.T) {
			got := runStory(t, ns, f, f.programs.TomboloXdp, "ul0", tc.packet, skbContext{})
			if diff := diffOutcome(got, outcome{Verdict: xdpPass, Packet: tc.packet}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("not the underlay", func(t *testing.T) {
		got := runStory(t, ns, f, f.programs.TomboloXdp, "ul1", frame, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: xdpPass, Packet: frame}); diff != "" {
			t.Errorf("XDP can send a packet back to the interface it came from, and the way is through ul0 (-want +got):\n%s", diff)
		}
	})
	t.Run("not on the way out", func(t *testing.T) {
		ns.IP(t, "addr add 192.0.3.1/24 dev ul1")
		ns.IP(t, "neigh replace 192.0.3.254 lladdr 02:00:00:00:00:fe dev ul1")
		ns.IP(t, "route replace 203.0.113.0/24 via 192.0.3.254")
		got := runStory(t, ns, f, f.programs.TomboloXdp, "ul0", frame, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: xdpPass, Packet: frame}); diff != "" {
			t.Errorf("the way to south is through another interface (-want +got):\n%s", diff)
		}
	})
}

// TestRelayNothing: without Relays in the config, nothing passes, whatever was allowed before.
func TestRelayNothing(t *testing.T) {
	ns, f := relayGateway(t)
	packet := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 500,
		inner: ip4{ttl: 64, protocol: udp, src: "10.5.2.7", dst: "10.5.3.9"}}.bytes(underlayMAC, someMAC)
	for _, p := range []*ebpf.Program{f.programs.TomboloIn, f.programs.TomboloXdp} {
		if got := runStory(t, ns, f, p, "ul0", packet, skbContext{}); got.Flows["relay 500 west→south"] == "" {
			t.Fatalf("it does not pass at first: %+v", got)
		}
	}
	ns.MustDo(t, func() error { return f.Set(storyConfig()) })
	got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", packet, skbContext{})
	if diff := diffOutcome(got, outcome{Verdict: dropped, Packet: packet, Drops: map[string]uint64{"unknown_vni": 1}}); diff != "" {
		t.Errorf("the next packet after Set (-want +got):\n%s", diff)
	}
	got = runStory(t, ns, f, f.programs.TomboloXdp, "ul0", packet, skbContext{})
	if diff := diffOutcome(got, outcome{Verdict: xdpPass, Packet: packet}); diff != "" {
		t.Errorf("the next packet after Set, by XDP (-want +got):\n%s", diff)
	}
}

func TestSetRefusesRelays(t *testing.T) {
	ns, f := relayGateway(t)
	before := dump(t, f)
	for name, tc := range map[string]struct {
		reason string
		change func(*Relay)
		want   string
	}{
		"VNI":           {"a forgotten field", func(r *Relay) { r.VNI = 0 }, "vni 0 is not between 1 and 16777215"},
		"from nobody":   {"a wrong name", func(r *Relay) { r.From = "wets" }, `relay of vni 500 from wets to south: cluster "wets" is unknown; add it`},
		"to nobody":     {"a wrong name", func(r *Relay) { r.To = "" }, `cluster "" is unknown; add it`},
		"encrypted":     {"nothing encrypts what is relayed", func(r *Relay) { r.To = "vault" }, "cluster vault is encrypted"},
		"back":          {"a loop of two", func(r *Relay) { r.To = "west" }, "packets don't go back where they came from"},
		"host bits":     {"the trie would take it for 10.5.2.0/24", func(r *Relay) { r.Sources = prefixes("10.5.2.7/24") }, "write 10.5.2.0/24"},
		"IPv6":          {"only IPv4 is forwarded", func(r *Relay) { r.Destinations = prefixes("fd00::/64") }, "is not IPv4"},
		"two owners":    {"whose source is it", func(r *Relay) { r.Destinations = r.Sources }, "prefix 10.5.2.0/24 is west's and south's"},
		"half of other": {"nor one the half of the other's", func(r *Relay) { r.Destinations = prefixes("10.5.2.128/25") }, "10.5.2.0/24 and 10.5.2.128/25 overlap"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := relayConfig()
			tc.change(&cfg.Relays[0])
			if err := ns.Do(func() error { return f.Set(cfg) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
			if diff := cmp.Diff(before, dump(t, f)); diff != "" {
				t.Errorf("%s: it has changed the maps (-before +after):\n%s", tc.reason, diff)
			}
		})
	}
	for _, want := range []string{"relay vni=500 cluster=west → cluster=south\n", "transit vni=500 10.5.3.0/24 → cluster=south\n"} {
		if !strings.Contains(before, want) {
			t.Errorf("the dump lacks %q:\n%s", want, before)
		}
	}
}
