// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway decides what a node does as an interconnect gateway, and for its own pods of Vpcs: its interfaces, its ports in
// the integration bridge, its eBPF configuration and its probes. It is pure.
//
//	LocalRouters · InterconnectGateways · this node, its pods, other nodes ──Make──▶ link.Pair · ovn.VswitchPort · fastpath.Config · link.SlowPath · probe.Target
package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// Inputs are all that the plan looks at. Make changes none of them.
type Inputs struct {
	// Node that this agent runs on.
	Node string
	// Labelled is true when the Node asks to be a gateway.
	Labelled bool
	// Underlay is the interface between clusters.
	Underlay string
	// Routers are the copies of this cluster's LocalRouters, those under deletion among them.
	Routers []spokev1alpha1.LocalRouter
	// Gateways are the copies of all clusters' InterconnectGateways: the directory.
	Gateways []spokev1alpha1.InterconnectGateway
	// MTU of the gateway ports, in bytes.
	MTU int
	// UnderlayMTU is that of Underlay, in bytes.
	UnderlayMTU int
	// WireGuardPort is the UDP port of this node's WireGuard.
	WireGuardPort uint16
	// Address of this node on Underlay; the zero Addr when it has none there.
	Address netip.Addr
	// DirectPath lets pods of this node send by themselves.
	DirectPath bool
	// Pods of this node that are plugged.
	Pods []Pod
	// Nodes of the cluster by name, with the addresses that they have announced.
	Nodes map[string]netip.Addr
	// Hosted are all pods of Vpcs of the cluster; only gateways need them.
	Hosted []Hosted
	// Echoed says of gateways whether they answer this node's echoes; what is not known is not there.
	Echoed map[Peer]bool
	// PathMTU is the longest encapsulated packet that is known to arrive in a cluster, in bytes.
	PathMTU map[string]int
}

// Role says what the node has to do.
type Role int

const (
	// RoleUnknown is when neither the label nor the hub's approval settles it. Whatever is there stays.
	RoleUnknown Role = iota
	// RoleGateway is a labelled node that is an approved endpoint.
	RoleGateway
	// RoleNone is a node that is known to be no gateway, because the hub's list of endpoints is there and does not name the node.
	RoleNone
	// RoleNode is one of those that has pods of Vpcs, and sends for them.
	RoleNode
)

// Plan is what the node must have.
type Plan struct {
	Role Role
	// Ports are the routers that the node serves, sorted by name.
	Ports []Port
	// Fastpath is the configuration of the eBPF programs, with the ports of all Ports.
	Fastpath fastpath.Config
	// Echoes measure the way to the clusters that the routers refer to, and find out which gateways are there.
	Echoes tunnelprobe.Config
	// Inside are the pods that stand for the way to their nodes; gateways have them.
	Inside []Inside
	// Tunnel is what encrypts; nil when no cluster that the routers refer to must be encrypted.
	Tunnel *Tunnel
	// SlowPath is what the kernel has to know for the same ports.
	SlowPath link.SlowPath
	// Removed are routers under deletion, whose interfaces must go.
	Removed []Removed
	// Errors are LocalRouters (by name) whose spec can't be realized. They have no port.
	Errors map[string]error
}

// Port is all that one router needs on this node.
type Port struct {
	// Router is the name of the LocalRouter.
	Router string
	// Generation of the hub's object that this is.
	Generation int64
	Link       link.Pair
	Vswitch    ovn.VswitchPort
	Fastpath   fastpath.Port
	SlowPath   link.SlowVpc
	Probes     []Probe
}

// Probe is a target and whom it stands for.
type Probe struct {
	probe.Target
	// Vpc that is probed, as "namespace/name", in Cluster.
	Vpc, Cluster string
}

// Removed is what a router under deletion may have here.
type Removed struct {
	Router             string
	GatewayEnd, OVSEnd string
}

// Own is the copy of this cluster's own InterconnectGateway; nil while there is none.
func Own(gateways []spokev1alpha1.InterconnectGateway) *spokev1alpha1.InterconnectGateway {
	for i := range gateways {
		if gateways[i].Labels[local.LabelOwn] == "true" {
			return &gateways[i]
		}
	}
	return nil
}

// Make is the plan for in.
func Make(in Inputs) Plan {
	p := Plan{Errors: map[string]error{}}
	own := Own(in.Gateways)
	endpoint, role := findRole(in, own)
	vpcs := in.vpcs()
	if role == RoleNone && len(vpcs) > 0 {
		role = RoleNode
	}
	p.Role = role
	for i := range in.Routers {
		router := &in.Routers[i]
		if router.DeletionTimestamp != nil {
			p.Removed = append(p.Removed, removed(router))
			continue
		}
		if role != RoleGateway && (role != RoleNode || !vpcs[naming.VpcKey(router.Spec.Vpc)]) {
			continue
		}
		makePort := makeGatewayPort
		if role == RoleNode {
			makePort = makeNodePort
		}
		port, err := makePort(in, own.Spec.Cluster, endpoint, router)
		if err != nil {
			p.Errors[router.Name] = err
			continue
		}
		p.Ports = append(p.Ports, port)
	}
	slices.SortFunc(p.Ports, func(a, b Port) int { return cmp.Compare(a.Router, b.Router) })
	slices.SortFunc(p.Removed, func(a, b Removed) int { return cmp.Compare(a.Router, b.Router) })
	if role == RoleGateway || role == RoleNode {
		p.makePaths(in, own, endpoint)
	}
	return p
}

// findRole trusts the hub's list for "yes" and for "no", and nothing else: a missing copy is no answer.
func findRole(in Inputs, own *spokev1alpha1.InterconnectGateway) (spokev1alpha1.GatewayEndpoint, Role) {
	if own == nil || own.DeletionTimestamp != nil {
		return spokev1alpha1.GatewayEndpoint{}, RoleUnknown
	}
	i := slices.IndexFunc(own.Spec.Endpoints, func(e spokev1alpha1.GatewayEndpoint) bool { return e.Node == in.Node })
	switch {
	case i >= 0 && (in.Labelled || last(own, in.Node)):
		return own.Spec.Endpoints[i], RoleGateway
	case i >= 0:
		return spokev1alpha1.GatewayEndpoint{}, RoleUnknown // the label is gone; routers still send here until the hub knows
	default:
		return spokev1alpha1.GatewayEndpoint{}, RoleNone
	}
}

// last is true for a node that the hub keeps as a gateway without its label, as the cluster has no other.
func last(own *spokev1alpha1.InterconnectGateway, node string) bool {
	return slices.ContainsFunc(own.Spec.Refused, func(r spokev1alpha1.RefusedReport) bool {
		return r.Node == node && r.Reason == spokev1alpha1.ReasonLastGateway
	})
}

func removed(router *spokev1alpha1.LocalRouter) Removed {
	vni := router.Spec.Vpc.VNI
	return Removed{Router: router.Name, GatewayEnd: naming.GatewayEnd(vni), OVSEnd: naming.OVSEnd(vni)}
}

// makePaths collects the ports, those clusters of the directory that a port refers to, and what the direct path needs.
func (p *Plan) makePaths(in Inputs, own *spokev1alpha1.InterconnectGateway, endpoint spokev1alpha1.GatewayEndpoint) {
	address, err := ownAddress(in, own, p.Role, endpoint)
	if err != nil {
		p.Role, p.Ports = RoleUnknown, nil
		p.Errors[own.Name] = err
		return
	}
	port := uint16(own.Spec.Port)
	p.Fastpath.Underlay = fastpath.Underlay{Interface: in.Underlay, Address: address, UDPPort: port, VXLAN: link.VXLANName(port)}
	p.SlowPath.VXLAN = link.VXLAN{Port: port, Address: address, Underlay: in.Underlay}
	referenced := map[string]bool{}
	for _, port := range p.Ports {
		p.Fastpath.Ports = append(p.Fastpath.Ports, port.Fastpath)
		for _, remote := range port.Fastpath.Remotes {
			referenced[remote.Cluster] = true
		}
	}
	p.Fastpath.Own.Name = own.Spec.Cluster
	for _, name := range slices.Sorted(maps.Keys(referenced)) {
		p.addCluster(in, own, endpoint, name)
	}
	p.makeDirect(in, own)
	p.finishEchoes(in)
	if p.Role != RoleGateway {
		return // the kernel has no way to other clusters there: OVN does
	}
	p.makeInside(in)
	for i := range p.Ports {
		p.addSlowRemotes(&p.Ports[i])
		p.SlowPath.Vpcs = append(p.SlowPath.Vpcs, p.Ports[i].SlowPath)
	}
}

// ownAddress is that of this node. The approved one, not the interface's, if there is one: it is what the other clusters know
// and accept.
func ownAddress(in Inputs, own *spokev1alpha1.InterconnectGateway, role Role, endpoint spokev1alpha1.GatewayEndpoint) (netip.Addr, error) {
	if role == RoleNode {
		if address, approved := approvedNode(&own.Spec, in.Node); approved {
			return address, nil
		}
		return in.Address, nil
	}
	address, err := netip.ParseAddr(endpoint.Address)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("parse spec.endpoints[%s].address: %w", endpoint.Node, err)
	}
	return address, nil
}

// addSlowRemotes gives the kernel the same ways as the programs have.
func (p *Plan) addSlowRemotes(port *Port) {
	for _, remote := range port.Fastpath.Remotes {
		i := slices.IndexFunc(p.Fastpath.Clusters, func(c fastpath.Cluster) bool { return c.Name == remote.Cluster })
		cluster := p.Fastpath.Clusters[i]
		slow := link.SlowRemote{VNI: remote.VNI, Endpoints: cluster.Endpoints, Prefixes: remote.Prefixes}
		if cluster.MTU != 0 {
			slow.PathMTU = cluster.MTU - link.VXLANOverhead
		}
		if cluster.Encrypted {
			slow.EncryptedMTU = p.Tunnel.MTU - link.VXLANOverhead
		}
		port.SlowPath.Remotes = append(port.SlowPath.Remotes, slow)
	}
}

// addCluster adds a cluster that a router refers to. A gateway of an encrypted cluster that has no key is none: nothing can
// be sent to it. Only gateways encrypt: what other nodes' pods have for such a cluster they leave to OVN.
func (p *Plan) addCluster(in Inputs, own *spokev1alpha1.InterconnectGateway, endpoint spokev1alpha1.GatewayEndpoint, name string) {
	spec := specOf(in.Gateways, name)
	c := fastpath.Cluster{Name: name, Encrypted: spokev1alpha1.Encrypted(&own.Spec, spec)}
	if c.Encrypted && p.Role == RoleNode {
		p.Fastpath.Clusters = append(p.Fastpath.Clusters, c)
		return
	}
	mtu := in.UnderlayMTU
	var echoed []spokev1alpha1.GatewayEndpoint
	switch {
	case c.Encrypted:
		if p.Tunnel == nil {
			p.Tunnel = newTunnel(in, p.Fastpath.Underlay.UDPPort, endpoint)
			p.Fastpath.Underlay.Tunnel = p.Tunnel.Interface
		}
		mtu = p.Tunnel.MTU
		echoed = p.Tunnel.peers(spec.Endpoints)
		c.Endpoints, c.Senders = lawAndWays(echoed, name, in.Echoed)
	default:
		c.Endpoints, c.Senders, echoed = waysTo(in, own, p.Role, name, spec)
	}
	if known := in.PathMTU[name]; known < mtu {
		c.MTU = known
	}
	switch {
	case p.Role == RoleGateway:
		p.echoTo(in, name, echoed, mtu)
	case len(echoed) > 1: // else there is no choice
		p.echoTo(in, name, echoed, 0)
	}
	p.Fastpath.Clusters = append(p.Fastpath.Clusters, c)
}

// specOf is what the directory says of a cluster; nothing when it does not have it, so that packets to it are counted as
// what they are.
func specOf(gateways []spokev1alpha1.InterconnectGateway, cluster string) *spokev1alpha1.InterconnectGatewaySpec {
	for i := range gateways {
		if gateways[i].Name == cluster && gateways[i].DeletionTimestamp == nil {
			return &gateways[i].Spec
		}
	}
	return &spokev1alpha1.InterconnectGatewaySpec{}
}
