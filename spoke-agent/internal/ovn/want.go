// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// routerOptions are Logical_Router options. Nothing else is set: the defaults of OVN resolve our ports statically, and
// dynamic_neigh_routers would trade that for ARP. The one exception: every pod that asks its gateway's MAC leaves a
// MAC_Binding in the southbound database, and without an age (seconds) those of dead pods stay for ever.
var routerOptions = map[string]string{"mac_binding_age_threshold": "300"}

// wanted is a row that should be there, and where: in which column of which parent (the zero identity: a root row).
type wanted struct {
	row
	parent identity
	column string
}

// want lists the rows of desired, parents before their children.
func want(desired Desired) []*wanted {
	var all []*wanted
	for _, r := range desired.Routers {
		all = append(all, wantRouter(r)...)
	}
	return all
}

func wantRouter(r Router) []*wanted {
	router := root(identity{r.Owner, kindRouter, r.Name}, nbdb.LogicalRouterTable, map[string]any{"options": routerOptions})
	rows := []*wanted{router}
	for _, s := range r.Subnets {
		rows = append(rows, wantSubnet(router, s)...)
	}
	if r.Transit.Name != "" {
		rows = append(rows, wantTransit(router, r.Transit)...)
	}
	for _, p := range r.Peers {
		rows = append(rows, child(router, "ports", identity{r.Owner, kindPeerPort, p.Name}, nbdb.LogicalRouterPortTable,
			map[string]any{"mac": p.MAC, "networks": []string{p.Address.String()}, "peer": []string{p.RemoteName}}, nil))
	}
	for _, route := range r.Routes {
		for _, hop := range route.NextHops {
			rows = append(rows, wantRoute(router, route.Prefix, hop))
		}
	}
	return rows
}

func wantSubnet(router *wanted, s Subnet) []*wanted {
	sw := root(identity{router.owner, kindSubnet, s.Name}, nbdb.LogicalSwitchTable, map[string]any{
		"other_config": map[string]string{
			"subnet": s.CIDR.Masked().String(),
			// OVN keeps the addresses of router ports to itself, but only as long as the router port is there.
			"exclude_ips": strings.Join(append([]string{s.Gateway.String()}, s.ExcludeIPs...), " "),
		},
	})
	address := netip.PrefixFrom(s.Gateway, s.CIDR.Bits())
	rows := append([]*wanted{sw}, join(router, sw, s.Name, address, macOf(s.Gateway))...)
	for _, p := range s.Ports {
		// port_security comes with the address: see secure.
		rows = append(rows, child(sw, "ports", identity{router.owner, kindPodPort, p.Name}, nbdb.LogicalSwitchPortTable,
			map[string]any{"type": "", "addresses": []string{"dynamic"}},
			map[string]string{KeyPod: p.Pod, KeyPodUID: p.Owner}))
	}
	return rows
}

func wantTransit(router *wanted, t Transit) []*wanted {
	sw := root(identity{router.owner, kindTransit, t.Name}, nbdb.LogicalSwitchTable, map[string]any{})
	rows := append([]*wanted{sw}, join(router, sw, t.Name, t.RouterAddress, t.RouterMAC)...)
	for _, g := range t.Gateways {
		// No port_security: what comes in here has its source in other clusters. The gateway's data path checks it.
		rows = append(rows, child(sw, "ports", identity{router.owner, kindGatewayPort, g.Name}, nbdb.LogicalSwitchPortTable,
			map[string]any{"type": "", "addresses": []string{g.MAC + " " + g.Address.String()}}, nil))
	}
	return rows
}

// join is the pair of ports between a router and a switch.
func join(router, sw *wanted, name string, address netip.Prefix, mac string) []*wanted {
	rp, sp := "rp-"+name, "sp-"+name
	return []*wanted{
		child(router, "ports", identity{router.owner, kindRouterPort, rp}, nbdb.LogicalRouterPortTable,
			map[string]any{"mac": mac, "networks": []string{address.String()}, "peer": []string(nil)}, nil),
		child(sw, "ports", identity{router.owner, kindSwitchPort, sp}, nbdb.LogicalSwitchPortTable,
			map[string]any{"type": "router", "addresses": []string{"router"}, "options": map[string]string{"router-port": rp}}, nil),
	}
}

func wantRoute(router *wanted, prefix netip.Prefix, hop netip.Addr) *wanted {
	to := prefix.Masked().String()
	w := child(router, "static_routes", identity{router.owner, kindRoute, to + " " + hop.String()},
		nbdb.LogicalRouterStaticRouteTable, map[string]any{
			"ip_prefix": to, "nexthop": hop.String(), "route_table": "",
			"policy": []string{nbdb.LogicalRouterStaticRoutePolicyDstIP},
		}, nil)
	w.name = ""
	delete(w.columns, "name")
	return w
}

func root(id identity, table string, columns map[string]any) *wanted {
	columns["name"] = id.id
	columns["external_ids"] = id.externalIDs(nil)
	return &wanted{row: row{identity: id, table: table, uuid: id.uuid(), name: id.id, columns: columns}}
}

func child(parent *wanted, column string, id identity, table string, columns map[string]any, more map[string]string) *wanted {
	w := root(id, table, columns)
	w.columns["external_ids"] = id.externalIDs(more)
	w.parent, w.column = parent.identity, column
	return w
}

// secure adds what depends on the address that OVN gave a pod's port. Before there is an address, port_security is left
// as it is: the pod has no interface yet, because the CNI server waits for the address too.
func (w *wanted) secure(have *row) {
	if w.kind == kindPodPort && have.dynamicAddresses != "" {
		w.columns["port_security"] = []string{have.dynamicAddresses}
	}
}

// macOf derives a router port's MAC from its IPv4 address: the same in every run, and different wherever the address is.
func macOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}
