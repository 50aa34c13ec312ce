// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// largest gives options at every bound.
func largest() Options {
	o := Options{Dir: "/" + strings.Repeat("d", maxDirLen-1), Hub: "hub-1234", Prefix: "prefix-of-16-abc"}
	for i := range maxSpokes {
		o.Spokes = append(o.Spokes, SpokeOptions{Name: fmt.Sprintf("spoke-%02d", i), Nodes: maxNodes, Gateways: maxNodes})
	}
	return o
}

// maxInterfaceName is IFNAMSIZ less its ending zero, linux/if.h.
const maxInterfaceName = 15

func TestTheLargestLabHasRoom(t *testing.T) {
	o := largest()
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	unique := func(kind string, value any, owner string) {
		t.Helper()
		key := fmt.Sprint(kind, " ", value)
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s both have %s", owner, other, key)
		}
		seen[key] = owner
	}
	inside := func(network netip.Prefix, a netip.Addr, owner string) {
		t.Helper()
		if !network.Contains(a) || !network.Contains(a.Next()) || !network.Contains(a.Prev()) {
			t.Errorf("%s has %s, which is no host's address in %s", owner, a, network)
		}
	}
	for _, ns := range o.namespaces() {
		unique("namespace", ns, ns)
	}
	for _, p := range o.clusters() {
		unique("address", p.ip(), p.name)
		inside(mgmtNet, p.ip(), p.name)
		for i, r := range p.reserved() {
			for _, other := range p.reserved()[:i] {
				if r.Overlaps(other) {
					t.Errorf("reserved ranges %s and %s of %s overlap", r, other, p.name)
				}
			}
		}
		ports := []string{p.name + "-cp", p.underlay()}
		for _, s := range p.spots() {
			owner := s.netns()
			unique("address", s.mgmtIP().Addr(), owner)
			unique("address", s.underlayIP().Addr(), owner)
			unique("address", s.wanIP().Addr(), owner)
			inside(mgmtNet, s.mgmtIP().Addr(), owner)
			inside(p.underlayNet(), s.underlayIP().Addr(), owner)
			inside(wanNet, s.wanIP().Addr(), owner)
			if !podNet.Overlaps(s.podCIDR()) {
				t.Errorf("pods of %s have %s, which is not in %s", owner, s.podCIDR(), podNet)
			}
			ports = append(ports, s.port("m"), s.port("u"), s.port("w"))
		}
		for _, port := range ports {
			unique("port", port, p.name)
			if len(port) > maxInterfaceName {
				t.Errorf("port %q has %d bytes, the kernel takes %d", port, len(port), maxInterfaceName)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*Options)
		want   string
	}{
		"RelativeDir": {"other programs have other working directories", func(o *Options) { o.Dir = "lab" }, "must be absolute"},
		"LongDir":     {"sockets in it would have names the kernel refuses", func(o *Options) { o.Dir += "d" }, "at most"},
		"TooManySpokes": {"the address plan has 16 addresses of the wan for each",
			func(o *Options) { o.Spokes = append(o.Spokes, SpokeOptions{Name: "more"}) }, "more than"},
		"TooManyNodes": {"one more node would take the broadcast address or the next cluster's address on the wan",
			func(o *Options) { o.Spokes[0].Nodes = maxNodes + 1 }, "Nodes of spoke-00"},
		"MoreGatewaysThanNodes": {"a gateway is a node", func(o *Options) { o.Spokes[0].Nodes = 1 }, "Gateways of spoke-00"},
		"LongName":              {"interfaces have it in their names", func(o *Options) { o.Hub = "hub-12345" }, `"hub-12345"`},
		"UpperCase":             {"it becomes the name of a namespace", func(o *Options) { o.Hub = "Hub" }, `"Hub"`},
		"SameName":              {"a cluster is known by its name", func(o *Options) { o.Hub = "spoke-03" }, "given twice"},
		"ReservedName":          {"logs lie in the directory of that name", func(o *Options) { o.Hub = "log" }, "choose another"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := largest()
			tc.change(&o)
			if err := o.check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.want)
			}
		})
	}
}
