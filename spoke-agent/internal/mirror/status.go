// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// routerStatus is the status of the hub's LocalRouter, from its copy. nodes are the approved gateway nodes of the cluster:
// a node that is none any more may have died without taking back what it said.
func routerStatus(hub, copy *spokev1alpha1.LocalRouter, nodes []string) spokev1alpha1.LocalRouterStatus {
	status := spokev1alpha1.LocalRouterStatus{
		ObservedGeneration: counted(copy.Status.ObservedGeneration, hub),
		Probes:             saidBy(nodes, copy.Status.Probes, func(p spokev1alpha1.ProbeResult) string { return p.Node }),
		Gateways:           saidBy(nodes, copy.Status.Gateways, func(g spokev1alpha1.RouterGateway) string { return g.Node }),
		Conditions:         slices.Clone(hub.Status.Conditions),
	}
	programmed := metav1.Condition{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, ObservedGeneration: hub.Generation,
		Reason: spokev1alpha1.ReasonWaitingForOVN, Message: "The agent has not realized this generation in OVN yet.",
	}
	ovn := meta.FindStatusCondition(copy.Status.Conditions, spokev1alpha1.ConditionProgrammed)
	switch problem := gatewaysBehind(hub, copy, nodes, &status.ObservedGeneration); {
	case ovn != nil && ovn.Status != metav1.ConditionTrue:
		programmed.Reason, programmed.Message = ovn.Reason, ovn.Message
	case copy.Status.ObservedGeneration != hub.Generation: // as it stands above
	case problem != "":
		programmed.Reason, programmed.Message = spokev1alpha1.ReasonWaitingForGateways, problem
	case len(hub.Spec.Remotes) > 0 && len(nodes) == 0:
		programmed.Reason = spokev1alpha1.ReasonNoGateways
		programmed.Message = "No node of the cluster is an approved gateway: label a Node " + local.LabelGateway + "=true."
	default:
		programmed.Status, programmed.Reason, programmed.Message = metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed, "OVN and every gateway node have it."
	}
	meta.SetStatusCondition(&status.Conditions, programmed)
	return status
}

// counted is a generation that was realized, or 0 when the hub's object has not come that far: then it is one of the
// object before the hub was restored, and says nothing about this one's.
func counted(generation int64, hub *spokev1alpha1.LocalRouter) int64 {
	if generation > hub.Generation {
		return 0
	}
	return generation
}

// saidBy are the entries of nodes; nil when there is none.
func saidBy[T any](nodes []string, entries []T, nodeOf func(T) string) []T {
	var said []T
	for _, entry := range entries {
		if slices.Contains(nodes, nodeOf(entry)) {
			said = append(said, entry)
		}
	}
	return said
}

// gatewaysBehind lowers observed to the oldest generation of a gateway node, and says which nodes are behind. A router
// without remotes needs no gateway.
func gatewaysBehind(hub, copy *spokev1alpha1.LocalRouter, nodes []string, observed *int64) string {
	if len(hub.Spec.Remotes) == 0 {
		return ""
	}
	var behind []string
	for _, node := range nodes {
		i := slices.IndexFunc(copy.Status.Gateways, func(g spokev1alpha1.RouterGateway) bool { return g.Node == node })
		if i < 0 {
			*observed = 0
			behind = append(behind, fmt.Sprintf("gateway node %s has not reported", node))
			continue
		}
		g := copy.Status.Gateways[i]
		g.ObservedGeneration = counted(g.ObservedGeneration, hub)
		*observed = min(*observed, g.ObservedGeneration)
		switch {
		case g.Message != "":
			behind = append(behind, fmt.Sprintf("gateway node %s: %s", node, g.Message))
		case g.ObservedGeneration < hub.Generation:
			behind = append(behind, fmt.Sprintf("gateway node %s has generation %d of %d", node, g.ObservedGeneration, hub.Generation))
		}
	}
	return strings.Join(behind, "; ")
}

// copyNewer is the status of a hub's LocalRouter that is older than its copy, and says something else.
func copyNewer(hub, copy *spokev1alpha1.LocalRouter) spokev1alpha1.LocalRouterStatus {
	status := *hub.Status.DeepCopy()
	status.ObservedGeneration = 0
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, ObservedGeneration: hub.Generation, Reason: spokev1alpha1.ReasonWentBack,
		Message: fmt.Sprintf("The cluster has generation %d of it, of epoch %d, and the hub only %d, of epoch %d, which says something else: was the hub restored from a backup? "+
			"The cluster keeps what it has. When the hub is right: kubectl tombolo confirm there; for this one alone, in the cluster: kubectl -n %s annotate --overwrite localrouter %s %s=0 %s=0.",
			local.HubGeneration(copy), originOf(copy).epoch, hub.Generation, originOf(hub).epoch, local.Namespace, copy.Name,
			spokev1alpha1.AnnotationHubGeneration, spokev1alpha1.AnnotationHubEpoch),
	})
	return status
}

// notTaken is the status of a hub's LocalRouter that this cluster's API server refuses as a copy.
func notTaken(hub *spokev1alpha1.LocalRouter, err error) spokev1alpha1.LocalRouterStatus {
	status, message := *hub.Status.DeepCopy(), err.Error()
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, ObservedGeneration: hub.Generation, Reason: spokev1alpha1.ReasonInvalid,
		Message: "The cluster keeps what it had, for it can't take this: " + message[:min(len(message), maxRefusal)],
	})
	return status
}

// maxRefusal is how much of an API server's refusal is told to the hub.
const maxRefusal = 500

// nameTaken is the status of a hub's LocalRouter whose name a copy of another Vpc has.
func nameTaken(hub, copy *spokev1alpha1.LocalRouter) spokev1alpha1.LocalRouterStatus {
	status := *hub.Status.DeepCopy()
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, ObservedGeneration: hub.Generation, Reason: spokev1alpha1.ReasonNameTaken,
		Message: fmt.Sprintf("The cluster still realizes the Vpc with UID %s under this name, whose deletion it never saw. When that is meant: "+
			"kubectl -n %s delete localrouter %s in the cluster.", copy.Spec.VpcUID, local.Namespace, copy.Name),
	})
	return status
}

// gatewayStatus is the status of the hub's own InterconnectGateway, from its copy, the nodes and the copies of the routers.
func gatewayStatus(hub, copy *spokev1alpha1.InterconnectGateway, nodes []corev1.Node, routers []spokev1alpha1.LocalRouter, reserved []string) spokev1alpha1.InterconnectGatewayStatus {
	labelled := labelledNodes(nodes)
	status := spokev1alpha1.InterconnectGatewayStatus{
		ObservedGeneration: hub.Status.ObservedGeneration,
		Endpoints:          reportEndpoints(nodes),
		Nodes:              reportNodes(nodes),
		ReservedCIDRs:      reportReserved(nodes, reserved),
		Gateways:           saidBy(labelled, copy.Status.Gateways, nodeOf),
		Tunnels:            saidBy(approved(hub), copy.Status.Tunnels, func(t spokev1alpha1.Tunnel) string { return t.Node }),
		HoldsGeneration:    hub.Status.HoldsGeneration,
		Conditions:         slices.Clone(hub.Status.Conditions),
	}
	programmed := metav1.Condition{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, ObservedGeneration: hub.Generation, Reason: spokev1alpha1.ReasonProgrammed}
	worst := health.Worst(status.Gateways, slices.DeleteFunc(labelled, func(node string) bool {
		return slices.ContainsFunc(status.Gateways, func(g spokev1alpha1.GatewayNode) bool { return g.Node == node })
	}))
	switch missing := unserved(hub.Spec.Endpoints, routers); {
	case worst != nil && worst.Status == metav1.ConditionFalse:
		programmed.Status, programmed.Reason, programmed.Message = metav1.ConditionFalse, worst.Reason, worst.Message
	case local.HubGeneration(copy) != hub.Generation || missing != "":
		programmed.Status, programmed.Reason, programmed.Message = metav1.ConditionFalse, spokev1alpha1.ReasonWaitingForGateways, missing
	case len(hub.Spec.Endpoints) == 0:
		programmed.Message = "The cluster has no gateway node: label a Node " + local.LabelGateway + "=true to reach other clusters."
	default:
		programmed.Message = "Every gateway node serves every router."
	}
	if senders := len(announced(nodes)); senders > spokev1alpha1.MaxNodes {
		programmed.Message = strings.TrimSpace(fmt.Sprintf("%s %d nodes are more than the %d that other clusters' nodes can know: pods reach other clusters by the gateways.",
			programmed.Message, senders, spokev1alpha1.MaxNodes))
	}
	if programmed.Status == metav1.ConditionTrue {
		status.ObservedGeneration = hub.Generation
	}
	meta.SetStatusCondition(&status.Conditions, programmed)
	meta.SetStatusCondition(&status.Conditions, endpointsApproved(hub))
	health.Summarize(&status.Conditions, hub.Generation, worst)
	return status
}

// endpointsApproved says what the hub has refused of what this cluster reports.
func endpointsApproved(hub *spokev1alpha1.InterconnectGateway) metav1.Condition {
	c := metav1.Condition{
		Type: spokev1alpha1.ConditionEndpointsApproved, Status: metav1.ConditionTrue, ObservedGeneration: hub.Generation,
		Reason: spokev1alpha1.ReasonApproved, Message: "The hub has refused nothing.",
	}
	if len(hub.Spec.Refused) == 0 {
		return c
	}
	var said []string
	for _, r := range hub.Spec.Refused {
		said = append(said, fmt.Sprintf("node %s: %s", r.Node, r.Message))
	}
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, hub.Spec.Refused[0].Reason, strings.Join(said, "; ")
	return c
}

func nodeOf(g spokev1alpha1.GatewayNode) string { return g.Node }

// labelledNodes are the nodes that are to be gateways, sorted.
func labelledNodes(nodes []corev1.Node) []string {
	var names []string
	for _, node := range nodes {
		if node.Labels[local.LabelGateway] == "true" {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	return names
}

// approved are the gateway nodes that the hub has approved.
func approved(hub *spokev1alpha1.InterconnectGateway) []string {
	var nodes []string
	for _, e := range hub.Spec.Endpoints {
		nodes = append(nodes, e.Node)
	}
	return nodes
}

// unserved names the first gateway node that does not serve a router yet.
func unserved(endpoints []spokev1alpha1.GatewayEndpoint, routers []spokev1alpha1.LocalRouter) string {
	for _, e := range endpoints {
		for _, r := range routers {
			serves := slices.ContainsFunc(r.Status.Gateways, func(g spokev1alpha1.RouterGateway) bool { return g.Node == e.Node && g.ObservedGeneration > 0 })
			if r.DeletionTimestamp == nil && !serves {
				return fmt.Sprintf("gateway node %s does not serve router %s yet", e.Node, r.Name)
			}
		}
	}
	return ""
}

// reportEndpoints are the nodes that are labelled as gateways and whose agent has told their address.
func reportEndpoints(nodes []corev1.Node) []spokev1alpha1.ReportedEndpoint {
	var endpoints []spokev1alpha1.ReportedEndpoint
	for _, node := range nodes {
		address, err := netip.ParseAddr(node.Annotations[local.AnnotationGatewayEndpoint])
		if node.Labels[local.LabelGateway] != "true" || err != nil || !address.Is4() {
			continue
		}
		endpoint := spokev1alpha1.ReportedEndpoint{Node: node.Name, Address: address.String()}
		endpoint.PublicKey, endpoint.WireGuardPort = reportKey(node.Annotations)
		endpoints = append(endpoints, endpoint)
	}
	slices.SortFunc(endpoints, func(a, b spokev1alpha1.ReportedEndpoint) int { return strings.Compare(a.Node, b.Node) })
	return endpoints
}

// reportNodes are the nodes that pods send by; none when there are more than other clusters' nodes can know.
func reportNodes(nodes []corev1.Node) []spokev1alpha1.ClusterNode {
	all := announced(nodes)
	if len(all) > spokev1alpha1.MaxNodes {
		return nil
	}
	return all
}

// announced are the nodes whose agent has told that pods send by them.
func announced(nodes []corev1.Node) []spokev1alpha1.ClusterNode {
	var all []spokev1alpha1.ClusterNode
	for _, node := range nodes {
		address, err := netip.ParseAddr(node.Annotations[local.AnnotationNodeEndpoint])
		if err != nil || !address.Is4() {
			continue
		}
		all = append(all, spokev1alpha1.ClusterNode{Node: node.Name, Address: address.String()})
	}
	slices.SortFunc(all, func(a, b spokev1alpha1.ClusterNode) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// reportKey is what the node's agent has told of its WireGuard. What the hub's API would refuse is left out, so that it
// does not keep the rest from being reported.
func reportKey(annotations map[string]string) (spokev1alpha1.PublicKey, int32) {
	key, err := wireguard.ParsePublicKey(annotations[local.AnnotationGatewayPublicKey])
	port, portErr := strconv.ParseUint(annotations[local.AnnotationGatewayWireGuardPort], 10, 16)
	if err != nil || portErr != nil || port == 0 {
		return "", 0
	}
	return spokev1alpha1.PublicKey(key.String()), int32(port)
}

// reportReserved are the ranges that the operator named and the nodes' pod ranges. IPv6 is none of ours yet.
func reportReserved(nodes []corev1.Node, reserved []string) []string {
	cidrs := slices.Clone(reserved)
	for _, node := range nodes {
		for _, text := range node.Spec.PodCIDRs {
			if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is4() {
				cidrs = append(cidrs, prefix.Masked().String())
			}
		}
	}
	slices.Sort(cidrs)
	return slices.Compact(cidrs)
}
