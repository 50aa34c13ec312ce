// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/status"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const (
	groupAgent   = "Agent"
	groupUplink  = "Way to the hub"
	groupNodes   = "Nodes"
	groupPods    = "Pods"
	groupCarries = "Traffic of this cluster"
)

const (
	// minKernel has tcx, by which programs are attached.
	minKernel = "6.6.0"
	// slowPod is how long a pod may wait for its address.
	slowPod = time.Minute
	// recently is how old an event may be.
	recently = time.Hour
	// lateRenewal: a certificate is renewed when a fifth of its life is left at the latest.
	lateRenewal = 5
	// showAtMost findings of one kind: a broken cluster has thousands of pods that wait.
	showAtMost = 10
)

// clusterChecks are in the order in which a person would look: what comes first makes what follows fail.
var clusterChecks = []check{
	{groupAgent, "the agent that speaks for the cluster is ready", []string{needDeployments}, deploymentReady(facts.AgentDeployment, "tombolo-spoke-agent")},
	{groupAgent, "one of its replicas works", []string{needLeases}, agentLeader},
	{groupAgent, "it renews the lease by which OCM tells its health, where OCM looks", []string{needLeases}, addOnLease},
	{groupAgent, "every node's agent is ready", []string{needDaemonSets}, daemonSetReady},
	{groupAgent, "agents have complained of nothing in the last hour", []string{"events"}, agentEvents},

	{groupUplink, "the agent has an identity on the hub, and it is valid", []string{"secrets in " + facts.Namespace}, identityValid},
	{groupUplink, "copies of what the hub says are here", []string{"interconnectgateways"}, copiesPresent},
	{groupUplink, "hub and agent are of versions that fit", []string{"interconnectgateways"}, ownVersion},
	{groupUplink, "the cluster takes part", []string{"interconnectgateways"}, ownMembership},

	{groupNodes, "kernels are new enough", []string{"nodes"}, kernels},
	{groupNodes, "there are gateway nodes, which announce themselves", []string{"nodes"}, gatewayLabels},
	{groupNodes, "gateway nodes are well", []string{"interconnectgateways"}, ownNodes},

	{groupPods, "pods of Vpcs have their addresses", []string{"pods", "namespaces"}, podsAttached},
	{groupPods, "the container runtime reaches the agent (CNI)", []string{"events"}, cniEvents},

	{groupCarries, "Vpcs are programmed, and their peers answer", []string{"localrouters"}, routersWell},
	{groupCarries, "agents have realized the newest copies", []string{"localrouters"}, copiesRealized},
	{groupCarries, "tunnels to other clusters answer, without loss", []string{"interconnectgateways"}, ownTunnels},
	{groupCarries, "pods' largest packets fit the underlay", []string{"interconnectgateways"}, ownMTU},
}

func agentLeader(f *facts.Facts) []Finding {
	if d := f.Deployment(facts.AgentDeployment); d == nil || d.Status.ReadyReplicas == 0 {
		return nil // the check before this one has said it
	}
	return leaderFresh(facts.AgentDeployment)(f)
}

// addOnLease is there with an agent of OCM to look at it, and without.
func addOnLease(f *facts.Facts) []Finding {
	if f.Lease(facts.Namespace, facts.AddOn) == nil {
		return nil // agents of earlier versions have none
	}
	return leaderFresh(facts.AddOn)(f)
}

func daemonSetReady(f *facts.Facts) []Finding {
	set := f.DaemonSet(facts.AgentDaemonSet)
	subject := "DaemonSet " + facts.Namespace + "/" + facts.AgentDaemonSet
	if set == nil {
		return []Finding{failed(subject, "is not there: pods of Vpcs get no interface", "install the chart tombolo-spoke-agent (docs/install.md)")}
	}
	ready, wanted := set.Status.NumberReady, set.Status.DesiredNumberScheduled
	if ready == wanted {
		return nil
	}
	finding := warning
	if ready == 0 {
		finding = failed
	}
	return []Finding{finding(subject, fmt.Sprintf("is ready on %d of %d nodes", ready, wanted),
		"kubectl -n "+facts.Namespace+" get pods -o wide -l app.kubernetes.io/component=node, and look at the logs of those that are not")}
}

func agentEvents(f *facts.Facts) []Finding {
	return eventFindings(f, "look at what it concerns; the message has the cure", func(e *corev1.Event) bool {
		return strings.HasPrefix(e.ReportingController, "tombolo-") || e.InvolvedObject.Namespace == facts.Namespace
	})
}

// cniEvents: the kubelet tells of a sandbox that could not be made; the agent's part is only what names our plugin.
func cniEvents(f *facts.Facts) []Finding {
	return eventFindings(f, "is the node's agent ready, and does the node have /etc/cni/net.d's and /opt/cni/bin's part of it (chart: cni.install)?", func(e *corev1.Event) bool {
		return e.Reason == "FailedCreatePodSandBox" && strings.Contains(e.Message, "tombolo")
	})
}

func eventFindings(f *facts.Facts, cure string, about func(*corev1.Event) bool) []Finding {
	var findings []Finding
	for i := range f.Events {
		event := &f.Events[i]
		if event.Type != corev1.EventTypeWarning || f.Clock().Sub(eventTime(event)) > recently || !about(event) {
			continue
		}
		subject := event.InvolvedObject.Kind + " " + strings.TrimPrefix(event.InvolvedObject.Namespace+"/"+event.InvolvedObject.Name, "/")
		findings = append(findings, warning(subject, event.Reason+": "+event.Message, cure))
	}
	return atMost(findings, "events", "kubectl get events -A --field-selector type=Warning")
}

// eventTime is when an event was last seen: the newer API has series, the older a count.
func eventTime(event *corev1.Event) time.Time {
	newest := event.EventTime.Time
	if event.LastTimestamp.After(newest) {
		newest = event.LastTimestamp.Time
	}
	if event.Series != nil && event.Series.LastObservedTime.After(newest) {
		newest = event.Series.LastObservedTime.Time
	}
	if newest.IsZero() {
		return event.CreationTimestamp.Time
	}
	return newest
}

// atMost keeps a report readable.
func atMost(findings []Finding, what, command string) []Finding {
	if more := len(findings) - showAtMost; more > 0 {
		findings = append(findings[:showAtMost], Finding{State: findings[0].State, Subject: fmt.Sprintf("%d more %s", more, what), Cause: "are like these", Cure: command})
	}
	return findings
}

func identityValid(f *facts.Facts) []Finding {
	subject := "Secret " + facts.Namespace + "/" + facts.HubSecret
	id := f.Identity
	switch {
	case id == nil:
		return []Finding{failed(subject, "is not there: the agent does not know the hub",
			"with OCM: is the add-on enabled for this cluster (kubectl tombolo diagnose on the hub)? Without: kubectl tombolo join on the hub gives a new token, and the command that uses it")}
	case id.Problem != "":
		return []Finding{failed(subject, id.Problem, "delete the Secret and join again: kubectl tombolo join NAME --again on the hub")}
	}
	now := f.Clock()
	switch left := id.NotAfter.Sub(now); {
	case left <= 0:
		return []Finding{failed(subject, "its certificate has ended on "+id.NotAfter.UTC().Format(time.RFC3339), "join again: kubectl tombolo join NAME --again on the hub; packets go on meanwhile")}
	case now.Before(id.NotBefore):
		return []Finding{failed(subject, "its certificate begins on "+id.NotBefore.UTC().Format(time.RFC3339), "set the clocks of hub and cluster (NTP)")}
	case left*lateRenewal < id.NotAfter.Sub(id.NotBefore):
		return []Finding{warning(subject, fmt.Sprintf("its certificate ends in %s and was not renewed", left.Round(time.Minute)), "look at the agent's logs: does it reach the hub, and does the hub approve its CertificateSigningRequest?")}
	}
	if own := f.Own(); own != nil && id.Cluster != "" && id.Cluster != own.Spec.Cluster {
		return []Finding{failed(subject, fmt.Sprintf("is of cluster %q, the copies are of cluster %q", id.Cluster, own.Spec.Cluster), "one of the two is another cluster's: install the chart with the right clusterName")}
	}
	return nil
}

func copiesPresent(f *facts.Facts) []Finding {
	if f.Own() == nil {
		return []Finding{failed("InterconnectGateway", "there is no copy of the cluster's own: the agent has never reached the hub, or the hub has not accepted the cluster",
			"kubectl tombolo diagnose on the hub, and look at the logs of deployment "+facts.AgentDeployment)}
	}
	return nil
}

func ownVersion(f *facts.Facts) []Finding {
	own := f.Own()
	if own == nil {
		return nil
	}
	if c := falseCondition(own.Status.Conditions, spokev1alpha1.ConditionVersionSupported); c != nil {
		return []Finding{failed("agent", c.Message, "upgrade the hub first: helm upgrade tombolo-hub")}
	}
	return nil
}

func ownMembership(f *facts.Facts) []Finding {
	own := f.Own()
	if own == nil || own.Spec.Membership == "" || own.Spec.Membership == spokev1alpha1.MembershipMember {
		return nil
	}
	return []Finding{warning("cluster "+own.Spec.Cluster, "is "+string(own.Spec.Membership), "when it is Drained: helm uninstall tombolo-spoke-agent -n "+facts.Namespace)}
}

func kernels(f *facts.Facts) []Finding {
	var findings []Finding
	minimum := utilversion.MustParseGeneric(minKernel)
	for i := range f.Nodes {
		node := &f.Nodes[i]
		kernel := node.Status.NodeInfo.KernelVersion
		have, err := utilversion.ParseGeneric(leading(kernel))
		switch {
		case err != nil:
			findings = append(findings, warning("node "+node.Name, fmt.Sprintf("its kernel %q can't be read", kernel), "make sure that it is 6.6 or newer"))
		case have.LessThan(minimum):
			findings = append(findings, failed("node "+node.Name, "has kernel "+kernel+", without tcx", "upgrade it to Linux 6.6 or newer"))
		}
	}
	return atMost(findings, "nodes", "kubectl get nodes -o wide")
}

// leading is the numbers that a kernel's release begins with: 6.12.38+deb13-amd64 is 6.12.38.
func leading(release string) string {
	if end := strings.IndexFunc(release, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); end >= 0 {
		release = release[:end]
	}
	return strings.Trim(release, ".")
}

func gatewayLabels(f *facts.Facts) []Finding {
	var findings []Finding
	gateways := 0
	for i := range f.Nodes {
		node := &f.Nodes[i]
		if node.Labels[facts.LabelGateway] != "true" {
			continue
		}
		gateways++
		if node.Annotations[facts.AnnotationGatewayEndpoint] == "" {
			findings = append(findings, failed("node "+node.Name, "is labelled as a gateway and announces no address", "look at the conditions of gateway nodes, and at the logs of its agent"))
		}
	}
	if gateways == 0 {
		findings = append(findings, warning("cluster", "no node is a gateway: its Vpcs reach no other cluster", "kubectl label node NAME "+facts.LabelGateway+"=true (two nodes or more, for failover)"))
	}
	return findings
}

func ownNodes(f *facts.Facts) []Finding {
	if own := f.Own(); own != nil {
		return nodeFindings("", own)
	}
	return nil
}

func podsAttached(f *facts.Facts) []Finding {
	var findings []Finding
	for i := range f.BoundPods {
		pod := &f.BoundPods[i]
		waits := pod.Annotations[networkv1alpha1.AnnotationNetwork] == "" && pod.DeletionTimestamp == nil &&
			pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
		if waits && f.Clock().Sub(pod.CreationTimestamp.Time) > slowPod {
			asked := ""
			if subnet := pod.Annotations[networkv1alpha1.AnnotationSubnet]; subnet != "" {
				asked = " in Subnet " + subnet
			}
			findings = append(findings, failed("pod "+key(pod), "has no address"+asked, "kubectl -n "+pod.Namespace+" describe pod "+pod.Name+": the agent's events say why; is the Subnet in this cluster?"))
		}
	}
	return atMost(findings, "pods", "kubectl get pods -A -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name,NET:.metadata.annotations.tombolo\\.io/network")
}

func routersWell(f *facts.Facts) []Finding {
	var findings []Finding
	for _, vpc := range status.Of(inCluster(ownCopies(f)), "").Vpcs {
		if vpc.State != terminal.Well {
			findings = append(findings, Finding{State: vpc.State, Subject: "Vpc " + vpc.Namespace + "/" + vpc.Name, Cause: vpc.Reason + ": " + vpc.Message, Cure: routerCure(vpc.Reason)})
		}
	}
	return findings
}

// ownCopies leaves the hub's objects away, in a hub that is a cluster too.
func ownCopies(f *facts.Facts) *facts.Facts {
	side := *f
	side.Routers = nil
	for _, router := range f.Routers {
		if router.Namespace == facts.Namespace {
			side.Routers = append(side.Routers, router)
		}
	}
	return &side
}

func routerCure(reason string) string {
	switch reason {
	case spokev1alpha1.ReasonNoGateways:
		return "kubectl label node NAME " + facts.LabelGateway + "=true"
	case spokev1alpha1.ReasonNorthboundUnreachable, spokev1alpha1.ReasonNorthboundError:
		return "is OVN's northbound database where the chart's ovn.northbound says, and does it speak TLS with ovn.tls.secretName? Packets go on meanwhile"
	case spokev1alpha1.ReasonWaitingForOVN, spokev1alpha1.ReasonWaitingForGateways:
		return "wait a few seconds; if it stays, look at the logs of the agents"
	case networkv1alpha1.ReasonProbeFailed:
		return cureOf(reason)
	}
	return "do what the message says"
}

// copiesRealized: the agent reports the hub's generation, which the copy has in an annotation.
func copiesRealized(f *facts.Facts) []Finding {
	var findings []Finding
	for _, router := range ownCopies(f).Routers {
		generation, err := strconv.ParseInt(router.Annotations[spokev1alpha1.AnnotationHubGeneration], 10, 64)
		if err != nil || router.Status.ObservedGeneration >= generation || f.Clock().Sub(lastSpecChange(&router)) < slowRealize {
			continue
		}
		if c := meta.FindStatusCondition(router.Status.Conditions, spokev1alpha1.ConditionProgrammed); c != nil && c.Reason != spokev1alpha1.ReasonProgrammed {
			continue // said before, with the reason
		}
		findings = append(findings, warning("Vpc "+router.Spec.Vpc.Namespace+"/"+router.Spec.Vpc.Name,
			fmt.Sprintf("generation %d is realized, the copy is of generation %d", router.Status.ObservedGeneration, generation), "look at the logs of deployment "+facts.AgentDeployment))
	}
	return findings
}

func ownTunnels(f *facts.Facts) []Finding {
	own := f.Own()
	if own == nil {
		return nil
	}
	var mine []status.Tunnel
	for _, t := range status.Of(inCluster(f), "").Tunnels {
		if t.From == own.Spec.Cluster {
			mine = append(mine, t)
		}
	}
	return tunnelFindings(mine)
}

func ownMTU(f *facts.Facts) []Finding {
	if own := f.Own(); own != nil {
		return mtuFindings("", own)
	}
	return nil
}
