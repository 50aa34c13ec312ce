// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

const (
	groupHub       = "Hub"
	groupAddresses = "Addresses"
	groupFleet     = "Clusters"
	groupTraffic   = "Traffic"
)

// fullPercent is how full a pool is when somebody should think of another.
const fullPercent = 90

// hubChecks are in the order in which a person would look: what comes first makes what follows fail.
var hubChecks = []check{
	{groupHub, "the hub's pods are ready", []string{needDeployments}, deploymentReady(facts.HubDeployment, "tombolo-hub")},
	{groupHub, "the hub has a leader, which works", []string{needLeases}, hubLeader},
	{groupHub, "the hub holds nothing back", []string{"fleets"}, nothingHeld},

	{groupAddresses, "there are pools of VNIs and of links", []string{"ippools"}, poolsPresent},
	{groupAddresses, "pools are accepted, and have room", []string{"ippools"}, poolsRoom},
	{groupAddresses, "no Vpc or Subnet is refused", []string{"vpcs", "subnets"}, refused},

	{groupFleet, "clusters are accepted, and OCM hears them", []string{"managedclusters"}, clustersAccepted},
	{groupFleet, "every cluster's agent has reported", []string{"managedclusters", "interconnectgateways"}, agentsReported},
	{groupFleet, "every agent that has reported is still heard", []string{"managedclusters", "interconnectgateways"}, agentsAlive},
	{groupFleet, "agents have realized what the hub said last", []string{"interconnectgateways"}, agentsCurrent},
	{groupFleet, "versions of hub and agents fit", []string{"interconnectgateways"}, versionSkew},
	{groupFleet, "clocks of clusters agree with the hub's", []string{"managedclusters", "leases of clusters"}, clusterClocks},
	{groupFleet, "every cluster has gateway nodes", []string{"interconnectgateways"}, gatewaysPresent},
	{groupFleet, "gateway nodes are well", []string{"interconnectgateways"}, gatewayNodes},
	{groupFleet, "no cluster is stuck while it leaves", []string{"managedclusters", "interconnectgateways", "localrouters"}, leavingStuck},
	{groupFleet, "the add-on is available where it is installed", []string{"managedclusteraddons"}, addOnsAvailable},
	{groupFleet, "the add-on's Placements choose clusters", []string{"clustermanagementaddons", "placements", "placementdecisions"}, addOnPlacements},
	{groupFleet, "Vpcs' Placements choose clusters", []string{"vpcs", "placements", "placementdecisions"}, vpcPlacements},

	{groupTraffic, "Vpcs are programmed everywhere", []string{"vpcs"}, vpcsProgrammed},
	{groupTraffic, "peerings carry packets", []string{"vpcpeerings"}, peeringsWell},
	{groupTraffic, "tunnels between clusters answer, without loss", []string{"interconnectgateways"}, hubTunnels},
	{groupTraffic, "pods' largest packets fit the underlay", []string{"interconnectgateways"}, hubMTU},
}

// hubLeader: a hub without replicas to choose from may run without election.
func hubLeader(f *facts.Facts) []Finding {
	if d := f.Deployment(facts.HubDeployment); d == nil || d.Status.ReadyReplicas == 0 {
		return nil // the check before this one has said it
	}
	return leaderFresh(facts.HubDeployment)(f)
}

func nothingHeld(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.Fleets {
		c := meta.FindStatusCondition(f.Fleets[i].Status.Conditions, networkv1alpha1.ConditionFrozen)
		if c != nil && c.Status == metav1.ConditionTrue {
			findings = append(findings, failed("Fleet", c.Reason+": "+c.Message, "look at it with kubectl tombolo confirm; undo the cause, or confirm it"))
		}
	}
	return findings
}

func poolsPresent(f *facts.Facts) []Finding {
	var findings []Finding
	for _, purpose := range []networkv1alpha1.IPPoolPurpose{networkv1alpha1.PurposeVNI, networkv1alpha1.PurposeLink} {
		found := false
		for i := range f.Pools {
			found = found || f.Pools[i].Spec.Purpose == purpose
		}
		if !found {
			findings = append(findings, failed("IPPools", fmt.Sprintf("there is none of purpose %s: no Vpc can be allocated", purpose),
				"make one (docs/install.md has an example)"))
		}
	}
	return findings
}

func poolsRoom(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.Pools {
		pool := &f.Pools[i]
		subject := "IPPool " + pool.Name
		switch status := &pool.Status; {
		case falseCondition(status.Conditions, networkv1alpha1.ConditionAccepted) != nil:
			findings = append(findings, failed(subject, falseCondition(status.Conditions, networkv1alpha1.ConditionAccepted).Message, "change its ranges so that no pool overlaps another"))
		case falseCondition(status.Conditions, networkv1alpha1.ConditionAvailable) != nil:
			findings = append(findings, failed(subject, falseCondition(status.Conditions, networkv1alpha1.ConditionAvailable).Message, "add a range to it, or another pool of purpose "+string(pool.Spec.Purpose)))
		case status.Capacity > 0 && status.Allocated*100 >= status.Capacity*fullPercent:
			findings = append(findings, warning(subject, fmt.Sprintf("%d of %d are handed out", status.Allocated, status.Capacity), "add a range to it, or another pool of purpose "+string(pool.Spec.Purpose)))
		}
	}
	return findings
}

// refused are Vpcs and Subnets that can't be: overlapping CIDRs above all.
func refused(f *facts.Facts) []Finding {
	var findings []Finding
	add := func(kind string, object metav1.Object, conditions []metav1.Condition) {
		for _, kindOf := range []string{networkv1alpha1.ConditionAccepted, networkv1alpha1.ConditionAllocated} {
			if c := falseCondition(conditions, kindOf); c != nil && object.GetDeletionTimestamp() == nil {
				findings = append(findings, failed(kind+" "+key(object), c.Reason+": "+c.Message, cureOf(c.Reason)))
				return
			}
		}
	}
	for i := range f.Vpcs {
		add("Vpc", &f.Vpcs[i], f.Vpcs[i].Status.Conditions)
	}
	for i := range f.Subnets {
		add("Subnet", &f.Subnets[i], f.Subnets[i].Status.Conditions)
	}
	return findings
}

// cures by the reason of a condition. What is not here has the cure in its message.
var cures = map[string]string{
	networkv1alpha1.ReasonOverlappingCIDRs:   "give one of the two another CIDR; or end the peering that needs them apart",
	networkv1alpha1.ReasonPoolExhausted:      "add a range to the pool, or make another of that purpose",
	networkv1alpha1.ReasonPoolNotFound:       "make the IPPool, or name another",
	networkv1alpha1.ReasonClusterNotFound:    "accept the cluster (spec.hubAcceptsClient of its ManagedCluster), or take it out of spec.clusters",
	networkv1alpha1.ReasonNoClusters:         "label a cluster so that it is selected, or name one in spec.clusters.names",
	networkv1alpha1.ReasonPendingAcceptance:  "the other tenant answers in spec.peeringDecisions of its Vpc",
	networkv1alpha1.ReasonRejected:           "ask the other tenant, or delete the peering",
	networkv1alpha1.ReasonDuplicatePeering:   "delete this one: the other joins the same Vpcs",
	networkv1alpha1.ReasonVpcNotFound:        "make the Vpc, or delete the peering",
	networkv1alpha1.ReasonClusterError:       "kubectl tombolo diagnose in the cluster that the message names",
	networkv1alpha1.ReasonWaitingForClusters: "if it stays, kubectl tombolo diagnose in the cluster that the message names",
	networkv1alpha1.ReasonProbeFailed:        "look at tunnels and gateway nodes of both clusters, and at firewalls between their nodes (UDP 4789)",
	networkv1alpha1.ReasonProbing:            "wait a few seconds; if it stays, kubectl tombolo diagnose in both clusters",
	networkv1alpha1.ReasonKeyMissing:         "kubectl tombolo diagnose in the cluster whose gateways have no key",
	networkv1alpha1.ReasonDeleting:           "if it stays, a cluster does not answer: see the checks of clusters",
	networkv1alpha1.ReasonVpcNotAccepted:     "see what is said of the Vpc",
}

func cureOf(reason string) string {
	if cure, found := cures[reason]; found {
		return cure
	}
	return "do what the message says"
}

// falseCondition is the condition when it is False.
func falseCondition(conditions []metav1.Condition, kind string) *metav1.Condition {
	if c := meta.FindStatusCondition(conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
		return c
	}
	return nil
}

func key(object metav1.Object) string {
	if object.GetNamespace() == "" {
		return object.GetName()
	}
	return object.GetNamespace() + "/" + object.GetName()
}

func vpcPlacements(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.Vpcs {
		vpc := &f.Vpcs[i]
		if name := vpc.Spec.Clusters.Placement; name != "" {
			findings = append(findings, placementFinding(f, "Vpc "+key(vpc), vpc.Namespace, name)...)
		}
	}
	return findings
}

func addOnPlacements(f *facts.Facts) []Finding {
	if f.ManagementAddOn == nil {
		return nil // clusters come in by token
	}
	var findings []Finding
	for _, p := range f.ManagementAddOn.Spec.InstallStrategy.Placements {
		findings = append(findings, placementFinding(f, "ClusterManagementAddOn "+facts.AddOn, p.Namespace, p.Name)...)
	}
	return findings
}

// placementFinding says why a Placement chooses nothing.
func placementFinding(f *facts.Facts, by, namespace, name string) []Finding {
	placement := findPlacement(f, namespace, name)
	subject := "Placement " + namespace + "/" + name
	if placement == nil {
		return []Finding{failed(subject, "is not there, and "+by+" follows it", "make it, or name another")}
	}
	if len(Decided(f.Decisions, namespace, name)) > 0 {
		return nil
	}
	why := "chooses no cluster, and " + by + " follows it"
	if c := meta.FindStatusCondition(placement.Status.Conditions, clusterv1beta1.PlacementConditionSatisfied); c != nil && c.Status != metav1.ConditionTrue {
		why += ": " + c.Reason + ": " + c.Message
	}
	return []Finding{warning(subject, strings.TrimSuffix(why, ": "), "bind a ManagedClusterSet to namespace "+namespace+" (ManagedClusterSetBinding), and look at the labels that its predicates ask for")}
}

func findPlacement(f *facts.Facts, namespace, name string) *clusterv1beta1.Placement {
	for i := range f.Placements {
		if f.Placements[i].Namespace == namespace && f.Placements[i].Name == name {
			return &f.Placements[i]
		}
	}
	return nil
}

// Decided are the clusters that a Placement has chosen.
func Decided(decisions []clusterv1beta1.PlacementDecision, namespace, placement string) []string {
	selector := labels.SelectorFromSet(labels.Set{clusterv1beta1.PlacementLabel: placement})
	var chosen []string
	for i := range decisions {
		if decisions[i].Namespace != namespace || !selector.Matches(labels.Set(decisions[i].Labels)) {
			continue
		}
		for _, decision := range decisions[i].Status.Decisions {
			chosen = append(chosen, decision.ClusterName)
		}
	}
	return chosen
}
