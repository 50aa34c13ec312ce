// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// Peer names a gateway node.
type Peer struct{ Cluster, Node string }

// mostEchoes is how many echoes a second a gateway may get from nodes that are no gateways: with more nodes each asks less
// often.
const mostEchoes = 2000

// answering are a cluster's gateways without those that are known not to answer this node, as long as another one is known to. When none
// answers all are as good as each other: it may well be this node that is cut off.
func answering(endpoints []spokev1alpha1.GatewayEndpoint, cluster string, echoed map[Peer]bool) []spokev1alpha1.GatewayEndpoint {
	answers := func(e spokev1alpha1.GatewayEndpoint) bool { return echoed[Peer{cluster, e.Node}] }
	if !slices.ContainsFunc(endpoints, answers) {
		return endpoints
	}
	return slices.DeleteFunc(slices.Clone(endpoints), func(e spokev1alpha1.GatewayEndpoint) bool {
		answers, known := echoed[Peer{cluster, e.Node}]
		return known && !answers
	})
}

// echoTo measures whether the gateways of a cluster answer, all but this node. mtu is that of the interface that leads there, 0
// when its path MTU does not matter.
func (p *Plan) echoTo(in Inputs, cluster string, endpoints []spokev1alpha1.GatewayEndpoint, mtu int) {
	for _, e := range endpoints {
		address, err := netip.ParseAddr(e.Address)
		if err == nil && address != p.Fastpath.Underlay.Address && (cluster != p.Fastpath.Own.Name || e.Node != in.Node) {
			p.Echoes.Targets = append(p.Echoes.Targets, tunnelprobe.Target{Cluster: cluster, Node: e.Node, Address: address, MTU: mtu})
		}
	}
}

// finishEchoes says where echoes come from, and how often.
func (p *Plan) finishEchoes(in Inputs) {
	if len(p.Echoes.Targets) == 0 {
		return
	}
	p.Echoes.Address, p.Echoes.Port = p.Fastpath.Underlay.Address, p.Fastpath.Underlay.UDPPort
	if p.Role != RoleGateway {
		p.Echoes.Interval = echoInterval(in)
	}
	slices.SortFunc(p.Echoes.Targets, func(a, b tunnelprobe.Target) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), a.Address.Compare(b.Address))
	})
}

// echoInterval of a node that is no gateway, by how many may ask the same gateway: those of its cluster, or those of all clusters whose
// nodes reach each other.
func echoInterval(in Inputs) time.Duration {
	told := 0
	for i := range in.Gateways {
		told += len(in.Gateways[i].Spec.Nodes)
	}
	return max(tunnelprobe.Interval, time.Duration(max(told, len(in.Nodes)))*time.Second/mostEchoes)
}
