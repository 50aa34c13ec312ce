// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// What a node of the product has besides its underlay:
//
//	pa ──── pod0 ┐
//	             br0 ──── sw0 ──── ra ──── tbg0
//	  overlay vx1 ┘                        gateways only
//
// br0, the overlay between nodes and the router ra stand for Open vSwitch's kernel datapath, Geneve and OVN's router: all
// that the direct path leaves goes there.
const (
	bridge  = "br0"
	overlay = "vx1"
)

// rack is one cluster of the product's: where its pod is and where its gateway.
type rack struct {
	site
	// node has the pod, gate the gateway port, and router is a namespace of its own.
	node, gate, router string
	// pod is the pod's end, and address its address.
	pod     end
	address string
	// subnetRouter is the router's address in the pod's subnet.
	subnetRouter string
}

// nodes are node and gate, which may be the same.
func (r rack) nodes() []string { return slices.Compact([]string{r.node, r.gate}) }

func (r rack) podEnd() end     { return end{r.node, "pod0"} }
func (r rack) gatePort() end   { return end{r.gate, "tbg0"} }
func (r rack) routerPort() end { return end{r.router, "tbo0"} }
func (r rack) routerLeg() end  { return end{r.router, "eth0"} }

// racks are two clusters, each with one node that is the gateway too.
var racks = [2]rack{
	{siteA, "ga", "ga", "ra", clientEnd, clientAddress, routerA},
	{siteB, "gb", "gb", "rb", serverEnd, serverAddress, routerB},
}

// rack makes a cluster, whose hosts are there already, with the way of all that its programs leave.
func (b *builder) rack(r, other rack) {
	for _, host := range r.nodes() {
		b.try(func() error { return netns.Bridge(b.path.namespace(host), bridge) })
	}
	b.join(r.pod, r.podEnd(), PodMTU)
	b.plug(r.podEnd())
	b.join(r.routerLeg(), end{r.gate, "sw0"}, UnderlayMTU)
	b.plug(end{r.gate, "sw0"})
	b.join(r.routerPort(), r.gatePort(), UnderlayMTU)

	b.address(r.pod, r.address+"/24")
	b.address(r.routerLeg(), r.subnetRouter+"/24")
	b.neighbour(r.pod, r.subnetRouter, r.routerLeg())
	b.neighbour(r.routerLeg(), r.address, r.pod)
	b.route(r.pod.host, "0.0.0.0/0", r.subnetRouter, r.pod.name)
	b.address(r.routerPort(), r.router4()+"/29")
	b.neighbour(r.routerPort(), r.gateway, r.gatePort())
	for _, prefix := range []string{other.subnet, other.link} {
		b.route(r.router, prefix, r.gateway, r.routerPort().name)
	}
	b.path.between = append(append(b.path.between, r.nodes()...), r.router)
}

// router4 is the router's address on the link; router, of the embedded site, is hidden by its namespace.
func (r rack) router4() string { return r.site.router }

// plug makes an interface a port of its host's bridge.
func (b *builder) plug(e end) {
	b.try(func() error { return netns.SetMaster(b.path.namespace(e.host), e.name, bridge) })
}

// overlay makes the bridge's port to another node: VXLAN, on a UDP port that is not the product's.
func (b *builder) overlay(at end, local, remote string) {
	under := b.index(end{at.host, "ul0"})
	b.try(func() error {
		return b.path.in(at.host, func(h *netlink.Handle) error {
			device := &netlink.Vxlan{
				LinkAttrs: netlink.LinkAttrs{Name: at.name, MTU: PodMTU}, VtepDevIndex: under,
				VxlanId: productVNI, Port: nodeTunnelPort, SrcAddr: net.ParseIP(local), Group: net.ParseIP(remote),
			}
			if err := h.LinkAdd(device); err != nil {
				return fmt.Errorf("add overlay of %s: %w", at.host, err)
			}
			return h.LinkSetUp(device)
		})
	})
	b.plug(at)
}

// podOf is the pod of r, as its node knows it.
func (b *builder) podOf(r rack) pod {
	return pod{
		Interface: r.podEnd().name, VNI: productVNI, Address: r.address,
		MAC: b.mac(r.pod).String(), RouterMAC: b.mac(r.routerLeg()).String(),
	}
}

func buildTombolo(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.hosts("pa", "ga", "ra", "gb", "rb", "pb")
	b.underlay(underA, underB)
	b.link(underA, endpointA+"/24", underB, endpointB+"/24")
	var gateways []gateway
	for i, r := range racks {
		b.rack(r, racks[1-i])
		// No other node is there, but the overlay's port is, which makes the bridge ask its pods for room in front of packets.
		b.overlay(end{r.gate, overlay}, r.endpoint, nodeAddressA)
		cfg := b.config(end{r.gate, "ul0"}, r.site, racks[1-i].site, r.gatePort(), r.routerPort())
		cfg.Pods, cfg.Own.Name = []pod{b.podOf(r)}, r.cluster
		gateways = append(gateways, gateway{r.gate, cfg})
	}
	b.pods()
	b.path.podLink = []end{racks[0].pod, racks[0].podEnd()}
	b.path.Routers = 2
	b.product(gateways...)
	return b.finish()
}
