// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"net/netip"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

// Pod is a pod of this node that is plugged.
type Pod struct {
	attachment.Attachment
	// HostEnd is the node's end of its interface, and SwitchEnd the near end of its second pair, if it has one.
	HostEnd, SwitchEnd string
}

// Hosted is a pod of the cluster.
type Hosted struct {
	// NodeName is the name of its node, and Node the node's address on the underlay; the zero Addr when the programs there do not know the pod.
	NodeName string
	Node     netip.Addr
	// Vpc as "namespace/name", and the pod's address there.
	Vpc     string
	Address netip.Addr
}

// vpcs are those that pods of this node are in; none when they must not, or can't, send by themselves.
func (in Inputs) vpcs() map[string]bool {
	if !in.DirectPath || !in.Address.Is4() {
		return nil
	}
	vpcs := map[string]bool{}
	for _, router := range in.Routers {
		key := naming.VpcKey(router.Spec.Vpc)
		if router.DeletionTimestamp == nil && slices.ContainsFunc(in.Pods, func(p Pod) bool { return p.Vpc == key }) {
			vpcs[key] = true
		}
	}
	return vpcs
}

// approvedNode is the address of a node that may send to other clusters' nodes.
func approvedNode(spec *spokev1alpha1.InterconnectGatewaySpec, node string) (netip.Addr, bool) {
	for _, n := range spec.Nodes {
		if address, err := netip.ParseAddr(n.Address); n.Node == node && err == nil {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// waysTo is where packets to another cluster go, and who may send its packets; no senders are the endpoints. echoed are gateways of the
// other cluster that this node sends to when they answer. Nodes of both clusters know
// each other when both have told theirs; a node sends to the other's gateways if it is among them. Otherwise only gateways
// do, and other nodes send to their own ones: they must not learn to send further, and so know none of the other's.
func waysTo(
	in Inputs, own *spokev1alpha1.InterconnectGateway, role Role, cluster string, spec *spokev1alpha1.InterconnectGatewaySpec,
) (endpoints, senders []netip.Addr, echoed []spokev1alpha1.GatewayEndpoint) {
	both := len(own.Spec.Nodes) > 0 && len(spec.Nodes) > 0
	_, told := approvedNode(&own.Spec, in.Node)
	if role == RoleNode && !(both && told) {
		return addresses(answering(own.Spec.Endpoints, own.Spec.Cluster, in.Echoed), netip.Addr{}), nil, nil
	}
	endpoints, senders = lawAndWays(spec.Endpoints, cluster, in.Echoed)
	if both {
		senders = addresses(spec.Endpoints, netip.Addr{})
		for _, n := range spec.Nodes {
			senders = addAddress(senders, n.Address, netip.Addr{})
		}
		slices.SortFunc(senders, netip.Addr.Compare)
	}
	return endpoints, senders, spec.Endpoints
}

// lawAndWays are the gateways of a cluster that packets are sent to, and those that may send its packets when these are more: one that
// does not answer may be back before that is known.
func lawAndWays(all []spokev1alpha1.GatewayEndpoint, cluster string, echoed map[Peer]bool) (endpoints, senders []netip.Addr) {
	endpoints = addresses(answering(all, cluster, echoed), netip.Addr{})
	if everyone := addresses(all, netip.Addr{}); len(everyone) > len(endpoints) {
		senders = everyone
	}
	return endpoints, senders
}

// addresses are those of gateways but one, sorted.
func addresses(endpoints []spokev1alpha1.GatewayEndpoint, but netip.Addr) []netip.Addr {
	var all []netip.Addr
	for _, e := range endpoints {
		all = addAddress(all, e.Address, but)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// addAddress adds what is an address, is not there yet and is another one than but.
func addAddress(all []netip.Addr, text string, but netip.Addr) []netip.Addr {
	address, err := netip.ParseAddr(text)
	if err != nil || address == but || slices.Contains(all, address) {
		return all
	}
	return append(all, address)
}

// makeDirect adds the own cluster, the pods of this node and, on a gateway, where others are and what other nodes may send
// through it.
func (p *Plan) makeDirect(in Inputs, own *spokev1alpha1.InterconnectGateway) {
	self := p.Fastpath.Underlay.Address
	p.Fastpath.Own.Gateways = addresses(answering(own.Spec.Endpoints, own.Spec.Cluster, in.Echoed), self)
	p.Fastpath.Own.Nodes = p.ownNodes(in, addresses(own.Spec.Endpoints, self))
	if len(own.Spec.Endpoints) > 1 {
		p.echoTo(in, own.Spec.Cluster, own.Spec.Endpoints, 0)
	}
	vnis := map[string]uint32{}
	for _, port := range p.Ports {
		vnis[port.Fastpath.Vpc] = port.Fastpath.VNI
	}
	if in.DirectPath {
		p.Fastpath.Pods = makePods(in.Pods, vnis)
	}
	if p.Role != RoleGateway {
		return
	}
	if in.DirectPath {
		p.Fastpath.Own.Hosts = makeHosts(in, p.Fastpath.Own.Nodes, vnis)
	}
	if len(p.Fastpath.Own.Nodes) > 0 {
		p.Fastpath.Relays = p.makeRelays(own)
	}
}

// ownNodes are the cluster's other nodes, its gateways among them. One whose address is another cluster's is none: a packet's outer source must say
// which cluster it is from.
func (p *Plan) ownNodes(in Inputs, gateways []netip.Addr) []netip.Addr {
	nodes := slices.Clone(gateways)
	for name, address := range in.Nodes {
		foreign := slices.ContainsFunc(p.Fastpath.Clusters, func(c fastpath.Cluster) bool {
			return slices.Contains(c.Senders, address) || len(c.Senders) == 0 && slices.Contains(c.Endpoints, address)
		})
		if name == in.Node || address == p.Fastpath.Underlay.Address || foreign || slices.Contains(nodes, address) {
			continue
		}
		nodes = append(nodes, address)
	}
	slices.SortFunc(nodes, netip.Addr.Compare)
	return nodes
}

// makePods are the pods of Vpcs that have a port, each address once.
func makePods(pods []Pod, vnis map[string]uint32) []fastpath.Pod {
	var all []fastpath.Pod
	for _, pod := range pods {
		vni, ok := vnis[pod.Vpc]
		if !ok {
			continue
		}
		all = append(all, fastpath.Pod{
			Interface: pod.HostEnd, Switch: pod.SwitchEnd, VNI: vni,
			Address: pod.Address.Addr(), MAC: pod.MAC, RouterMAC: naming.MAC(pod.Gateway),
		})
	}
	slices.SortFunc(all, func(a, b fastpath.Pod) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), a.Address.Compare(b.Address), cmp.Compare(a.Interface, b.Interface))
	})
	return unambiguous(all, func(p fastpath.Pod) host { return host{p.VNI, p.Address} })
}

type host struct {
	vni     uint32
	address netip.Addr
}

// unambiguous drops all that claim the same address of a Vpc, from a sorted list: only OVN can tell whose it is.
func unambiguous[T any](all []T, key func(T) host) []T {
	claims := map[host]int{}
	for _, one := range all {
		claims[key(one)]++
	}
	return slices.DeleteFunc(all, func(one T) bool { return claims[key(one)] > 1 })
}

// makeHosts says which other node has which pod.
func makeHosts(in Inputs, nodes []netip.Addr, vnis map[string]uint32) []fastpath.Host {
	var all []fastpath.Host
	for _, pod := range in.Hosted {
		vni, ok := vnis[pod.Vpc]
		if !ok || !pod.Node.IsValid() {
			continue
		}
		all = append(all, fastpath.Host{VNI: vni, Address: pod.Address, Node: pod.Node})
	}
	slices.SortFunc(all, func(a, b fastpath.Host) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), a.Address.Compare(b.Address), a.Node.Compare(b.Node))
	})
	all = unambiguous(all, func(h fastpath.Host) host { return host{h.VNI, h.Address} })
	return slices.DeleteFunc(all, func(h fastpath.Host) bool { return !slices.Contains(nodes, h.Node) })
}

// makeRelays lets this cluster's nodes send through this gateway what their pods may send. Clusters that must be encrypted get theirs
// by OVN.
func (p *Plan) makeRelays(own *spokev1alpha1.InterconnectGateway) []fastpath.Relay {
	var relays []fastpath.Relay
	for _, port := range p.Ports {
		for _, remote := range port.Fastpath.Remotes {
			if slices.ContainsFunc(p.Fastpath.Clusters, func(c fastpath.Cluster) bool { return c.Name == remote.Cluster && c.Encrypted }) {
				continue
			}
			i := slices.IndexFunc(relays, func(r fastpath.Relay) bool { return r.VNI == remote.VNI && r.To == remote.Cluster })
			if i < 0 {
				i = len(relays)
				relays = append(relays, fastpath.Relay{VNI: remote.VNI, From: own.Spec.Cluster, To: remote.Cluster})
			}
			relays[i].Sources = addPrefixes(relays[i].Sources, port.Fastpath.Local)
			relays[i].Destinations = addPrefixes(relays[i].Destinations, remote.Prefixes)
		}
	}
	slices.SortFunc(relays, func(a, b fastpath.Relay) int { return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.To, b.To)) })
	return relays
}

func addPrefixes(all, more []netip.Prefix) []netip.Prefix {
	all = append(all, more...)
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}
