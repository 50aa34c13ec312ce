// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
)

const (
	// mostInside is how many nodes a gateway asks pods of: all gateways the same ones, so that they can be compared.
	mostInside = 8
	// insideSettles is how long a pod must have been silent to count as that: one that is about to start answers soon, and one that is
	// about to end is forgotten soon.
	insideSettles = 3 * time.Second
)

// Inside is a pod that this gateway asks through OVN: it stands for the way to its node, there and back.
type Inside struct {
	// Node that the pod is on.
	Node string
	probe.Target
}

// makeInside chooses a pod of each of the first nodes that have some, and asks those that are not here.
func (p *Plan) makeInside(in Inputs) {
	ports, first := map[string]Port{}, map[string]Hosted{}
	for _, port := range p.Ports {
		ports[port.Fastpath.Vpc] = port
	}
	for _, pod := range in.Hosted {
		if _, served := ports[pod.Vpc]; !served || pod.NodeName == "" {
			continue
		}
		if best, ok := first[pod.NodeName]; !ok || cmp.Or(cmp.Compare(pod.Vpc, best.Vpc), pod.Address.Compare(best.Address)) < 0 {
			first[pod.NodeName] = pod
		}
	}
	nodes := slices.Sorted(maps.Keys(first))
	for _, node := range nodes[:min(len(nodes), mostInside)] {
		if node == in.Node {
			continue
		}
		port := ports[first[node].Vpc]
		p.Inside = append(p.Inside, Inside{Node: node, Target: probe.Target{
			Interface: port.Link.GatewayEnd, SrcMAC: port.Fastpath.GatewayMAC, DstMAC: port.Fastpath.RouterMAC,
			Src: port.Fastpath.Address, Dst: first[node].Address, Key: "pods of node " + node,
		}})
	}
}

// LookInside says which nodes' pods answer a gateway node, and whether none does although another gateway, which answers this one's echoes,
// gets answers from one of the same nodes. So never all gateways are cut off: a witness is not. An agent that has just started goes on from what
// the one before has said.
func LookInside(
	own *spokev1alpha1.InterconnectGateway, node string, asked []Inside, results []probe.Result, echoed map[Peer]bool, now time.Time,
) health.Inside {
	if own == nil || len(asked) == 0 {
		return health.Inside{}
	}
	before, others := split(own.Status.Gateways, node)
	found, silent := listen(asked, results, before.PodNodes, now)
	if len(found.Answering) > 0 {
		return found
	}
	if c := meta.FindStatusCondition(before.Conditions, spokev1alpha1.ConditionPodsReachable); len(silent) == 0 && c != nil && c.Reason == spokev1alpha1.ReasonNoWayToPods {
		found.CutOff = c.Message
	}
	for _, witness := range others {
		i := slices.IndexFunc(silent, func(there string) bool { return slices.Contains(witness.PodNodes, there) })
		if i < 0 || !echoed[Peer{own.Spec.Cluster, witness.Node}] {
			continue
		}
		found.CutOff = fmt.Sprintf("No pod of another node answers this node through OVN, and of node %s one answers gateway node %s. What came here for pods would be lost, "+
			"so this node answers no echoes, and other gateway nodes carry its packets. Look whether Open vSwitch and ovn-controller work on the node, and whether "+
			"the encapsulation between nodes (Geneve, UDP 6081) passes.", silent[i], witness.Node)
		break
	}
	return found
}

// listen says which nodes' pods answer, and which are silent for good. heard are those that answered the agent before this one.
func listen(asked []Inside, results []probe.Result, heard []string, now time.Time) (found health.Inside, silent []string) {
	found.Asked = true
	for _, pod := range asked {
		i := slices.IndexFunc(results, func(r probe.Result) bool { return r.Key == pod.Key })
		switch {
		case i < 0 && slices.Contains(heard, pod.Node), i >= 0 && results[i].Reachable:
			found.Answering = append(found.Answering, pod.Node)
		case i >= 0 && now.Sub(results[i].Since) >= insideSettles:
			silent = append(silent, pod.Node)
		default:
			found.Doubtful = true
		}
	}
	return found, silent
}

// split takes a node's own entry out of the list.
func split(list []spokev1alpha1.GatewayNode, node string) (own spokev1alpha1.GatewayNode, others []spokev1alpha1.GatewayNode) {
	for _, g := range list {
		if g.Node == node {
			own = g
		} else {
			others = append(others, g)
		}
	}
	return own, others
}
