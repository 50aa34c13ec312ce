// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestDirect sends real packets between pods that send by themselves. Its parts run in order, on one topology.
func TestDirect(t *testing.T) {
	for name, switches := range map[string]bool{"bridge": false, "switch": true} {
		t.Run(name, func(t *testing.T) { testDirect(t, switches) })
	}
}

func testDirect(t *testing.T, switches bool) {
	x := newDirectWorld(t, switches)
	east := x.pod(t, x.east, x.east.a, "pe", "10.1.1.2")
	west := x.pod(t, x.west, x.west.a, "pw", "10.1.2.2")
	x.start(t)
	echo(t, west, "west")
	t.Run("one round trip, and nodes send to each other", func(t *testing.T) { x.testLearned(t, east) })
	t.Run("datagrams", func(t *testing.T) {
		conn := dialUDP(t, east, "10.1.2.2:7")
		for _, n := range []int{0, 1, 1400, 1422} {
			if got := ask(t, conn, strings.Repeat("x", n)); got != "west "+strings.Repeat("x", n) {
				t.Errorf("%d bytes: answer %.30q of %d bytes", n, got, len(got))
			}
		}
	})
	t.Run("TCP", func(t *testing.T) {
		before := x.east.a.by(t)
		t.Logf("TCP: %.0f Mbit/s", transfer(t, east, west, "10.1.2.2:80", 64<<20))
		if after := x.east.a.by(t); after["out pod"]-before["out pod"] < 64<<20/1500 {
			t.Errorf("it did not go by the pod's own way: %v, then %v", before, after)
		}
	})
	t.Run("BIG TCP", func(t *testing.T) {
		for _, pod := range []*linktest.Namespace{east, west} {
			bigTCP(t, pod, 150000)
			defer bigTCP(t, pod, 65536)
		}
		t.Logf("TCP: %.0f Mbit/s", transfer(t, east, west, "10.1.2.2:80", 64<<20))
	})
	t.Run("super-packets of UDP arrive whole", func(t *testing.T) { x.testSegments(t, east, west) })
	t.Run("a TTL that ends is answered by the router where it does", func(t *testing.T) { x.testTTL(t, east) })
	t.Run("the path's MTU is told", func(t *testing.T) { x.testMTU(t, east) })
	t.Run("inside the cluster OVN carries packets", func(t *testing.T) { x.testInside(t, east) })
	t.Run("odd frames are OVN's", func(t *testing.T) { x.testOdd(t, east) })
	t.Run("restart of the process", func(t *testing.T) { x.testRestart(t, east) })
	t.Run("a pod moves", func(t *testing.T) { x.testMove(t, east, west) })
}

// bigTCP sets how long a super-packet may be that the pod sends: ip knows the word since 6.3 only.
func bigTCP(t *testing.T, pod *linktest.Namespace, size int) {
	t.Helper()
	pod.MustDo(t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetGSOIPv4MaxSize(l, size)
	})
}

// ping sends n echo requests, which must be answered by a pod two routers away.
func ping(t *testing.T, from *linktest.Namespace, n int, to string) {
	t.Helper()
	out, err := from.Run("ping", "-c", fmt.Sprint(n), "-i", "0.02", "-W", "10", to)
	if err != nil || strings.Count(out, "ttl=62") != n {
		t.Errorf("ping %s: %v\n%s", to, err, out)
	}
}

// ping64 asks a pod of the same network, or a router.
func ping64(t *testing.T, from *linktest.Namespace, to string) {
	t.Helper()
	if out, err := from.Run("ping", "-c1", "-W10", to); err != nil || !strings.Contains(out, "ttl=64") {
		t.Errorf("ping %s: %v\n%s", to, err, out)
	}
}

// sinceThen is what the node has counted since before.
func (n *directNode) sinceThen(t *testing.T, before map[string]uint64) map[string]uint64 {
	t.Helper()
	return grown(before, n.by(t))
}

// during has what each node counts while f runs.
func (x *directWorld) during(t *testing.T, f func()) map[string]map[string]uint64 {
	t.Helper()
	before, counted := map[*directNode]map[string]uint64{}, map[string]map[string]uint64{}
	for _, n := range x.nodes() {
		before[n] = n.by(t)
	}
	f()
	for _, n := range x.nodes() {
		if d := n.sinceThen(t, before[n]); len(d) > 0 {
			counted[n.name] = d
		}
	}
	return counted
}

func (x *directWorld) testLearned(t *testing.T, east *linktest.Namespace) {
	first := x.during(t, func() { ping(t, east, 1, "10.1.2.2") })
	want := map[string]map[string]uint64{
		"east-a": {"out pod": 1, "in pod": 1}, "west-gateway": {"in node": 1}, "west-a": {"out pod": 1, "in pod": 1},
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("the first request knows the gateway only, and its answer knows the node (-want +got):\n%s", diff)
	}
	second := x.during(t, func() { ping(t, east, 20, "10.1.2.2") })
	want = map[string]map[string]uint64{"east-a": {"out pod": 20, "in pod": 20}, "west-a": {"out pod": 20, "in pod": 20}}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("then no gateway sees a packet (-want +got):\n%s", diff)
	}
}

func (x *directWorld) testSegments(t *testing.T, east, west *linktest.Namespace) {
	slow := counters(t, x.west.a.f).Slow["gso_not_tcp"]
	receiver := listenUDPOn(t, west, 9)
	if err := sendSegments(dialUDP(t, east, "10.1.2.2:9")); err != nil {
		t.Fatal(err)
	}
	if err := receiver.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for i := range 3 {
		n, _, err := receiver.ReadFrom(buf)
		if err != nil || n != 1000 {
			t.Fatalf("datagram %d: %d bytes (%v), %+v", i, n, err, counters(t, x.west.a.f))
		}
	}
	if after := counters(t, x.west.a.f).Slow["gso_not_tcp"]; after != slow+1 {
		t.Errorf("gso_not_tcp went from %d to %d, want one more: it came in pieces", slow, after)
	}
}

func (x *directWorld) testTTL(t *testing.T, east *linktest.Namespace) {
	for ttl, router := range map[string]string{"1": "10.1.1.1", "2": "169.254.0.9"} {
		out, _ := east.Run("ping", "-c1", "-W10", "-t", ttl, "10.1.2.2")
		if !strings.Contains(out, "From "+router+" icmp_seq=1 Time to live exceeded") {
			t.Errorf("TTL %s, want an answer of %s:\n%s", ttl, router, out)
		}
	}
	ping(t, east, 1, "10.1.2.2")
}

func (x *directWorld) testMTU(t *testing.T, east *linktest.Namespace) {
	defer east.IP(t, "route flush cache")
	out, err := east.Run("ping", "-c1", "-W10", "-Mdo", "-s1423", "10.1.2.2")
	if !strings.Contains(out, "From 169.254.0.2 icmp_seq=1 Frag needed and DF set (mtu = 1450)") {
		t.Errorf("1451 bytes: %v\n%s", err, out)
	}
	if out, err = east.Run("ping", "-c1", "-W10", "-Mdo", "-s1422", "10.1.2.2"); err != nil {
		t.Errorf("1450 bytes: %v\n%s", err, out)
	}
}

func (x *directWorld) testInside(t *testing.T, east *linktest.Namespace) {
	other := x.pod(t, x.east, x.east.b, "pi", "10.1.1.3")
	x.east.gateway.set(t)
	x.east.b.set(t)
	counted := x.during(t, func() {
		for _, to := range []string{"10.1.1.3", "10.1.1.1", "169.254.0.1"} {
			ping64(t, east, to)
		}
	})
	if len(counted) > 0 {
		t.Errorf("what stays in the cluster counts as %v", counted)
	}
	ping(t, other, 3, "10.1.2.2")
}

// testOdd sends what no router may be left out for: nobody counts it, and nobody is harmed.
func (x *directWorld) testOdd(t *testing.T, east *linktest.Namespace) {
	router, pod := []byte{0x0a, 0x58, 0x0a, 1, 0, 1}, []byte{0x0a, 0x58, 10, 1, 1, 2}
	good := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.2", payload: udpDatagram(1, 2, nil)}.bytes()
	counted := x.during(t, func() {
		for _, frame := range [][]byte{
			slices.Insert(ethernet(router, pod, 0x0800, good), 12, 0x81, 0, 0, 5),
			ethernet(router, pod, 0x0800, good[:4]),
			ethernet(router, pod, 0x86dd, good),
		} {
			east.MustDo(t, func() error { return sendFrame("eth0", frame) })
		}
	})
	if len(counted) > 0 {
		t.Errorf("odd frames count as %v", counted)
	}
	ping(t, east, 1, "10.1.2.2")
}

func (x *directWorld) testRestart(t *testing.T, east *linktest.Namespace) {
	a := x.east.a
	sent, lost := lostDuring(t, dialUDP(t, east, "10.1.2.2:7"), func() {
		for range 3 {
			for _, n := range []*directNode{a, x.west.a} {
				if err := n.f.Close(); err != nil {
					t.Error(err)
				}
				setInChild(t, n.ns, n.pins, n.cfg)
				n.f = openGateway(t, n.ns, n.pins, n.cfg)
			}
		}
	})
	if lost != 0 || sent < 100 {
		t.Errorf("%d of %d datagrams lost", lost, sent)
	}
	t.Logf("%d datagrams and their answers, %d lost", sent, lost)
}

// testMove starts the pod anew on another node. Until the east has learned that, it goes on sending to the old one.
func (x *directWorld) testMove(t *testing.T, east, west *linktest.Namespace) {
	ping(t, east, 1, "10.1.2.2")
	x.unplug(t, x.west, x.west.a, west, "pw")
	x.plug(t, x.west, x.west.b, west, "pw", "10.1.2.2")
	for _, n := range x.west.nodes() {
		n.set(t)
	}
	ping64(t, west, "10.1.2.1") // bridges learn where the pod is, as OVN knows it
	x.east.a.believe(t, "10.1.2.2", x.west.a.address)
	first := x.during(t, func() { ping(t, east, 1, "10.1.2.2") })
	if first["west-a"]["in node"] != 1 || first["west-gateway"]["in gateway"] != 1 || first["west-b"]["out pod"] != 1 {
		t.Errorf("the old node passes the packet to the gateway, which gives it to OVN, and the new one answers; they count %v", first)
	}
	second := x.during(t, func() { ping(t, east, 20, "10.1.2.2") })
	want := map[string]map[string]uint64{"east-a": {"out pod": 20, "in pod": 20}, "west-b": {"out pod": 20, "in pod": 20}}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("then it is known where the pod is (-want +got):\n%s", diff)
	}
}

// believe renews what the node has learned, as a busy machine may have taken longer than it is believed.
func (n *directNode) believe(t *testing.T, pod string, origin netip.Addr) {
	t.Helper()
	now, err := kernelClock()
	if err != nil {
		t.Fatal(err)
	}
	e := originEntry{pod: endpointKey{100, netip.MustParseAddr(pod)}, epoch: n.f.epoch.word.Load(), origin: origin, since: now}
	if err := n.f.maps[gatewayMapTomboloOrigins].Put(e.slot(), e.encode()); err != nil {
		t.Fatal(err)
	}
}

// TestDirectDeadNode takes a node off the network, whose pod then starts elsewhere. Nobody tells the east.
func TestDirectDeadNode(t *testing.T) {
	x := newDirectWorld(t, false)
	east := x.pod(t, x.east, x.east.a, "pe", "10.1.1.2")
	west := x.pod(t, x.west, x.west.a, "pw", "10.1.2.2")
	x.start(t)
	ping(t, east, 3, "10.1.2.2")
	x.west.a.ns.IP(t, "link set ul0 down")
	x.unplug(t, x.west, x.west.a, west, "pw")
	x.plug(t, x.west, x.west.b, west, "pw", "10.1.2.2")
	x.west.gateway.set(t)
	x.west.b.set(t)
	ping64(t, west, "10.1.2.1")
	start := time.Now()
	for {
		if out, err := east.Run("ping", "-c1", "-W0.2", "10.1.2.2"); err == nil {
			break
		} else if time.Since(start) > 30*time.Second {
			t.Fatalf("no answer 30 s after the node has died\n%s\n%+v", out, x.east.a.by(t))
		}
	}
	t.Logf("answered again %v after the node has died", time.Since(start).Round(time.Millisecond))
	second := x.during(t, func() { ping(t, east, 20, "10.1.2.2") })
	want := map[string]map[string]uint64{"east-a": {"out pod": 20, "in pod": 20}, "west-b": {"out pod": 20, "in pod": 20}}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("then it is known where the pod is (-want +got):\n%s", diff)
	}
}

// TestDirectOwnGateways has clusters whose nodes don't reach each other: what a node sends, its own gateway sends on, and the
// other cluster's passes it to the pod's node. All in place.
func TestDirectOwnGateways(t *testing.T) {
	x := newDirectWorld(t, false)
	east := x.pod(t, x.east, x.east.a, "pe", "10.1.1.2")
	west := x.pod(t, x.west, x.west.a, "pw", "10.1.2.2")
	for _, c := range [][2]*directCluster{{x.east, x.west}, {x.west, x.east}} {
		own, far := c[0], c[1]
		for _, n := range own.nodes() {
			cluster := &n.cfg.Clusters[0]
			cluster.Senders = nil
			if n != own.gateway {
				cluster.Endpoints = []netip.Addr{own.gateway.address}
			} else {
				n.cfg.Relays = []Relay{{VNI: 100, From: own.name, Sources: []netip.Prefix{own.subnet}, To: far.name, Destinations: []netip.Prefix{far.subnet}}}
			}
		}
	}
	x.start(t)
	counted := x.during(t, func() { ping(t, east, 20, "10.1.2.2") })
	want := map[string]map[string]uint64{
		"east-a": {"out pod": 20, "in pod": 20}, "east-gateway": {"in node": 20},
		"west-a": {"out pod": 20, "in pod": 20}, "west-gateway": {"in node": 20},
	}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, n := range []*directNode{x.east.gateway, x.west.gateway} {
		relays, err := n.f.RelayCounters()
		if err != nil || len(relays) != 1 || relays[0].Packets != 20 {
			t.Errorf("%s relays %+v (%v), want 20 packets", n.name, relays, err)
		}
	}
	t.Logf("TCP: %.0f Mbit/s", transfer(t, east, west, "10.1.2.2:80", 32<<20))
}

// unplug takes the pod off the node: its interfaces are gone, as when it has ended.
func (x *directWorld) unplug(t *testing.T, c *directCluster, n *directNode, pod *linktest.Namespace, name string) {
	t.Helper()
	pod.IP(t, "link del eth0")
	if x.switches {
		n.ns.IP(t, "link del s-"+name)
	}
	var address netip.Addr
	n.cfg.Pods = slices.DeleteFunc(n.cfg.Pods, func(p Pod) bool {
		if p.Interface != name {
			return false
		}
		address = p.Address
		return true
	})
	hosts := &c.gateway.cfg.Own.Hosts
	*hosts = slices.DeleteFunc(*hosts, func(h Host) bool { return h.Address == address })
}

// coverDirect is testDirect with the twins.
func coverDirect(t *testing.T) { testDirect(t, true) }
