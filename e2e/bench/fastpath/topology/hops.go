// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// Four hops, pods on nodes that are no gateways:
//
//	pa ──── na ════════ ga ════════ gb ════════ nb ──── pb
//	            node tunnel   between    node tunnel
//
// nodeEnd is the node's end of the wire to its gateway, insideEnd the gateway's.
var (
	nodeA, nodeB     = end{"na", "eth0"}, end{"nb", "eth0"}
	insideA, insideB = end{"ga", "in0"}, end{"gb", "in0"}
)

const (
	nodeAddressA, insideAddressA = "198.18.1.2", "198.18.1.1"
	nodeAddressB, insideAddressB = "198.18.2.2", "198.18.2.1"

	// nodeTunnelPort is the one that Submariner has for its VXLAN inside a cluster.
	nodeTunnelPort = 4800
)

// nodes makes pods, nodes and gateways, without what carries packets.
func (b *builder) nodes() {
	b.hosts("pa", "na", "ga", "gb", "nb", "pb")
	for _, side := range []struct {
		pod, node, inside                end
		address, router, nodeIP, insider string
	}{
		{clientEnd, nodeA, insideA, clientAddress, routerA, nodeAddressA, insideAddressA},
		{serverEnd, nodeB, insideB, serverAddress, routerB, nodeAddressB, insideAddressB},
	} {
		at := end{side.node.host, "pod0"}
		b.join(side.pod, at, PodMTU)
		b.link(side.pod, side.address+"/24", at, side.router+"/24")
		b.route(side.pod.host, "0.0.0.0/0", side.router, "eth0")
		b.underlay(side.node, side.inside)
		b.link(side.node, side.nodeIP+"/24", side.inside, side.insider+"/24")
	}
	b.underlay(underA, underB)
	b.link(underA, endpointA+"/24", underB, endpointB+"/24")
	b.pods()
	b.path.between = []string{"na", "ga", "gb", "nb"}
}

// The ends of the tunnels between node and gateway.
var (
	nodeTunnelA, gatewayTunnelA = tunnelEnd{end{"na", "vx1"}, "240.0.1.2", nodeAddressA, subnetA},
		tunnelEnd{end{"ga", "vx1"}, "240.0.1.1", insideAddressA, subnetB}
	nodeTunnelB, gatewayTunnelB = tunnelEnd{end{"nb", "vx1"}, "240.0.2.2", nodeAddressB, subnetB},
		tunnelEnd{end{"gb", "vx1"}, "240.0.2.1", insideAddressB, subnetA}
)

// Chains are the variants with four hops.
func Chains() []Variant {
	return []Variant{
		{"vxlan", "kernel VXLAN inside clusters and between them, as Submariner", buildKernelChain},
		{"tombolo", "kernel VXLAN inside clusters, where OVN's Geneve would be, and the product between them", buildProductChain},
	}
}

func buildKernelChain(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.nodes()
	b.tunnel(nodeTunnelA, gatewayTunnelA, 100, nodeTunnelPort)
	b.tunnel(nodeTunnelB, gatewayTunnelB, 100, nodeTunnelPort)
	a := tunnelEnd{end{"ga", "vx0"}, "241.0.0.1", endpointA, subnetA}
	z := tunnelEnd{end{"gb", "vx0"}, "241.0.0.2", endpointB, subnetB}
	b.tunnel(a, z, 1000, vxlanPort)
	return b.finish()
}

// buildProductChain has the Vpc's router of each gateway, OVN's in the product, in a namespace of its own: the node's
// tunnel ends there, and the gateway port begins.
func buildProductChain(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.nodes()
	b.hosts("ra", "rb")
	b.path.between = append(b.path.between, "ra", "rb")
	portA := b.router("ra", nodeTunnelA, gatewayTunnelA, subnetB)
	portB := b.router("rb", nodeTunnelB, gatewayTunnelB, subnetA)
	b.product(
		gateway{"ga", b.config(underA, siteA, siteB, portA, end{"ra", "tbo0"})},
		gateway{"gb", b.config(underB, siteB, siteA, portB, end{"rb", "tbo0"})},
	)
	return b.finish()
}

// router makes a namespace with the gateway's end of the node tunnel, whose packets travel in the gateway's namespace,
// and with the other end of the gateway port, which it returns.
func (b *builder) router(host string, node, gateway tunnelEnd, beyond string) end {
	const link = "169.254.0."
	tbg, tbo := end{gateway.host, "tbg0"}, end{host, "tbo0"}
	b.join(tbg, tbo, PodMTU)
	b.address(tbo, link+"1/29")
	b.neighbour(tbo, link+"2", tbg)
	b.route(host, beyond, link+"2", tbo.name)
	for _, e := range []tunnelEnd{node, gateway} {
		b.vxlanDevice(e.end, 100, nodeTunnelPort, e.endpoint)
	}
	inside := gateway
	inside.host = host
	b.move(gateway.end, host)
	b.address(node.end, node.address+"/8")
	b.address(inside.end, inside.address+"/8")
	b.reach(node, inside)
	b.reach(inside, node)
	return tbg
}

// move takes a device to another host; its tunnel stays where it was made.
func (b *builder) move(e end, host string) {
	b.try(func() error {
		target, err := os.Open(netns.Path(b.path.namespace(host)))
		if err != nil {
			return err
		}
		defer target.Close()
		err = b.path.in(e.host, func(h *netlink.Handle) error {
			l, err := h.LinkByName(e.name)
			if err != nil {
				return err
			}
			return h.LinkSetNsFd(l, int(target.Fd()))
		})
		if err != nil {
			return fmt.Errorf("move %s to %s: %w", e.name, host, err)
		}
		return netns.LinkUp(b.path.namespace(host), e.name)
	})
}
