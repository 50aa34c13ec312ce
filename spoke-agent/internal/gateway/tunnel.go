// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/netip"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// Tunnel is what encrypts.
type Tunnel struct {
	// Config is all but the private key, which is none of a plan's business.
	wireguard.Config
	// Approved is the public half of this node's key as the other clusters know it; zero when the hub has approved none.
	Approved wireguard.PublicKey
}

func newTunnel(in Inputs, vxlan uint16, endpoint spokev1alpha1.GatewayEndpoint) *Tunnel {
	approved, _ := wireguard.ParsePublicKey(string(endpoint.PublicKey)) // none is the zero key
	return &Tunnel{
		Config:   wireguard.Config{Interface: naming.Tunnel, MTU: in.UnderlayMTU - wireguard.Overhead, ListenPort: in.WireGuardPort, GuardedPort: vxlan},
		Approved: approved,
	}
}

// peers adds the gateways of a cluster, and returns those that are peers.
func (t *Tunnel) peers(endpoints []spokev1alpha1.GatewayEndpoint) []spokev1alpha1.GatewayEndpoint {
	return slices.DeleteFunc(slices.Clone(endpoints), func(e spokev1alpha1.GatewayEndpoint) bool {
		address, err := netip.ParseAddr(e.Address)
		return err != nil || !t.add(address, e)
	})
}

// add adds a gateway, and says whether it has a key of its own and so is a peer.
func (t *Tunnel) add(address netip.Addr, e spokev1alpha1.GatewayEndpoint) bool {
	t.Guarded = append(t.Guarded, address)
	key, err := wireguard.ParsePublicKey(string(e.PublicKey))
	if err != nil || e.WireGuardPort < 1 || e.WireGuardPort > 65535 || key == t.Approved ||
		slices.ContainsFunc(t.Peers, func(p wireguard.Peer) bool { return p.Key == key || p.Address == address }) {
		return false
	}
	t.Peers = append(t.Peers, wireguard.Peer{Key: key, Address: address, Port: uint16(e.WireGuardPort)})
	return true
}
