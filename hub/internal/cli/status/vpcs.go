// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// passing are reasons of conditions that pass by themselves, or wait for a person who need not answer.
var passing = map[string]bool{
	networkv1alpha1.ReasonWaitingForClusters: true, networkv1alpha1.ReasonPendingAcceptance: true,
	networkv1alpha1.ReasonProbing: true, networkv1alpha1.ReasonDeleting: true,
}

// chain is how far an object has come. The first condition that is not True is why it is not well; those after it follow from it.
var chain = []string{
	networkv1alpha1.ConditionAccepted, networkv1alpha1.ConditionAllocated, networkv1alpha1.ConditionProgrammed,
	networkv1alpha1.ConditionEncrypted, networkv1alpha1.ConditionVerified,
}

// conditionsWhy is how well an object with conditions is. Not every object has each of them: needed are those that it can't be well without.
func conditionsWhy(object metav1.Object, conditions []metav1.Condition, needed ...string) Why {
	if object.GetDeletionTimestamp() != nil {
		return Why{State: terminal.Waiting, Reason: networkv1alpha1.ReasonDeleting, Message: "it is being deleted, and waits until no cluster has it any more"}
	}
	for _, kind := range chain {
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil || c.Status == metav1.ConditionTrue {
			continue
		}
		state := terminal.Failed
		if passing[c.Reason] || c.Status == metav1.ConditionUnknown {
			state = terminal.Waiting
		}
		return Why{State: state, Reason: c.Reason, Message: c.Message}
	}
	for _, kind := range needed {
		if meta.FindStatusCondition(conditions, kind) == nil {
			return Why{State: terminal.Waiting, Reason: "NotPlanned", Message: "the hub has not answered yet: is it running? (kubectl tombolo diagnose)"}
		}
	}
	return Why{State: terminal.Well}
}

func vpcs(list []networkv1alpha1.Vpc) []Vpc {
	found := []Vpc{}
	for i := range list {
		vpc := &list[i]
		v := Vpc{Namespace: vpc.Namespace, Name: vpc.Name, VNI: vpc.Status.VNI, Clusters: []string{},
			Why: conditionsWhy(vpc, vpc.Status.Conditions, networkv1alpha1.ConditionAccepted, networkv1alpha1.ConditionProgrammed)}
		for _, cluster := range vpc.Status.Clusters {
			v.Clusters = append(v.Clusters, string(cluster.Name))
			if !cluster.Programmed {
				v.Pending = append(v.Pending, string(cluster.Name))
			}
		}
		found = append(found, v)
	}
	return found
}

// routers are the Vpcs that have a router in this cluster, by its copies.
func routers(f *facts.Facts) []Vpc {
	found := []Vpc{}
	for i := range f.Routers {
		router := &f.Routers[i]
		v := Vpc{Namespace: router.Spec.Vpc.Namespace, Name: router.Spec.Vpc.Name, VNI: router.Spec.Vpc.VNI, Clusters: clustersOf(router), Why: routerWhy(router)}
		found = append(found, v)
	}
	return found
}

// clustersOf are the other clusters that a router has prefixes of.
func clustersOf(router *spokev1alpha1.LocalRouter) []string {
	names := []string{}
	seen := map[string]bool{}
	for _, remote := range router.Spec.Remotes {
		if !seen[remote.Cluster] {
			seen[remote.Cluster] = true
			names = append(names, remote.Cluster)
		}
	}
	return names
}

func routerWhy(router *spokev1alpha1.LocalRouter) Why {
	if router.DeletionTimestamp != nil {
		return Why{State: terminal.Waiting, Reason: networkv1alpha1.ReasonDeleting, Message: "it is being removed; held by " + strings.Join(router.Finalizers, ", ")}
	}
	c := meta.FindStatusCondition(router.Status.Conditions, spokev1alpha1.ConditionProgrammed)
	switch {
	case c == nil:
		return Why{State: terminal.Waiting, Reason: spokev1alpha1.ReasonWaitingForOVN, Message: "the agent has not come to it yet"}
	case c.Status != metav1.ConditionTrue && spokev1alpha1.Waiting(c.Reason):
		return Why{State: terminal.Waiting, Reason: c.Reason, Message: c.Message}
	case c.Status != metav1.ConditionTrue:
		return Why{State: terminal.Failed, Reason: c.Reason, Message: c.Message}
	}
	for _, probe := range router.Status.Probes {
		if !probe.Reachable {
			return Why{State: terminal.Failed, Reason: networkv1alpha1.ReasonProbeFailed,
				Message: fmt.Sprintf("gateway node %s gets no answer from Vpc %s in cluster %s", probe.Node, probe.Vpc, probe.Cluster)}
		}
	}
	return Why{State: terminal.Well}
}

func peerings(list []networkv1alpha1.VpcPeering) []Peering {
	found := []Peering{}
	for i := range list {
		p := &list[i]
		namespace := string(p.Spec.PeerVpc.Namespace)
		if namespace == "" {
			namespace = p.Namespace
		}
		found = append(found, Peering{
			Namespace: p.Namespace, Name: p.Name, Phase: string(p.Status.State),
			Vpc: p.Namespace + "/" + p.Spec.Vpc, Peer: namespace + "/" + p.Spec.PeerVpc.Name,
			Why: conditionsWhy(p, p.Status.Conditions, networkv1alpha1.ConditionAccepted, networkv1alpha1.ConditionProgrammed, networkv1alpha1.ConditionVerified),
		})
	}
	return found
}

// tunnels between clusters. A hub that is a spoke too has its own copies beside the fleet's objects: those are the same.
func tunnels(f *facts.Facts) []Tunnel {
	var found []Tunnel
	for i := range f.Gateways {
		gateway := &f.Gateways[i]
		if f.Hub == (gateway.Namespace == facts.Namespace) {
			continue
		}
		for _, t := range gateway.Status.Tunnels {
			found = append(found, Tunnel{From: gateway.Spec.Cluster, Node: t.Node, To: t.Cluster, RTTMicroseconds: t.RTTMicroseconds,
				LossPermille: t.LossPermille, PathMTU: t.PathMTU, Why: tunnelWhy(t)})
		}
	}
	return found
}

func tunnelWhy(t spokev1alpha1.Tunnel) Why {
	switch {
	case !t.Reachable:
		return Why{State: terminal.Failed, Reason: "Unreachable", Message: fmt.Sprintf("a gateway of %s does not answer node %s since %s", t.Cluster, t.Node, t.LastTransitionTime.UTC().Format("2006-01-02 15:04:05Z"))}
	case t.LossPermille >= lossy:
		return Why{State: terminal.Waiting, Reason: "Lossy", Message: fmt.Sprintf("%.1f %% of the echoes to %s are lost", float64(t.LossPermille)/10, t.Cluster)}
	}
	return Why{State: terminal.Well}
}
