// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names and addresses that every path with two gateways has:
//
//	pa ──────────── ga ──────────── gb ──────────── pb
//	10.77.1.2  10.77.1.1            10.77.2.1  10.77.2.2
//	eth0       pod0 ul0 192.0.2.1   192.0.2.2 ul0 pod0   eth0
var (
	clientEnd, serverEnd = end{"pa", "eth0"}, end{"pb", "eth0"}
	podA, podB           = end{"ga", "pod0"}, end{"gb", "pod0"}
	underA, underB       = end{"ga", "ul0"}, end{"gb", "ul0"}
)

const (
	clientAddress, serverAddress = "10.77.1.2", "10.77.2.2"
	routerA, routerB             = "10.77.1.1", "10.77.2.1"
	endpointA, endpointB         = "192.0.2.1", "192.0.2.2"
	subnetA, subnetB             = "10.77.1.0/24", "10.77.2.0/24"
)

func buildVeth(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.hosts("pa", "pb")
	b.join(clientEnd, serverEnd, PodMTU)
	b.link(clientEnd, clientAddress+"/16", serverEnd, serverAddress+"/16")
	b.pods()
	return b.finish()
}

// pods tells the path who its pods are.
func (b *builder) pods() {
	p := b.path
	p.Client = Pod{p.namespace("pa"), "eth0", netip.MustParseAddr(clientAddress)}
	p.Server = Pod{p.namespace("pb"), "eth0", netip.MustParseAddr(serverAddress)}
}

// gateways makes two pods and two gateways that know their own pod and each other.
func (b *builder) gateways() {
	b.hosts("pa", "ga", "gb", "pb")
	b.join(clientEnd, podA, PodMTU)
	b.underlay(underA, underB)
	b.join(podB, serverEnd, PodMTU)
	b.link(underA, endpointA+"/24", underB, endpointB+"/24")
	b.address(clientEnd, clientAddress+"/24")
	b.address(serverEnd, serverAddress+"/24")
	b.neighbour(clientEnd, routerA, podA)
	b.neighbour(serverEnd, routerB, podB)
	b.route("pa", "0.0.0.0/0", routerA, "eth0")
	b.route("pb", "0.0.0.0/0", routerB, "eth0")
	b.pods()
	b.path.between = []string{"ga", "gb"}
	b.path.podLink = []end{clientEnd, podA}
}

// routers makes the gateways routers of their pods' subnets.
func (b *builder) routers() {
	b.path.Routers = 2
	b.address(podA, routerA+"/24")
	b.address(podB, routerB+"/24")
	b.neighbour(podA, clientAddress, clientEnd)
	b.neighbour(podB, serverAddress, serverEnd)
}

func buildRouting(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	b.routers()
	b.route("ga", subnetB, endpointB, "ul0")
	b.route("gb", subnetA, endpointA, "ul0")
	return b.finish()
}

func buildVXLAN(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.vxlanGateways()
	return b.finish()
}

func (b *builder) vxlanGateways() {
	b.gateways()
	b.routers()
	a := tunnelEnd{end{"ga", "vx0"}, "241.0.0.1", endpointA, subnetA}
	z := tunnelEnd{end{"gb", "vx0"}, "241.0.0.2", endpointB, subnetB}
	b.tunnel(a, z, 1000, vxlanPort)
}

// tunnelEnd is a VXLAN device.
type tunnelEnd struct {
	end
	// address of the device itself, and of the underlay that it sends from.
	address, endpoint string
	// behind is what the other end reaches through it.
	behind string
}

// tunnel makes what Submariner's VXLAN driver makes: a device without learning on either end, the other end as
// static neighbour and forwarding entry, and routes to what is behind it in a table of their own.
func (b *builder) tunnel(a, z tunnelEnd, vni, port int) {
	for _, e := range []tunnelEnd{a, z} {
		b.vxlanDevice(e.end, vni, port, e.endpoint)
		b.address(e.end, e.address+"/8")
	}
	b.reach(a, z)
	b.reach(z, a)
}

func (b *builder) vxlanDevice(e end, vni, port int, endpoint string) {
	b.try(func() error {
		return b.path.in(e.host, func(h *netlink.Handle) error {
			device := &netlink.Vxlan{
				LinkAttrs: netlink.LinkAttrs{Name: e.name, MTU: PodMTU},
				VxlanId:   vni, Port: port, FlowBased: vni == 0,
			}
			if vni != 0 {
				device.SrcAddr = net.ParseIP(endpoint)
			}
			if err := h.LinkAdd(device); err != nil {
				return fmt.Errorf("add VXLAN device %s: %w", e.name, err)
			}
			return h.LinkSetUp(device)
		})
	})
}

// submarinerTable is where Submariner keeps its routes.
const submarinerTable = 150

func (b *builder) reach(from, to tunnelEnd) {
	b.neighbour(from.end, to.address, to.end)
	mac, index := b.mac(to.end), b.index(from.end)
	b.try(func() error {
		return b.path.in(from.host, func(h *netlink.Handle) error {
			forward := &netlink.Neigh{
				LinkIndex: index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, State: netlink.NUD_PERMANENT,
				IP: net.ParseIP(to.endpoint), HardwareAddr: mac,
			}
			if err := h.NeighSet(forward); err != nil {
				return fmt.Errorf("set forwarding entry of %s: %w", from.name, err)
			}
			_, behind, err := net.ParseCIDR(to.behind)
			if err != nil {
				return err
			}
			route := &netlink.Route{
				LinkIndex: index, Dst: behind, Gw: net.ParseIP(to.address), Table: submarinerTable,
			}
			if err := h.RouteAdd(route); err != nil {
				return fmt.Errorf("add route to %s: %w", to.behind, err)
			}
			rules, err := h.RuleListFiltered(unix.AF_INET, &netlink.Rule{Table: submarinerTable}, netlink.RT_FILTER_TABLE)
			if err != nil || len(rules) > 0 {
				return err
			}
			rule := netlink.NewRule()
			rule.Table, rule.Priority, rule.Family = submarinerTable, submarinerTable, unix.AF_INET
			if err := h.RuleAdd(rule); err != nil {
				return fmt.Errorf("add rule: %w", err)
			}
			return nil
		})
	})
}
