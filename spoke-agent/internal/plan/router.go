// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

func makeSubnet(vpc spokev1alpha1.VpcIdentity, s spokev1alpha1.RouterSubnet, ports map[string][]ovn.Port) (ovn.Subnet, error) {
	cidr, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return ovn.Subnet{}, fmt.Errorf("parse spec.subnets[%s].cidr: %w", s.Name, err)
	}
	gateway, err := netip.ParseAddr(s.Gateway)
	if err != nil {
		return ovn.Subnet{}, fmt.Errorf("parse spec.subnets[%s].gateway: %w", s.Name, err)
	}
	if !cidr.Contains(gateway) {
		return ovn.Subnet{}, fmt.Errorf("check spec.subnets[%s].gateway: %s is outside %s: choose an address of the subnet", s.Name, gateway, cidr)
	}
	for _, exclude := range s.ExcludeIPs {
		if !excludable(exclude, cidr) {
			return ovn.Subnet{}, fmt.Errorf("check spec.subnets[%s].excludeIPs: %q is no address or range first..last of %s", s.Name, exclude, cidr)
		}
	}
	return ovn.Subnet{
		Name: naming.Subnet(vpc, s.Name), CIDR: cidr.Masked(), Gateway: gateway,
		ExcludeIPs: slices.Sorted(slices.Values(s.ExcludeIPs)), Ports: ports[vpc.Namespace+"/"+s.Name],
	}, nil
}

// excludable is true for an address of cidr, and for a first and a last one. OVN's client refuses everything at once
// when one is wrong; here only the router that is wrong is left out.
func excludable(exclude string, cidr netip.Prefix) bool {
	first, last, isRange := strings.Cut(exclude, "..")
	if !isRange {
		last = first
	}
	from, errFrom := netip.ParseAddr(first)
	to, errTo := netip.ParseAddr(last)
	return errFrom == nil && errTo == nil && cidr.Contains(from) && cidr.Contains(to) && !to.Less(from)
}

// makeTransit is the switch to the gateway nodes, and the gateways' addresses, which are the next hops of everything
// that is in another cluster. Who is silent keeps its port: it may be back before that is known, and then sends.
func makeTransit(lr *spokev1alpha1.LocalRouter, gateway *spokev1alpha1.InterconnectGateway, silent map[string]string) (ovn.Transit, []netip.Addr, error) {
	link, err := netip.ParsePrefix(lr.Spec.LinkCIDR)
	if err != nil {
		return ovn.Transit{}, nil, fmt.Errorf("parse spec.linkCIDR: %w", err)
	}
	address := naming.LinkRouter(link)
	transit := ovn.Transit{
		Name: naming.Transit(lr.Spec.Vpc), RouterAddress: netip.PrefixFrom(address, link.Bits()), RouterMAC: naming.MAC(address),
	}
	if gateway == nil {
		return transit, nil, nil
	}
	var hops []netip.Addr
	for _, endpoint := range gateway.Spec.Endpoints {
		address, err := naming.LinkGateway(link, endpoint.Index)
		if err != nil {
			return ovn.Transit{}, nil, fmt.Errorf("place gateway %s: %w", endpoint.Node, err)
		}
		transit.Gateways = append(transit.Gateways, ovn.TransitPort{
			Name: naming.GatewayPort(lr.Spec.Vpc, endpoint.Node), Address: address, MAC: naming.MAC(address),
		})
		if _, gone := silent[endpoint.Node]; !gone {
			hops = append(hops, address)
		}
	}
	slices.SortFunc(transit.Gateways, func(a, b ovn.TransitPort) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(hops, netip.Addr.Compare)
	return transit, hops, nil
}

// addGatewayRoutes sends prefixes to all gateways. Without a gateway there is no route: a packet to another cluster then
// gets the router's answer instead of silence.
func addGatewayRoutes(routes map[netip.Prefix][]netip.Addr, prefixes []string, hops []netip.Addr) error {
	for _, text := range prefixes {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("parse spec.routes: %w", err)
		}
		if len(hops) > 0 {
			routes[prefix.Masked()] = hops
		}
	}
	return nil
}

// makePeer is this router's half of the pair of ports, and the routes to the peer's prefixes in this cluster. They
// come after the gateways' and replace an equal one: what is next door does not go through a gateway.
func makePeer(vpc spokev1alpha1.VpcIdentity, p spokev1alpha1.LocalPeer, routes map[netip.Prefix][]netip.Addr) (ovn.Peer, error) {
	key := naming.VpcKey(p.Vpc)
	address, err := netip.ParsePrefix(p.LocalConnectIP)
	if err != nil {
		return ovn.Peer{}, fmt.Errorf("parse spec.peers[%s].localConnectIP: %w", key, err)
	}
	remote, err := netip.ParsePrefix(p.RemoteConnectIP)
	if err != nil {
		return ovn.Peer{}, fmt.Errorf("parse spec.peers[%s].remoteConnectIP: %w", key, err)
	}
	for _, text := range p.Prefixes {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return ovn.Peer{}, fmt.Errorf("parse spec.peers[%s].prefixes: %w", key, err)
		}
		routes[prefix.Masked()] = []netip.Addr{remote.Addr()}
	}
	return ovn.Peer{
		Name: naming.PeerPort(vpc, p.Vpc), RemoteName: naming.PeerPort(p.Vpc, vpc), Address: address, MAC: naming.MAC(address.Addr()),
	}, nil
}
