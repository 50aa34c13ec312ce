// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
)

// underlayIf is a node's interface to the other nodes of its cluster.
const underlayIf = "under0"

// mgmtIf is a control plane's interface; nodes have node.ManagementIf.
const mgmtIf = "mgmt0"

// layFabric makes all namespaces, bridges and cables.
func layFabric(o Options) error {
	for _, ns := range o.namespaces() {
		if err := netns.Create(ns); err != nil {
			return err
		}
	}
	bridges := []string{mgmtBridge, wanBridge}
	for _, p := range o.spokes() {
		if p.ovn() {
			bridges = append(bridges, p.underlay())
		}
	}
	for _, b := range bridges {
		if err := netns.Bridge(o.fabric(), b); err != nil {
			return err
		}
	}
	for _, p := range o.clusters() {
		if err := plug(o, p.name+"-cp", mgmtBridge, p.netns(), mgmtIf); err != nil {
			return err
		}
		if err := netns.AddAddr(p.netns(), mgmtIf, netip.PrefixFrom(p.ip(), mgmtNet.Bits())); err != nil {
			return err
		}
		for _, s := range p.spots() {
			if err := plugNode(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// plugNode gives a node its interfaces; who uses them gives the addresses.
func plugNode(s spot) error {
	type cable struct{ kind, bridge, dev string }
	cables := []cable{{"m", mgmtBridge, node.ManagementIf}}
	if s.ovn() {
		cables = append(cables, cable{"u", s.underlay(), underlayIf}, cable{"w", wanBridge, node.WANIf})
	}
	for _, cable := range cables {
		if err := plug(s.o, s.port(cable.kind), cable.bridge, s.netns(), cable.dev); err != nil {
			return err
		}
	}
	return nil
}

// plug lays a cable from a port of a bridge of the fabric to an interface.
func plug(o Options, port, bridge, ns, dev string) error {
	if err := netns.Veth(o.fabric(), port, ns, dev, 0); err != nil {
		return err
	}
	return netns.SetMaster(o.fabric(), port, bridge)
}
