// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

var (
	podMAC    = []byte{0x0a, 0x58, 10, 1, 1, 2}
	otherMAC  = []byte{0x0a, 0x58, 10, 1, 1, 3}
	subnetMAC = []byte{0x0a, 0x58, 10, 1, 1, 1}
)

// directConfig is relayConfig on a node with pods, in a cluster of three: 192.0.2.8, a gateway, and 192.0.2.9. Of shop/green
// (VNI 400) it is no gateway. West's node 198.51.100.3 may send.
func directConfig() Config {
	cfg := relayConfig()
	cfg.Clusters[0].Senders = append(slices.Clone(cfg.Clusters[0].Endpoints), netip.MustParseAddr("198.51.100.3"))
	cfg.Own = Own{
		Name: "east", Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.8")},
		Nodes: []netip.Addr{netip.MustParseAddr("192.0.2.8"), netip.MustParseAddr("192.0.2.9")},
		Hosts: []Host{{VNI: 100, Address: netip.MustParseAddr("10.1.1.9"), Node: netip.MustParseAddr("192.0.2.9")}},
	}
	cfg.Ports = append(cfg.Ports, Port{
		Vpc: "shop/green", VNI: 400, Local: prefixes("10.4.1.0/24"),
		Remotes: []Remote{
			{Vpc: "shop/green", VNI: 400, Cluster: "west", Prefixes: prefixes("10.4.2.0/24")},
			{Vpc: "shop/green", VNI: 400, Cluster: "vault", Prefixes: prefixes("10.4.5.0/24")},
			{Vpc: "shop/green", VNI: 400, Cluster: "north", Prefixes: prefixes("10.4.4.0/24")},
		},
	})
	cfg.Pods = []Pod{
		{Interface: "pod0", VNI: 100, Address: netip.MustParseAddr("10.1.1.2"), MAC: "0a:58:0a:01:01:02", RouterMAC: "0a:58:0a:01:01:01"},
		{Interface: "pod1", Switch: "sw1", VNI: 400, Address: netip.MustParseAddr("10.4.1.3"), MAC: "0a:58:0a:01:01:03", RouterMAC: "0a:58:0a:01:01:01"},
	}
	cfg.Relays = append(cfg.Relays, Relay{VNI: 100, From: "east", Sources: prefixes("10.1.1.0/24"), To: "south", Destinations: prefixes("10.1.3.0/24")})
	return cfg
}

// directGateway is a relayGateway with directConfig.
func directGateway(t testing.TB) (*linktest.Namespace, *Fastpath) {
	t.Helper()
	ns, f := storyGateway(t)
	ns.Sysctl(t, "net/ipv4/ip_forward", "1")
	ns.IP(t, "addr add 192.0.2.1/24 dev ul0")
	ns.IP(t, "neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev ul0")
	ns.IP(t, "route add 203.0.113.0/24 via 192.0.2.254")
	for _, pair := range [][2]string{{"pod0", "eth0"}, {"pod1", "eth1"}, {"sw1", "ovs1"}} {
		ns.Veth(t, pair[0], ns, pair[1])
		ns.IP(t, "link set "+pair[0]+" mtu 1400 up")
		ns.IP(t, "link set "+pair[1]+" up")
	}
	ns.MustDo(t, func() error { return f.Set(directConfig()) })
	return ns, f
}

// originated is the packet as it is when it began at a node.
func originated(frame []byte, origin string) []byte {
	frame = bytes.Clone(frame)
	a := addr(origin)
	copy(frame[43:46], a)
	frame[49] = a[3]
	return frame
}

func TestDirectIn(t *testing.T) {
	ns, f := directGateway(t)
	answer := ip4{tos: 0xb9, ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	green := answer
	green.src, green.dst = "10.4.2.3", "10.4.1.3"
	good := relayed{src: "198.51.100.3", dst: "192.0.2.1", ttl: 63, vni: 100, inner: answer}
	change := func(r relayed, f func(*relayed)) relayed { f(&r); return r }
	toGreen := change(good, func(r *relayed) { r.vni, r.inner = 400, green })
	toHost := change(good, func(r *relayed) { r.inner.dst = "10.1.1.9" })
	large := make([]byte, 1381)

	older := func(p ip4) ip4 { p.ttl--; return p }
	toPod := func(mac []byte, p ip4) []byte { return ethernet(mac, subnetMAC, 0x0800, older(p).bytes()) }
	toPort := func(r relayed) []byte { return ethernet(routerMAC, gatewayMAC, 0x0800, r.inner.bytes()) }
	passed := func(r relayed, node string) []byte {
		r.src, r.dst, r.ttl = "192.0.2.1", node, r.ttl-1
		return r.bytes(underlayMAC, someMAC)
	}
	const blue, greens = "shop/blue in shop/blue@west", "shop/green in shop/green@west"
	fromOwn := func(r relayed) relayed { r.src = "192.0.2.8"; return r }
	ended := func(r relayed) relayed { r.inner.ttl = 1; return r }
	options := func(r relayed) relayed { r.inner.options = []byte{1, 1, 1, 0}; return r }
	sized := func(r relayed) relayed { r.inner.payload = large; return r }

	for name, tc := range map[string]struct {
		reason  string
		packet  relayed
		origin  string
		context skbContext
		want    []byte // nil: dropped
		flow    string
		drop    string
	}{
		"a pod here": {
			reason: "straight into the pod, with its MAC address, and one TTL less for the router that it does not meet",
			packet: good, want: toPod(podMAC, answer), flow: blue + " by pod",
		},
		"with its origin": {
			reason: "the origin is of the outer header", packet: good, origin: "198.51.100.3", want: toPod(podMAC, answer), flow: blue + " by pod",
		},
		"of a gateway": {
			reason: "who sends it does not matter", packet: change(good, func(r *relayed) { r.src = "198.51.100.1" }), want: toPod(podMAC, answer), flow: blue + " by pod",
		},
		"of a node of this cluster": {
			reason: "it has held the packet against the law", packet: fromOwn(good), want: toPod(podMAC, answer), flow: blue + " by pod",
		},
		"pod behind a switch": {
			reason: "it makes no difference on the way in", packet: toGreen, want: toPod(otherMAC, green), flow: greens + " by pod",
		},
		"TTL ends":       {reason: "the router answers", packet: ended(good), want: toPort(ended(good)), flow: blue},
		"options":        {reason: "the router looks at them", packet: options(good), want: toPort(options(good)), flow: blue},
		"too big":        {reason: "1401 bytes into 1400: the port takes 1500, and the router behind it says so", packet: sized(good), want: toPort(sized(good)), flow: blue},
		"no pod known":   {reason: "what nobody knows goes to OVN", packet: change(good, func(r *relayed) { r.inner.dst = "10.1.1.77" }), want: toPort(change(good, func(r *relayed) { r.inner.dst = "10.1.1.77" })), flow: blue},
		"another node's": {reason: "in place, with its origin", packet: toHost, origin: "198.51.100.3", want: originated(passed(toHost, "192.0.2.9"), "198.51.100.3"), flow: blue + " by node"},
		"another node's, of a node": {
			reason: "what comes from a node goes to none, and so not in circles", packet: fromOwn(toHost), want: toPort(toHost), flow: blue,
		},
		"another node's, TTL ends": {reason: "the router answers", packet: ended(toHost), want: toPort(ended(toHost)), flow: blue},
		"another node's, outer TTL ends": {
			reason: "it can't be passed on, and the port takes it", packet: change(toHost, func(r *relayed) { r.ttl = 1 }), want: toPort(toHost), flow: blue,
		},
		"another node's, UDP checksum": {
			reason: "nor with a checksum", packet: change(toHost, func(r *relayed) { r.checksum = 9 }), want: toPort(toHost), flow: blue,
		},
		"not here, no port": {
			reason: "a gateway gives it to OVN",
			packet: change(toGreen, func(r *relayed) { r.inner.dst = "10.4.1.4" }), origin: "198.51.100.3",
			want: originated(passed(change(toGreen, func(r *relayed) { r.inner.dst = "10.4.1.4" }), "192.0.2.8"), "198.51.100.3"), flow: greens + " by node",
		},
		"TTL ends, no port": {reason: "the router is behind a gateway", packet: ended(toGreen), want: passed(ended(toGreen), "192.0.2.8"), flow: greens + " by node"},
		"not here, no port, of a node": {
			reason: "it would go in circles", packet: fromOwn(change(toGreen, func(r *relayed) { r.inner.dst = "10.4.1.4" })), drop: "not_here",
		},
		"not here, no port, outer TTL ends": {
			reason: "what goes in circles all the same, ends",
			packet: change(toGreen, func(r *relayed) { r.inner.dst, r.ttl = "10.4.1.4", 1 }), drop: "ttl",
		},
		"not here, no port, UDP checksum": {
			reason: "it would be wrong with other addresses",
			packet: change(toGreen, func(r *relayed) { r.inner.dst, r.checksum = "10.4.1.4", 7 }), drop: "checksum",
		},
		"foreign source":           {reason: "the law is the gateways'", packet: change(good, func(r *relayed) { r.inner.src = "10.9.9.9" }), drop: "spoofed_source"},
		"foreign source of a node": {reason: "a node has not let that pass", packet: fromOwn(change(good, func(r *relayed) { r.inner.src = "10.9.9.9" })), drop: "spoofed_source"},
		"own source of a node":     {reason: "inside the cluster OVN carries packets", packet: fromOwn(change(good, func(r *relayed) { r.inner.src = "10.1.1.3" })), drop: "spoofed_source"},
		"encrypted source of a node": {
			reason: "what came encrypted is not sent on", packet: fromOwn(change(toGreen, func(r *relayed) { r.inner.src = "10.4.5.3" })), drop: "not_encrypted",
		},
		"not local of a node": {
			reason: "a Relay from this cluster lets its nodes send out",
			packet: change(good, func(r *relayed) { r.src, r.inner.src, r.inner.dst = "192.0.2.9", "10.1.1.9", "10.1.3.9" }), origin: "192.0.2.9",
			want: originated(passed(change(good, func(r *relayed) { r.inner.src, r.inner.dst = "10.1.1.9", "10.1.3.9" }), "203.0.113.1"), "192.0.2.9"),
			flow: "relay 100 east→south",
		},
		"not local of a node, no relay": {
			reason: "west is in no Relay from east",
			packet: change(good, func(r *relayed) { r.src, r.inner.src, r.inner.dst = "192.0.2.9", "10.1.1.9", "10.1.2.9" }), drop: "not_relayed",
		},
		"congestion of what can't say so": {
			reason: "RFC 6040 holds on the way into a pod too",
			packet: change(good, func(r *relayed) { r.inner.tos, r.tos = 0xb8, 0xbb }), drop: "congested",
		},
		"another node's, too big for the port": {
			reason: "nobody would be told there: the kernel's device does it, and here is none",
			packet: change(toHost, func(r *relayed) { r.inner.payload = make([]byte, 1481) }), drop: "too_big",
		},
		"super-packet without a header": {
			reason:  "it ends before the length of TCP's header: what its segments are like is not known",
			packet:  change(good, func(r *relayed) { r.inner.protocol, r.inner.payload = tcp, []byte{0, 1, 0, 2} }),
			context: skbContext{GSOSize: 1, GSOSegs: 2}, drop: "malformed",
		},
		"super-packet of UDP": {
			reason: "only the kernel's VXLAN device can deliver it", packet: good, context: skbContext{GSOSize: 7, GSOSegs: 2}, drop: "gso_not_tcp",
		},
		"super-packet of no kind": {
			reason:  "the kernel takes room only out of super-packets of TCP and UDP; TestDirect sends real ones",
			packet:  change(good, func(r *relayed) { r.inner.protocol, r.inner.payload = tcp, tcpSegment(80, 2000, make([]byte, 2000)) }),
			context: skbContext{GSOSize: 1000, GSOSegs: 2}, drop: "decapsulate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			packet := tc.packet.bytes(underlayMAC, someMAC)
			if tc.origin != "" {
				packet = originated(packet, tc.origin)
			}
			want := outcome{Verdict: dropped, Packet: packet}
			if tc.want != nil {
				size := len(tc.packet.inner.bytes())
				want = outcome{Verdict: redirect, Packet: tc.want, Flows: map[string]string{tc.flow: fmt.Sprintf("1/%d", size)}}
			} else {
				want.Drops = map[string]uint64{tc.drop: 1}
			}
			got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", packet, tc.context)
			if diff := diffOutcome(got, want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	t.Run("decrypted", func(t *testing.T) {
		cfg := directConfig()
		cfg.Underlay.Tunnel = "ul1"
		ns.IP(t, "link set ul1 address 02:00:00:00:00:01")
		ns.MustDo(t, func() error { return f.Set(cfg) })
		vault := change(toHost, func(r *relayed) { r.src, r.inner.src = "203.0.113.9", "10.1.5.3" })
		greenVault := change(toGreen, func(r *relayed) { r.src, r.inner.src, r.inner.dst = "203.0.113.9", "10.4.5.3", "10.4.1.4" })
		for reason, tc := range map[string]struct {
			packet relayed
			want   string
		}{
			"what came encrypted does not go on to a node in the clear; the port takes it": {vault, "shop/blue in shop/blue@vault"},
			"nor to a gateway": {greenVault, "drop not_here"},
		} {
			got := runStory(t, ns, f, f.programs.TomboloIn, "ul1", tc.packet.bytes(underlayMAC, someMAC), skbContext{})
			wantEffect(t, reason, got, tc.want)
		}
	})
	t.Run("no gateway of the cluster", func(t *testing.T) {
		cfg := directConfig()
		cfg.Own.Gateways = nil
		ns.MustDo(t, func() error { return f.Set(cfg) })
		packet := change(toGreen, func(r *relayed) { r.inner.dst = "10.4.1.4" }).bytes(underlayMAC, someMAC)
		got := runStory(t, ns, f, f.programs.TomboloIn, "ul0", packet, skbContext{})
		if diff := diffOutcome(got, outcome{Verdict: dropped, Packet: packet, Drops: map[string]uint64{"no_endpoint": 1}}); diff != "" {
			t.Errorf("there is nobody to pass it on to (-want +got):\n%s", diff)
		}
	})
}

// TestDirectHalfWritten has maps that name what other maps lack, as they may for an instant while Set changes them.
func TestDirectHalfWritten(t *testing.T) {
	ns, f := directGateway(t)
	in := relayed{src: "198.51.100.3", dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{tos: 1, ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.9", payload: udpDatagram(53, 1000, nil)}}
	here, green := in, in
	here.src, here.inner.dst = "192.0.2.8", "10.1.1.2"
	green.vni, green.inner.src, green.inner.dst = 400, "10.4.2.3", "10.4.1.4"
	out := ethernet(subnetMAC, podMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1, 2, nil)}.bytes())
	receive := func(r relayed) outcome {
		return runStory(t, ns, f, f.programs.TomboloIn, "ul0", r.bytes(underlayMAC, someMAC), skbContext{})
	}
	send := func() outcome { return runStory(t, ns, f, f.programs.TomboloPod, "pod0", out, skbContext{}) }
	for direction := range uint32(2) {
		for path := uint32(1); path < 3; path++ {
			err := f.maps[gatewayMapTomboloFlows].Delete(flowKey{clusterID("west"), 100, 100, direction, path}.encode())
			if err != nil && direction+path != 2 {
				t.Fatal(err)
			}
		}
	}
	for reason, got := range map[string]outcome{"sent": send(), "received": receive(here), "passed on": receive(in)} {
		if got.Verdict != redirect || len(got.Flows)+len(got.Drops) != 0 {
			t.Errorf("%s, without an entry that counts it: %+v, want it forwarded and not counted", reason, got)
		}
	}
	for _, cluster := range []string{"west", "east"} {
		if err := f.maps[gatewayMapTomboloClusters].Delete(encodeUint64(clusterID(cluster))); err != nil {
			t.Fatal(err)
		}
	}
	f.epoch.bump() // until then memos hold
	if diff := diffOutcome(send(), outcome{Verdict: next, Packet: out, Slow: map[string]uint64{"no_endpoint": 1}}); diff != "" {
		t.Errorf("to a cluster that is not in the map (-want +got):\n%s", diff)
	}
	wantEffect(t, "nobody says whether west is encrypted", receive(here), "drop not_encrypted")
	wantEffect(t, "nobody says who the gateways are", receive(green), "drop no_endpoint")
}
