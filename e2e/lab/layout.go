// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
)

// The lab's networks. Each is a bridge in the fabric's namespace.
//
//	mgmt        all control planes and nodes: Kubernetes' own traffic. The hub's nodes have no other
//	u-<cluster> the nodes of one cluster: Geneve
//	wan         the nodes of all clusters: traffic between clusters
const (
	mgmtBridge = "mgmt"
	wanBridge  = "wan"
)

// Address plan. Cluster i (the hub is 1) and node n (from 1) have 10.90.i.1 and
// 10.90.i.(10+n) on mgmt, 10.91.i.(10+n) on the underlay, 100.64.0.(16i+n) on wan.
var (
	mgmtNet    = netip.MustParsePrefix("10.90.0.0/16")
	wanNet     = netip.MustParsePrefix("100.64.0.0/24")
	serviceNet = netip.MustParsePrefix("10.96.0.0/16")
	podNet     = netip.MustParsePrefix("10.244.0.0/16") // pods outside of any Vpc, the same range in each cluster
)

// place is where a cluster is, a pure function of the options.
type place struct {
	o     Options
	index int // 1 is the hub
	name  string
	nodes int
	gates int
}

// hub has a node for Tombolo's own pods.
func (o Options) hub() place {
	p := place{o: o, index: 1, name: o.Hub}
	if o.Tombolo {
		p.nodes = 1
	}
	return p
}

// ovn tells whether the cluster has OVN, and gateways to the others: the hub has not.
func (p place) ovn() bool { return p.index > 1 && p.nodes > 0 }

func (o Options) spokes() []place {
	var all []place
	for i, s := range o.Spokes {
		gates := s.Gateways
		if gates == 0 {
			gates = 1
		}
		all = append(all, place{o: o, index: i + 2, name: s.Name, nodes: s.Nodes, gates: gates})
	}
	return all
}

func (o Options) clusters() []place { return append([]place{o.hub()}, o.spokes()...) }

func (o Options) fabric() string          { return o.prefix() + "-fabric" }
func (o Options) file(name string) string { return filepath.Join(o.Dir, name) }
func (p place) netns() string             { return p.o.prefix() + "-" + p.name + "-cp" }
func (p place) dir() string               { return p.o.file(p.name) }
func (p place) kubeconfig() string        { return p.o.file(p.name + ".kubeconfig") }
func (p place) underlay() string          { return "u-" + p.name }
func (p place) ip() netip.Addr            { return netip.AddrFrom4([4]byte{10, 90, byte(p.index), 1}) }
func (p place) underlayNet() netip.Prefix { return p.prefix(91, 24, 0) }
func (p place) node(n int) spot           { return spot{place: p, n: n, name: fmt.Sprintf("n%d", n)} }
func (p place) prefix(second byte, bits int, last byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, second, byte(p.index), last}), bits)
}

// reserved are the ranges of the cluster itself, which no Vpc there may use.
func (p place) reserved() []netip.Prefix {
	return []netip.Prefix{podNet, serviceNet, mgmtNet, p.underlayNet(), wanNet}
}

// spot is where a node is.
type spot struct {
	place
	n    int
	name string
}

func (s spot) netns() string            { return s.o.prefix() + "-" + s.place.name + "-" + s.name }
func (s spot) dir() string              { return filepath.Join(s.place.dir(), s.name) }
func (s spot) gateway() bool            { return s.n <= s.gates }
func (s spot) mgmtIP() netip.Prefix     { return s.prefix(90, mgmtNet.Bits(), 10+byte(s.n)) }
func (s spot) underlayIP() netip.Prefix { return s.prefix(91, 24, 10+byte(s.n)) }
func (s spot) podCIDR() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(s.n), 0}), 24)
}
func (s spot) wanIP() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, byte(16*s.index + s.n)}), wanNet.Bits())
}

// port is the name of the fabric's end of a node's interface; kind is m, u or w.
func (s spot) port(kind string) string { return s.place.name + "-" + s.name + "-" + kind }

func (p place) spots() []spot {
	var all []spot
	for n := range p.nodes {
		all = append(all, p.node(n+1))
	}
	return all
}

// namespaces are all network namespaces of the lab, the fabric's first.
func (o Options) namespaces() []string {
	all := []string{o.fabric()}
	for _, p := range o.clusters() {
		all = append(all, p.netns())
		for _, s := range p.spots() {
			all = append(all, s.netns())
		}
	}
	return all
}

// files are all entries of Dir that the lab makes.
func (o Options) files() []string {
	all := append([]string{stateFile}, reservedNames...)
	for _, p := range o.clusters() {
		all = append(all, p.name, filepath.Base(p.kubeconfig()))
	}
	return all
}
