// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
)

// underlaysBits is the length of the prefix of all underlays.
const underlaysBits = 16

// Interconnect starts OVN's own interconnection beside Tombolo, for comparison: the clusters' underlays become one Ethernet, on
// which Open vSwitch sends Geneve from cluster to cluster.
func (l *Lab) Interconnect(ctx context.Context) (*ovn.Interconnection, error) {
	spokes := l.options.spokes()
	if len(spokes) != 2 {
		return nil, errors.New("interconnect the lab: want two spokes")
	}
	if err := joinUnderlays(l.options.fabric(), spokes[0], spokes[1]); err != nil {
		return nil, fmt.Errorf("join underlays: %w", err)
	}
	for _, c := range l.Spokes {
		for _, n := range c.Nodes {
			// Open vSwitch takes no route whose source address it can't tell by the prefix.
			if err := netns.AddAddr(n.OVS.NetNS, ovn.PhysicalBridge, netip.PrefixFrom(n.OVS.EncapIP.Addr(), underlaysBits)); err != nil {
				return nil, err
			}
		}
	}
	for i, c := range l.Spokes {
		for _, n := range c.Nodes {
			for _, peer := range l.Spokes[1-i].Nodes {
				if err := n.OVS.Warm(ctx, peer.OVS.EncapIP.Addr()); err != nil {
					return nil, err
				}
			}
		}
	}
	return ovn.StartInterconnection(ctx, ovn.InterconnectionOptions{Dir: l.Procs, StateDir: l.options.file("ic")})
}

// joinUnderlays lays a cable between two clusters' bridges.
func joinUnderlays(fabric string, a, b place) error {
	if err := netns.Veth(fabric, "ic-a", fabric, "ic-b", 0); err != nil {
		return err
	}
	return errors.Join(netns.SetMaster(fabric, "ic-a", a.underlay()), netns.SetMaster(fabric, "ic-b", b.underlay()))
}
