// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// clusters of the fleet, as the hub knows them.
func clusters(f *facts.Facts) []Cluster {
	found := []Cluster{}
	for i := range f.ManagedClusters {
		managed := &f.ManagedClusters[i]
		gateway := f.Gateway(managed.Name)
		c := Cluster{Name: managed.Name, Joined: joined(f, managed), Gateways: []string{}, Heard: heard(f, managed.Name)}
		if gateway != nil {
			describe(&c, gateway)
		}
		c.Why = clusterWhy(managed, gateway)
		found = append(found, c)
	}
	return found
}

func describe(c *Cluster, gateway *spokev1alpha1.InterconnectGateway) {
	c.Membership = string(membership(gateway))
	c.AgentVersion = gateway.Status.AgentVersion
	for _, endpoint := range gateway.Spec.Endpoints {
		c.Gateways = append(c.Gateways, endpoint.Node)
	}
	slices.Sort(c.Gateways)
}

func membership(gateway *spokev1alpha1.InterconnectGateway) spokev1alpha1.Membership {
	if gateway.Spec.Membership == "" {
		return spokev1alpha1.MembershipMember
	}
	return gateway.Spec.Membership
}

func heard(f *facts.Facts, cluster string) *time.Time {
	if at := f.Heard(cluster); !at.IsZero() {
		return new(at.UTC())
	}
	return nil
}

func joined(f *facts.Facts, managed *clusterv1.ManagedCluster) string {
	switch {
	case !managed.Spec.HubAcceptsClient:
		return "no"
	case f.AddOn(managed.Name) != nil:
		return "add-on"
	case facts.ByToken(managed):
		return "token"
	}
	return "manual"
}

// clusterWhy is how well a cluster is: the first thing that is wrong on the way from joining to packets.
func clusterWhy(managed *clusterv1.ManagedCluster, gateway *spokev1alpha1.InterconnectGateway) Why {
	switch {
	case managed.DeletionTimestamp != nil:
		return Why{State: terminal.Waiting, Reason: "Leaving", Message: leavingMessage(managed, gateway)}
	case !managed.Spec.HubAcceptsClient:
		return Why{State: terminal.Waiting, Reason: "NotAccepted", Message: "nobody has accepted the cluster: set spec.hubAcceptsClient of its ManagedCluster"}
	case gateway == nil:
		return Why{State: terminal.Waiting, Reason: "NoAgent", Message: "the hub has not made its InterconnectGateway yet"}
	case membership(gateway) != spokev1alpha1.MembershipMember:
		return Why{State: terminal.Waiting, Reason: "Leaving", Message: "it is leaving: " + string(gateway.Spec.Membership)}
	case len(gateway.Status.Conditions) == 0 && gateway.Status.ObservedGeneration == 0:
		return Why{State: terminal.Waiting, Reason: "NoAgent", Message: "no agent has reported: install it (docs/install.md), or look at its pods there"}
	}
	if facts.ByToken(managed) {
		return gatewayWhy(nil, gateway)
	}
	return gatewayWhy(managed.Status.Conditions, gateway)
}

func leavingMessage(managed *clusterv1.ManagedCluster, gateway *spokev1alpha1.InterconnectGateway) string {
	if slices.Contains(managed.Finalizers, facts.DrainFinalizer) {
		state := spokev1alpha1.MembershipDraining
		if gateway != nil {
			state = membership(gateway)
		}
		return fmt.Sprintf("it is being deleted and %s: if it will never answer, kubectl tombolo leave %s --gone", state, managed.Name)
	}
	return "it is being deleted"
}

// gatewayWhy is how well the agent of a cluster is.
func gatewayWhy(fleet []metav1.Condition, gateway *spokev1alpha1.InterconnectGateway) Why {
	if c := meta.FindStatusCondition(fleet, clusterv1.ManagedClusterConditionAvailable); c != nil && c.Status != metav1.ConditionTrue {
		return Why{State: terminal.Failed, Reason: c.Reason, Message: "not heard: " + c.Message}
	}
	if c := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionAgentAlive); c != nil && c.Status != metav1.ConditionTrue {
		return Why{State: terminal.Failed, Reason: c.Reason, Message: c.Message}
	}
	for _, kind := range []string{spokev1alpha1.ConditionHubTrusted, spokev1alpha1.ConditionVersionSupported, spokev1alpha1.ConditionDataPathReady, spokev1alpha1.ConditionProgrammed} {
		if c := meta.FindStatusCondition(gateway.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			state := terminal.Failed
			if spokev1alpha1.Waiting(c.Reason) {
				state = terminal.Waiting
			}
			return Why{State: state, Reason: c.Reason, Message: c.Message}
		}
	}
	if c := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionDataPathReady); c != nil && c.Reason != spokev1alpha1.ReasonReady {
		return Why{State: terminal.Waiting, Reason: c.Reason, Message: c.Message} // it works, with a restriction
	}
	return Why{State: terminal.Well}
}

// self is the cluster itself, by its copies.
func self(f *facts.Facts) []Cluster {
	own := f.Own()
	if own == nil {
		return []Cluster{{Gateways: []string{}, Joined: "no", Why: Why{State: terminal.Waiting, Reason: "NoCopies",
			Message: "there is no copy of what the hub says: the agent has not reached the hub (kubectl tombolo diagnose)"}}}
	}
	c := Cluster{Name: own.Spec.Cluster, Joined: "yes", Gateways: []string{}}
	describe(&c, own)
	c.Why = gatewayWhy(nil, own)
	if membership(own) != spokev1alpha1.MembershipMember {
		c.Why = Why{State: terminal.Waiting, Reason: "Leaving", Message: "it is leaving: " + string(own.Spec.Membership)}
	}
	return []Cluster{c}
}
