// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

var gatewayPort = Pair{GatewayEnd: "tbg100", OVSEnd: "tbo100", MAC: "0a:58:a9:fe:00:02", MTU: 1400}

// wantOff are the lines of `ethtool -k` that OVS's userspace datapath lives on.
func wantOff(t *testing.T, ns *linktest.Namespace, ifname string, features ...string) {
	t.Helper()
	out, err := ns.Run("ethtool", "-k", ifname)
	if err != nil {
		t.Fatalf("ethtool: %v\n%s", err, out)
	}
	for _, feature := range features {
		if !strings.Contains(out, feature+": off") {
			t.Errorf("%s: %s is not off:\n%s", ifname, feature, out)
		}
	}
}

func TestEnsure(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		before func(t *testing.T, ns *linktest.Namespace)
		// sameIndex: the pair that is there stays.
		sameIndex bool
	}{
		"nothing there": {reason: "the first time"},
		"all there": {
			reason: "an agent that restarts keeps the pair, the programs on it and the OVS port",
			before: func(t *testing.T, ns *linktest.Namespace) {
				ns.MustDo(t, func() error { return Ensure(gatewayPort) })
			},
			sameIndex: true,
		},
		"spoilt": {
			reason: "what somebody changed is put right, in place",
			before: func(t *testing.T, ns *linktest.Namespace) {
				ns.MustDo(t, func() error { return Ensure(gatewayPort) })
				ns.IP(t, "link set tbg100 down address 02:00:00:00:00:01 mtu 1500")
				ns.IP(t, "link set tbo100 down arp on mtu 1300")
				if out, err := ns.Run("ethtool", "-K", "tbg100", "tx", "on", "gso", "on"); err != nil {
					t.Fatal(err, out)
				}
			},
			sameIndex: true,
		},
		"half a pair": {
			reason: "an end that leads elsewhere is no end of ours",
			before: func(t *testing.T, ns *linktest.Namespace) {
				ns.IP(t, "link add tbg100 type veth peer name other0")
			},
		},
		"two halves": {
			reason: "both names, of two pairs",
			before: func(t *testing.T, ns *linktest.Namespace) {
				ns.IP(t, "link add tbg100 type veth peer name other0")
				ns.IP(t, "link add tbo100 type veth peer name other1")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := linktest.New(t, "pair")
			if tc.before != nil {
				tc.before(t, ns)
			}
			index := func() string { return ns.IP(t, "-o link show type veth") }
			before := index()
			ns.MustDo(t, func() error { return Ensure(gatewayPort) })
			if id := func(s string) string { return strings.Split(s, ":")[0] }; tc.sameIndex && id(before) != id(index()) {
				t.Errorf("%s: the pair was replaced:\n%s%s", tc.reason, before, index())
			}
			gw, ovs := ns.IP(t, "-d link show tbg100"), ns.IP(t, "-d link show tbo100")
			for _, want := range []string{"mtu 1400", "0a:58:a9:fe:00:02", "NOARP", "state UP", "addrgenmode none"} {
				if !strings.Contains(gw, want) {
					t.Errorf("%s: gateway end lacks %q:\n%s", tc.reason, want, gw)
				}
			}
			for _, want := range []string{"mtu 1400", "NOARP", "state UP", "addrgenmode none"} {
				if !strings.Contains(ovs, want) {
					t.Errorf("%s: OVS end lacks %q:\n%s", tc.reason, want, ovs)
				}
			}
			if out := ns.IP(t, "-o addr show dev tbg100"); out != "" {
				t.Errorf("%s: the gateway end has an address: %s", tc.reason, out)
			}
			wantOff(t, ns, "tbg100", "tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload", "tx-udp-segmentation")
			wantOff(t, ns, "tbo100", "tx-checksumming", "generic-receive-offload")
		})
	}
}

func TestEnsureRefuses(t *testing.T) {
	ns := linktest.New(t, "refuse")
	ns.IP(t, "link add tbd0 type bridge")
	change := func(f func(*Pair)) Pair {
		p := gatewayPort
		f(&p)
		return p
	}
	for name, tc := range map[string]struct {
		reason string
		pair   Pair
		want   string
	}{
		"foreign interface": {
			reason: "an interface that is no veth is somebody's: it is not replaced",
			pair:   change(func(p *Pair) { p.GatewayEnd = "tbd0" }),
			want:   "delete interface tbd0: it is a bridge and no veth",
		},
		"long name": {
			reason: "the kernel has 15 characters",
			pair:   change(func(p *Pair) { p.OVSEnd = "tbo1234567890123" }),
			want:   `OVS end: interface name "tbo1234567890123": use 1 to 15 characters`,
		},
		"no MAC":        {reason: "the router's static neighbour is this MAC", pair: change(func(p *Pair) { p.MAC = "" }), want: "MAC"},
		"multicast MAC": {reason: "the kernel refuses it", pair: change(func(p *Pair) { p.MAC = "01:00:5e:00:00:01" }), want: "use a unicast address"},
		"no MTU":        {reason: "a forgotten field", pair: change(func(p *Pair) { p.MTU = 0 }), want: "MTU 0: use 68"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := ns.Do(func() error { return Ensure(tc.pair) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestRemoveAndList(t *testing.T) {
	ns := linktest.New(t, "list")
	ns.IP(t, "link add other0 type bridge")
	ns.MustDo(t, func() error {
		for _, vni := range []string{"200", "100"} {
			p := gatewayPort
			p.GatewayEnd, p.OVSEnd = "tbg"+vni, "tbo"+vni
			if err := Ensure(p); err != nil {
				return err
			}
		}
		names, err := List("tbg")
		if diff := cmp.Diff([]string{"tbg100", "tbg200"}, names); diff != "" {
			t.Errorf("List is sorted and of the prefix (-want +got):\n%s", diff)
		}
		if err != nil {
			return err
		}
		for range 2 { // the second time there is nothing to remove
			if err := Remove("tbg100"); err != nil {
				return err
			}
		}
		if err := Remove("other0"); err == nil {
			t.Error("Remove deletes a bridge, which is not ours")
		}
		names, err = List("tb")
		if diff := cmp.Diff([]string{"tbg200", "tbo200"}, names); diff != "" {
			t.Errorf("after Remove of one end neither is left (-want +got):\n%s", diff)
		}
		return err
	})
}

func TestUnderlay(t *testing.T) {
	ns := linktest.New(t, "under")
	for _, name := range []string{"eth0", "eth1", "eth2"} {
		ns.IP(t, "link add "+name+" type bridge")
		ns.IP(t, "link set "+name+" up")
	}
	ns.IP(t, "link set eth1 mtu 9000")
	ns.IP(t, "addr add 192.0.2.1/24 dev eth0")
	ns.IP(t, "addr add 192.0.2.2/24 dev eth0")
	ns.IP(t, "addr add 169.254.9.9/16 dev eth1 scope link")
	ns.IP(t, "addr add 198.51.100.1/24 dev eth1")

	type underlay struct {
		Name    string
		Address string
		MTU     int
	}
	for _, step := range []struct {
		reason string
		route  string
		name   string
		want   underlay
		err    string
	}{
		{reason: "a name is taken as it is, with its first address", name: "eth0", want: underlay{"eth0", "192.0.2.1", 1500}},
		{reason: "an address of link scope reaches no other cluster", name: "eth1", want: underlay{"eth1", "198.51.100.1", 9000}},
		{reason: "an interface without an address", name: "eth2", err: "eth2 has no IPv4 address of global scope; give it one"},
		{reason: "no such interface", name: "eth9", err: `find underlay "eth9": Link not found`},
		{reason: "no name and no route", err: "no default route; name the interface"},
		{reason: "the only default route", route: "default via 192.0.2.254 metric 100", want: underlay{"eth0", "192.0.2.1", 1500}},
		{reason: "the lower metric wins", route: "default via 198.51.100.254 metric 50", want: underlay{"eth1", "198.51.100.1", 9000}},
		{reason: "a route's own source wins over the first address", route: "default via 192.0.2.254 metric 10 src 192.0.2.2", want: underlay{"eth0", "192.0.2.2", 1500}},
	} {
		if step.route != "" {
			ns.IP(t, "route add "+step.route)
		}
		var got underlay
		var address netip.Addr
		err := ns.Do(func() (err error) {
			got.Name, address, got.MTU, err = Underlay(step.name)
			return err
		})
		if step.err != "" {
			if err == nil || !strings.Contains(err.Error(), step.err) {
				t.Errorf("%s: error %v, want %q", step.reason, err, step.err)
			}
			continue
		}
		got.Address = address.String()
		if diff := cmp.Diff(step.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", step.reason, err, diff)
		}
	}
}
