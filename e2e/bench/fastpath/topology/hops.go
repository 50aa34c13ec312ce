// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/programs"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// Four hops, pods on nodes that are no gateways:
//
//	pa ──── na ════════ ga ════════ gb ════════ nb ──── pb
//	            node tunnel   between    node tunnel
//
// All nodes have one underlay interface, ul0, whose other end is a port of the switch.
const (
	nodeAddressA, nodeAddressB = "192.0.2.11", "192.0.2.12"

	// nodeTunnelPort is the one that Submariner has for its VXLAN inside a cluster.
	nodeTunnelPort = 4800
	switchHost     = "sw"
)

// nodeAddresses are all underlay addresses of a chain.
var nodeAddresses = []struct{ host, address string }{
	{"na", nodeAddressA}, {"ga", endpointA}, {"gb", endpointB}, {"nb", nodeAddressB},
}

// nodes makes pods, nodes and gateways, without what carries packets. The switch hands a frame to the interface that it is
// for at once, past all queues: it costs next to nothing, and all variants the same.
func (b *builder) nodes() {
	b.hosts("pa", "na", "ga", "gb", "nb", "pb", switchHost)
	var fabric programs.Switch
	for _, n := range nodeAddresses {
		at, port := end{n.host, "ul0"}, end{switchHost, "to-" + n.host}
		b.underlay(at, port)
		b.address(at, n.address+"/24")
		fabric = append(fabric, programs.SwitchPort{Ifindex: b.index(port), MAC: b.mac(at)})
	}
	for _, n := range nodeAddresses {
		for _, other := range nodeAddresses {
			if other != n {
				b.neighbour(end{n.host, "ul0"}, other.address, end{other.host, "ul0"})
			}
		}
	}
	b.try(func() error {
		return netns.Do(b.path.namespace(switchHost), func() error {
			attached, err := fabric.Attach()
			if err == nil {
				b.path.open = append(b.path.open, attached)
			}
			return err
		})
	})
	b.pods()
}

// Chains are the variants with four hops.
func Chains() []Variant {
	return []Variant{
		{"vxlan", "kernel VXLAN inside clusters and between them, as Submariner", buildKernelChain},
		{"tombolo", "the product: nodes send through their gateways", buildGatewayChain},
		{"tombolo-direct", "the product: nodes reach each other, and answers go from node to node", buildDirectChain},
	}
}

func buildKernelChain(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.nodes()
	for _, side := range []struct {
		pod, at         end
		address, router string
	}{
		{clientEnd, end{"na", "pod0"}, clientAddress, routerA},
		{serverEnd, end{"nb", "pod0"}, serverAddress, routerB},
	} {
		b.join(side.pod, side.at, PodMTU)
		b.link(side.pod, side.address+"/24", side.at, side.router+"/24")
		b.route(side.pod.host, "0.0.0.0/0", side.router, "eth0")
	}
	b.path.between = []string{"na", "ga", "gb", "nb"}
	b.tunnel(
		tunnelEnd{end{"na", "vx1"}, "240.0.1.2", nodeAddressA, subnetA},
		tunnelEnd{end{"ga", "vx1"}, "240.0.1.1", endpointA, subnetB}, 100, nodeTunnelPort)
	b.tunnel(
		tunnelEnd{end{"nb", "vx1"}, "240.0.2.2", nodeAddressB, subnetB},
		tunnelEnd{end{"gb", "vx1"}, "240.0.2.1", endpointB, subnetA}, 100, nodeTunnelPort)
	b.tunnel(
		tunnelEnd{end{"ga", "vx0"}, "241.0.0.1", endpointA, subnetA},
		tunnelEnd{end{"gb", "vx0"}, "241.0.0.2", endpointB, subnetB}, 1000, vxlanPort)
	return b.finish()
}

// spread are two clusters, each with a node and a gateway that has no pods.
var spread = [2]rack{
	{siteA, "na", "ga", "ra", clientEnd, clientAddress, routerA},
	{siteB, "nb", "gb", "rb", serverEnd, serverAddress, routerB},
}

func buildGatewayChain(ctx context.Context, name string) (*Path, error) {
	return buildProductChain(ctx, name, false)
}

func buildDirectChain(ctx context.Context, name string) (*Path, error) {
	return buildProductChain(ctx, name, true)
}

func buildProductChain(ctx context.Context, name string, direct bool) (*Path, error) {
	b := newBuilder(ctx, name)
	b.nodes()
	b.hosts("ra", "rb")
	nodeOf := map[string]string{"a": nodeAddressA, "b": nodeAddressB}
	var gateways []gateway
	for i, r := range spread {
		other := spread[1-i]
		b.rack(r, other)
		b.overlay(end{r.node, overlay}, nodeOf[r.cluster], r.endpoint)
		b.overlay(end{r.gate, overlay}, r.endpoint, nodeOf[r.cluster])
		senders := []string{other.endpoint}
		if direct {
			senders = append(senders, nodeOf[other.cluster])
		}

		gate := b.config(end{r.gate, "ul0"}, r.site, other.site, r.gatePort(), r.routerPort())
		gate.Clusters[0].Senders = senders
		gate.Own = own{
			Name: r.cluster, Nodes: []string{nodeOf[r.cluster]},
			Hosts: []host{{productVNI, r.address, nodeOf[r.cluster]}},
		}
		gate.Relays = []relay{{
			VNI: productVNI, From: r.cluster, Sources: []string{r.subnet}, To: other.cluster, Destinations: []string{other.subnet},
		}}

		node := b.config(end{r.node, "ul0"}, r.site, other.site, r.gatePort(), r.routerPort())
		node.Underlay.Address = nodeOf[r.cluster]
		node.Routers = nil
		port := &node.Ports[0]
		port.Interface, port.GatewayMAC, port.RouterMAC, port.Address = "", "", "", ""
		if !direct {
			node.Clusters[0].Endpoints = []string{r.endpoint}
		}
		node.Clusters[0].Senders = senders
		node.Pods = []pod{b.podOf(r)}
		node.Own = own{Name: r.cluster, Gateways: []string{r.endpoint}, Nodes: []string{r.endpoint}}
		gateways = append(gateways, gateway{r.gate, gate}, gateway{r.node, node})
	}
	if b.err != nil {
		return nil, fmt.Errorf("build path %s: %w", name, b.err)
	}
	b.path.Routers = 2
	b.product(gateways...)
	return b.finish()
}
