// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

const (
	// slowLeave is how long a cluster may take to leave before somebody should look.
	slowLeave = 10 * time.Minute
	// slowRealize is how long an agent may be behind.
	slowRealize = 2 * time.Minute
)

// members are the clusters that take part: accepted and not leaving.
func members(f *facts.Facts) []*clusterv1.ManagedCluster {
	var found []*clusterv1.ManagedCluster
	for i := range f.ManagedClusters {
		if c := &f.ManagedClusters[i]; c.Spec.HubAcceptsClient && c.DeletionTimestamp == nil {
			found = append(found, c)
		}
	}
	return found
}

func clustersAccepted(f *facts.Facts) []Finding {
	var findings []Finding
	if len(f.ManagedClusters) == 0 {
		findings = append(findings, warning("fleet", "it has no clusters", "kubectl tombolo join, or join one with Open Cluster Management"))
	}
	for i := range f.ManagedClusters {
		c := &f.ManagedClusters[i]
		subject := "cluster " + c.Name
		if !c.Spec.HubAcceptsClient && c.DeletionTimestamp == nil {
			findings = append(findings, warning(subject, "asks to join, and nobody has accepted it", "kubectl patch managedcluster "+c.Name+` --type=merge -p '{"spec":{"hubAcceptsClient":true}}' (if it is yours)`))
			continue
		}
		available := meta.FindStatusCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionAvailable)
		if !facts.ByToken(c) && available != nil && available.Status != metav1.ConditionTrue {
			findings = append(findings, failed(subject, "OCM does not hear it: "+available.Reason+": "+available.Message,
				"look at the klusterlet's agents there (namespace open-cluster-management-agent), and at its way to this hub; its packets go on meanwhile"))
		}
	}
	return findings
}

func agentsReported(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		subject := "cluster " + c.Name
		gateway := f.Gateway(c.Name)
		switch {
		case gateway == nil:
			findings = append(findings, failed(subject, "the hub has not made its InterconnectGateway", "is there a namespace "+c.Name+" on the hub? Look at the hub's logs"))
		case gateway.Status.ObservedGeneration == 0 && len(gateway.Status.Conditions) == 0:
			findings = append(findings, failed(subject, "no agent has ever reported", "install the agent there (kubectl tombolo join "+c.Name+", or the add-on); then kubectl tombolo diagnose with its context"))
		}
	}
	return findings
}

// agentsAlive: the hub sees agents renew their leases, and says in a condition when it does not.
func agentsAlive(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.ManagedClusters { // those that leave, too: they are waited for
		c := &f.ManagedClusters[i]
		gateway := f.Gateway(c.Name)
		if gateway == nil || !c.Spec.HubAcceptsClient {
			continue
		}
		alive := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionAgentAlive)
		if alive == nil || alive.Status == metav1.ConditionTrue {
			continue
		}
		cause := "its agent is silent: it has stopped, or can't reach the hub"
		if heard := f.Heard(c.Name); !heard.IsZero() {
			cause += "; it was last heard " + f.Clock().Sub(heard).Round(time.Second).String() + " ago"
		}
		findings = append(findings, failed("cluster "+c.Name, cause+". It keeps its addresses, and packets go on as they are programmed",
			"kubectl tombolo diagnose with its context: does deployment "+facts.AgentDeployment+" run, and does it reach the hub? If the cluster is gone for good: kubectl tombolo leave "+c.Name+" --gone --detach"))
	}
	return findings
}

func agentsCurrent(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		gateway := f.Gateway(c.Name)
		if gateway == nil || gateway.Status.ObservedGeneration == 0 {
			continue // said before
		}
		if gateway.Status.ObservedGeneration < gateway.Generation && f.Clock().Sub(lastSpecChange(gateway)) > slowRealize {
			findings = append(findings, warning("cluster "+c.Name, fmt.Sprintf("has realized generation %d of %d of its InterconnectGateway", gateway.Status.ObservedGeneration, gateway.Generation),
				"kubectl tombolo diagnose with its context: the agent does not reach the hub, or can't program its nodes"))
		}
	}
	return findings
}

// lastSpecChange is when anybody last wrote the object itself, its status apart.
func lastSpecChange(object metav1.Object) time.Time {
	changed := object.GetCreationTimestamp().Time
	for _, fields := range object.GetManagedFields() {
		if fields.Subresource == "" && fields.Time != nil && fields.Time.After(changed) {
			changed = fields.Time.Time
		}
	}
	return changed
}

func versionSkew(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		gateway := f.Gateway(c.Name)
		if gateway == nil || gateway.Status.AgentVersion == "" {
			continue
		}
		subject, agent, hub := "cluster "+c.Name, gateway.Status.AgentVersion, gateway.Spec.HubVersion
		supported, err := version.Supported(hub, agent)
		switch {
		case err != nil:
			findings = append(findings, warning(subject, err.Error(), "install released versions"))
		case !supported:
			findings = append(findings, failed(subject, fmt.Sprintf("its agent is %s, newer than the hub's %s", agent, hub), "upgrade the hub: helm upgrade tombolo-hub"))
		case agent != hub:
			findings = append(findings, warning(subject, fmt.Sprintf("its agent is %s, the hub %s", agent, hub), "upgrade the agent: helm upgrade tombolo-spoke-agent (the add-on does it by itself)"))
		}
	}
	return findings
}

func clusterClocks(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		if synced := falseCondition(c.Status.Conditions, clusterv1.ManagedClusterConditionClockSynced); synced != nil {
			findings = append(findings, failed("cluster "+c.Name, synced.Message, "set the clocks of its nodes (NTP): certificates are refused"))
		}
		lease := f.Lease(c.Name, facts.ClusterLease)
		if lease == nil || lease.Spec.RenewTime == nil {
			continue
		}
		if ahead := lease.Spec.RenewTime.Sub(f.Clock()); ahead > maxSkew {
			findings = append(findings, failed("cluster "+c.Name, fmt.Sprintf("its clock is %s ahead of the hub's", ahead.Round(time.Second)), "set the clocks of its nodes (NTP): certificates are refused"))
		}
	}
	return findings
}

func gatewaysPresent(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		gateway := f.Gateway(c.Name)
		if gateway == nil || gateway.Status.ObservedGeneration == 0 && len(gateway.Status.Conditions) == 0 {
			continue // said before
		}
		findings = append(findings, endpointFindings("cluster "+c.Name, gateway)...)
	}
	return findings
}

// endpointFindings are what is wrong with a cluster's gateways as the others know them. What the hub refuses may be an error of that cluster, or a
// lie: the message says what is whose, and what to do.
func endpointFindings(subject string, gateway *spokev1alpha1.InterconnectGateway) []Finding {
	var refused []Finding
	for _, r := range gateway.Spec.Refused {
		refused = append(refused, failed(subject, fmt.Sprintf("reports node %s with address %s, and the hub refuses that: %s", r.Node, r.Address, r.Reason), r.Message))
	}
	if len(refused) > 0 {
		return refused
	}
	reported := len(gateway.Status.Endpoints)
	switch {
	case len(gateway.Status.Gateways) == 0 && reported == 0:
		return []Finding{warning(subject, "has no gateway node: its Vpcs reach no other cluster", "kubectl label node NAME "+facts.LabelGateway+"=true (two nodes or more, for failover)")}
	case reported == 0:
		return []Finding{failed(subject, "its gateway nodes announce no address", "see the conditions of its gateway nodes; --endpoint-interface (chart: node.endpointInterface) names the interface to the other clusters")}
	case len(gateway.Spec.Endpoints) == 0:
		return []Finding{failed(subject, fmt.Sprintf("reports %d gateway nodes, and the hub approves none", reported), "look at the hub's logs and events: another cluster may have reported the same addresses")}
	}
	return nil
}

func gatewayNodes(f *facts.Facts) []Finding {
	var findings []Finding
	for _, c := range members(f) {
		if gateway := f.Gateway(c.Name); gateway != nil {
			findings = append(findings, nodeFindings("cluster "+c.Name+", ", gateway)...)
		}
	}
	return findings
}

// nodeFindings are what the gateway nodes of a cluster say of themselves. What packets stop for is a failure.
func nodeFindings(prefix string, gateway *spokev1alpha1.InterconnectGateway) []Finding {
	var findings []Finding
	for _, node := range gateway.Status.Gateways {
		for _, condition := range node.Conditions {
			if condition.Status != metav1.ConditionFalse || condition.Type == spokev1alpha1.ConditionMTUSufficient {
				continue // MTU has a check of its own
			}
			finding := warning
			if condition.Type == spokev1alpha1.ConditionDataPathReady || condition.Type == spokev1alpha1.ConditionEncryptionReady {
				finding = failed
			}
			findings = append(findings, finding(prefix+"node "+node.Node, condition.Type+"="+condition.Reason+": "+condition.Message, "the message has it; docs/architecture.md#what-keeps-a-node-from-serving"))
		}
	}
	return findings
}

func leavingStuck(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.ManagedClusters {
		c := &f.ManagedClusters[i]
		gateway := f.Gateway(c.Name)
		since := leavingSince(f, c, gateway)
		if since.IsZero() {
			continue
		}
		took := f.Clock().Sub(since)
		if took < slowLeave {
			continue
		}
		state := "leaving"
		if gateway != nil && gateway.Spec.Membership != "" {
			state = string(gateway.Spec.Membership)
		}
		findings = append(findings, failed("cluster "+c.Name, fmt.Sprintf("is %s for %s", state, took.Round(time.Minute)),
			"kubectl tombolo leave "+c.Name+" --wait says who is still to confirm; if it will never answer: kubectl tombolo leave "+c.Name+" --gone"))
	}
	return findings
}

// leavingSince is when a cluster began to leave; zero when it does not.
func leavingSince(f *facts.Facts, c *clusterv1.ManagedCluster, gateway *spokev1alpha1.InterconnectGateway) time.Time {
	if c.DeletionTimestamp != nil {
		return c.DeletionTimestamp.Time
	}
	if addOn := f.AddOn(c.Name); addOn != nil && addOn.DeletionTimestamp != nil {
		return addOn.DeletionTimestamp.Time
	}
	if gateway == nil {
		return time.Time{}
	}
	leaving := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionLeaving)
	if leaving != nil && leaving.Status == metav1.ConditionTrue && gateway.Spec.Membership != spokev1alpha1.MembershipDrained {
		return leaving.LastTransitionTime.Time
	}
	return time.Time{}
}

func addOnsAvailable(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.AddOns {
		addOn := &f.AddOns[i]
		if addOn.DeletionTimestamp != nil {
			continue
		}
		subject := "ManagedClusterAddOn " + key(addOn)
		available := meta.FindStatusCondition(addOn.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionAvailable)
		switch {
		case available == nil:
			findings = append(findings, warning(subject, "says nothing of its health", "kubectl -n "+addOn.Namespace+" get managedclusteraddon "+addOn.Name+" -o yaml: is it registered and configured?"))
		case available.Status != metav1.ConditionTrue:
			findings = append(findings, failed(subject, available.Reason+": "+available.Message, "look at its ManifestWorks (kubectl -n "+addOn.Namespace+" get manifestworks), then kubectl tombolo diagnose with the cluster's context"))
		}
		if c := meta.FindStatusCondition(addOn.Status.Conditions, addonv1alpha1.ManagedClusterAddOnConditionDegraded); c != nil && c.Status == metav1.ConditionTrue {
			findings = append(findings, warning(subject, c.Reason+": "+c.Message, "do what the message says"))
		}
	}
	return findings
}
