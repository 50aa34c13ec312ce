// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: ago(time.Hour)}
}

func is(kind, status, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message, LastTransitionTime: ago(time.Hour)}
}

func well(kinds ...string) []metav1.Condition {
	var conditions []metav1.Condition
	for _, kind := range kinds {
		conditions = append(conditions, is(kind, "True", kind, ""))
	}
	return conditions
}

func deployment(name string) appsv1.Deployment {
	return appsv1.Deployment{ObjectMeta: named(facts.Namespace, name), Spec: appsv1.DeploymentSpec{Replicas: new(int32(2))}, Status: appsv1.DeploymentStatus{ReadyReplicas: 2}}
}

func lease(namespace, name string, renewed time.Duration) coordinationv1.Lease {
	return coordinationv1.Lease{ObjectMeta: named(namespace, name), Spec: coordinationv1.LeaseSpec{
		HolderIdentity: new("pod-1"), LeaseDurationSeconds: new(int32(15)), RenewTime: new(metav1.NewMicroTime(now.Add(-renewed)))}}
}

func gateway(namespace, cluster string) spokev1alpha1.InterconnectGateway {
	return spokev1alpha1.InterconnectGateway{
		ObjectMeta: named(namespace, cluster),
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: cluster, HubVersion: "0.2.0", Endpoints: []spokev1alpha1.GatewayEndpoint{{Node: "n1"}}},
		Status: spokev1alpha1.InterconnectGatewayStatus{ObservedGeneration: 1, AgentVersion: "0.2.0", Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: "n1"}},
			Gateways:   []spokev1alpha1.GatewayNode{{Node: "n1", Conditions: well("DataPathReady", "MTUSufficient")}},
			Tunnels:    []spokev1alpha1.Tunnel{{Cluster: "west", Node: "n1", Reachable: true, PathMTU: 1500}},
			Conditions: []metav1.Condition{is("DataPathReady", "True", "Ready", "")}},
	}
}

// healthyHub is a hub with one cluster, one Vpc and one peering, all well.
func healthyHub() *facts.Facts {
	return &facts.Facts{
		Hub: true, Now: now, ServerTime: now, ServerVersion: "v1.37.1", CRDs: ownCRDs(),
		Deployments:     []appsv1.Deployment{deployment(facts.HubDeployment)},
		Leases:          []coordinationv1.Lease{lease(facts.Namespace, facts.HubDeployment, time.Second), lease("east", facts.ClusterLease, time.Minute)},
		ManagedClusters: []clusterv1.ManagedCluster{{ObjectMeta: named("", "east"), Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}},
		Gateways:        []spokev1alpha1.InterconnectGateway{gateway("east", "east")},
		Pools: []networkv1alpha1.IPPool{
			{ObjectMeta: named("", "vnis"), Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI}, Status: networkv1alpha1.IPPoolStatus{Capacity: 100, Allocated: 1}},
			{ObjectMeta: named("", "links"), Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink}}},
		Vpcs:     []networkv1alpha1.Vpc{{ObjectMeta: named("shop", "one"), Status: networkv1alpha1.VpcStatus{Conditions: well("Accepted", "Allocated", "Programmed")}}},
		Peerings: []networkv1alpha1.VpcPeering{{ObjectMeta: named("shop", "p"), Status: networkv1alpha1.VpcPeeringStatus{Conditions: well("Accepted", "Programmed", "Verified")}}},
	}
}

// healthyCluster is a cluster with one gateway node and one Vpc, all well.
func healthyCluster() *facts.Facts {
	own := gateway(facts.Namespace, "east")
	own.Labels = map[string]string{facts.LabelOwn: "true"}
	return &facts.Facts{
		Cluster: true, Now: now, ServerTime: now, ServerVersion: "v1.37.1", CRDs: ownCRDs()[4:],
		Deployments: []appsv1.Deployment{deployment(facts.AgentDeployment)},
		DaemonSets:  []appsv1.DaemonSet{{ObjectMeta: named(facts.Namespace, facts.AgentDaemonSet), Status: appsv1.DaemonSetStatus{NumberReady: 1, DesiredNumberScheduled: 1}}},
		Leases:      []coordinationv1.Lease{lease(facts.Namespace, facts.AgentDeployment, time.Second), lease(facts.Namespace, facts.AddOn, time.Second)},
		Identity:    &facts.Identity{Cluster: "east", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)},
		Nodes: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{facts.LabelGateway: "true"}, Annotations: map[string]string{facts.AnnotationGatewayEndpoint: "192.0.2.1"}},
			Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KernelVersion: "6.12.38+deb13-amd64"}}}},
		Gateways: []spokev1alpha1.InterconnectGateway{own},
		Routers: []spokev1alpha1.LocalRouter{{ObjectMeta: named(facts.Namespace, "shop.one"), Spec: spokev1alpha1.LocalRouterSpec{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "one"}},
			Status: spokev1alpha1.LocalRouterStatus{Conditions: well("Programmed")}}},
		BoundPods: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", CreationTimestamp: ago(time.Hour), Annotations: map[string]string{networkv1alpha1.AnnotationNetwork: "{}"}}}},
	}
}

func TestHealthy(t *testing.T) {
	for name, f := range map[string]*facts.Facts{"hub": healthyHub(), "cluster": healthyCluster()} {
		report := Of(f, "")
		var text bytes.Buffer
		report.Print(terminal.NewWriter(&text), false)
		if report.State != terminal.Well || !strings.HasSuffix(text.String(), "checks, 0 failures, 0 warnings\n") {
			t.Errorf("a healthy %s:\n%s", name, text.String())
		}
	}
}

// sick is one thing that is wrong with what is healthy, and the one check that tells of it.
type sick struct {
	reason string
	harm   func(*facts.Facts)
	check  string
	state  terminal.Level
	cause  string // a part of it
}

func TestSickHub(t *testing.T) {
	testSick(t, healthyHub, map[string]sick{
		"old Kubernetes":  {"below the oldest", func(f *facts.Facts) { f.ServerVersion = "v1.30.4" }, "Kubernetes is new enough", terminal.Failed, "v1.30.4"},
		"unknown version": {"a vendor's own form", func(f *facts.Facts) { f.ServerVersion = "current" }, "Kubernetes is new enough", terminal.Waiting, "can't be read"},
		"no CRD":          {"one is missing", func(f *facts.Facts) { f.CRDs = f.CRDs[1:] }, "CRDs are installed, and are those of this version", terminal.Failed, "is not installed"},
		"older CRD":       {"a field is unknown", func(f *facts.Facts) { olderCRD(f) }, "CRDs are installed, and are those of this version", terminal.Failed, "throws away spec.membership"},
		"newer CRD":       {"this program is older", func(f *facts.Facts) { newerCRD(f) }, "CRDs are installed, and are those of this version", terminal.Waiting, "does not know spec.tomorrow"},
		"image":           {"not to be had", func(f *facts.Facts) { f.Pods = pods("ImagePullBackOff", 0) }, "containers of Tombolo run, and do not restart again and again", terminal.Failed, "ImagePullBackOff"},
		"restarts":        {"again and again", func(f *facts.Facts) { f.Pods = pods("", 7) }, "containers of Tombolo run, and do not restart again and again", terminal.Waiting, "restarted 7 times"},
		"local clock":     {"a minute off", func(f *facts.Facts) { f.Now = now.Add(time.Minute) }, "this machine's clock and the API server's agree", terminal.Waiting, "1m0s off"},
		"no hub":          {"never installed", func(f *facts.Facts) { f.Deployments = nil }, "the hub's pods are ready", terminal.Failed, "is not there"},
		"half a hub":      {"one of two", func(f *facts.Facts) { f.Deployments[0].Status.ReadyReplicas = 1 }, "the hub's pods are ready", terminal.Waiting, "1 of 2"},
		"scaled down":     {"by somebody", func(f *facts.Facts) { f.Deployments[0].Spec.Replicas = new(int32(0)) }, "the hub's pods are ready", terminal.Failed, "scaled to 0"},
		"dead leader":     {"the lease has ended", func(f *facts.Facts) { f.Leases[0] = lease(facts.Namespace, facts.HubDeployment, time.Minute) }, "the hub has a leader, which works", terminal.Failed, "has not renewed it for 1m0s"},
		"no pool":         {"of links", func(f *facts.Facts) { f.Pools = f.Pools[:1] }, "there are pools of VNIs and of links", terminal.Failed, "purpose Link"},
		"full pool":       {"nearly", func(f *facts.Facts) { f.Pools[0].Status.Allocated = 95 }, "pools are accepted, and have room", terminal.Waiting, "95 of 100"},
		"empty pool": {"nothing left", func(f *facts.Facts) {
			f.Pools[0].Status.Conditions = []metav1.Condition{is("Available", "False", "PoolExhausted", "no VNI is left")}
		}, "pools are accepted, and have room", terminal.Failed, "no VNI is left"},
		"overlap": {"a Subnet", func(f *facts.Facts) {
			f.Subnets = []networkv1alpha1.Subnet{{ObjectMeta: named("shop", "s"), Status: networkv1alpha1.SubnetStatus{Conditions: []metav1.Condition{is("Accepted", "False", "OverlappingCIDRs", "10.0.0.0/16 overlaps 10.0.0.0/8")}}}}
		}, "no Vpc or Subnet is refused", terminal.Failed, "10.0.0.0/16 overlaps"},
		"not accepted": {"nobody has", func(f *facts.Facts) { f.ManagedClusters[0].Spec.HubAcceptsClient = false }, "clusters are accepted, and OCM hears them", terminal.Waiting, "nobody has accepted it"},
		"unheard": {"by OCM", func(f *facts.Facts) {
			f.ManagedClusters[0].Status.Conditions = []metav1.Condition{is("ManagedClusterConditionAvailable", "Unknown", "Stopped", "no lease")}
		}, "clusters are accepted, and OCM hears them", terminal.Failed, "Stopped: no lease"},
		"no fleet": {"the first day", func(f *facts.Facts) { f.ManagedClusters = nil }, "clusters are accepted, and OCM hears them", terminal.Waiting, "it has no clusters"},
		"no agent": {"never reported", func(f *facts.Facts) { f.Gateways[0].Status = spokev1alpha1.InterconnectGatewayStatus{} }, "every cluster's agent has reported", terminal.Failed, "no agent has ever reported"},
		"silent agent": {"the hub has not heard of it", func(f *facts.Facts) {
			f.Gateways[0].Status.Conditions = append(f.Gateways[0].Status.Conditions, is("AgentAlive", "Unknown", "AgentSilent", "not heard"))
		}, "every agent that has reported is still heard", terminal.Failed, "it was last heard 1m0s ago"},
		"agent behind":    {"a generation", func(f *facts.Facts) { f.Gateways[0].Generation = 3 }, "agents have realized what the hub said last", terminal.Waiting, "generation 1 of 3"},
		"newer agent":     {"than its hub", func(f *facts.Facts) { f.Gateways[0].Status.AgentVersion = "0.3.0" }, "versions of hub and agents fit", terminal.Failed, "newer than the hub's 0.2.0"},
		"older agent":     {"works, and should be upgraded", func(f *facts.Facts) { f.Gateways[0].Status.AgentVersion = "0.1.0" }, "versions of hub and agents fit", terminal.Waiting, "its agent is 0.1.0"},
		"cluster's clock": {"ahead", func(f *facts.Facts) { f.Leases[1] = lease("east", facts.ClusterLease, -2*time.Minute) }, "clocks of clusters agree with the hub's", terminal.Failed, "2m0s ahead"},
		"no gateways":     {"none labelled", func(f *facts.Facts) { s := &f.Gateways[0].Status; s.Gateways, s.Endpoints = nil, nil }, "every cluster has gateway nodes", terminal.Waiting, "has no gateway node"},
		"not announced":   {"labelled, and no address", func(f *facts.Facts) { f.Gateways[0].Status.Endpoints = nil }, "every cluster has gateway nodes", terminal.Failed, "announce no address"},
		"not approved":    {"another has the address", func(f *facts.Facts) { f.Gateways[0].Spec.Endpoints = nil }, "every cluster has gateway nodes", terminal.Failed, "approves none"},
		"refused endpoint": {"another cluster's address, or an error", func(f *facts.Facts) {
			f.Gateway("east").Spec.Refused = []spokev1alpha1.RefusedReport{{Node: "thief", Address: "192.0.2.9", Reason: "AddressTaken", Message: "is west's"}}
		}, "every cluster has gateway nodes", terminal.Failed, "reports node thief with address 192.0.2.9, and the hub refuses that: AddressTaken"},
		"cut off node":    {"others carry its packets", func(f *facts.Facts) { nodeIs(f, is("PodsReachable", "False", "NoWayToPods", "Geneve")) }, "gateway nodes are well", terminal.Waiting, "NoWayToPods"},
		"sick node":       {"an old kernel", func(f *facts.Facts) { nodeIs(f, is("DataPathReady", "False", "KernelTooOld", "needs 6.6")) }, "gateway nodes are well", terminal.Failed, "needs 6.6"},
		"restricted node": {"works", func(f *facts.Facts) { nodeIs(f, is("SlowPathReady", "False", "PortOccupied", "4789")) }, "gateway nodes are well", terminal.Waiting, "PortOccupied"},
		"stuck":           {"leaving for an hour", func(f *facts.Facts) { f.ManagedClusters[0].DeletionTimestamp = new(ago(time.Hour)) }, "no cluster is stuck while it leaves", terminal.Failed, "for 1h0m0s"},
		"add-on": {"not available", func(f *facts.Facts) {
			f.AddOns = []addonv1alpha1.ManagedClusterAddOn{addOn(is("Available", "False", "Lease", "old"))}
		}, "the add-on is available where it is installed", terminal.Failed, "Lease: old"},
		"silent add-on": {"no condition", func(f *facts.Facts) { f.AddOns = []addonv1alpha1.ManagedClusterAddOn{addOn()} }, "the add-on is available where it is installed", terminal.Waiting, "says nothing of its health"},
		"add-on's nobody": {"chooses none", func(f *facts.Facts) {
			f.ManagementAddOn, f.Placements = addOnBy("fleet", "all"), []clusterv1beta1.Placement{{ObjectMeta: named("fleet", "all")}}
		}, "the add-on's Placements choose clusters", terminal.Waiting, "chooses no cluster"},
		"no Placement": {"a Vpc follows one that is not there", func(f *facts.Facts) { f.Vpcs[0].Spec.Clusters.Placement = "none" }, "Vpcs' Placements choose clusters", terminal.Failed, "Vpc shop/one follows it"},
		"not programmed": {"a Vpc", func(f *facts.Facts) {
			f.Vpcs[0].Status.Conditions[2] = is("Programmed", "False", "WaitingForClusters", "east is behind")
		}, "Vpcs are programmed everywhere", terminal.Waiting, "east is behind"},
		"not verified": {"a peering", func(f *facts.Facts) {
			f.Peerings[0].Status.Conditions[2] = is("Verified", "False", "ProbeFailed", "from east to west")
		}, "peerings carry packets", terminal.Failed, "from east to west"},
		"dead tunnel":      {"no answer", func(f *facts.Facts) { f.Gateways[0].Status.Tunnels[0].Reachable = false }, "tunnels between clusters answer, without loss", terminal.Failed, "does not answer"},
		"lossy tunnel":     {"a fifth", func(f *facts.Facts) { f.Gateways[0].Status.Tunnels[0].LossPermille = 200 }, "tunnels between clusters answer, without loss", terminal.Waiting, "20.0 %"},
		"narrow tunnel":    {"measured", func(f *facts.Facts) { f.Gateways[0].Status.Tunnels[0].PathMTU = 1400 }, "pods' largest packets fit the underlay", terminal.Waiting, "at most 1400 bytes"},
		"narrow interface": {"said by the node", func(f *facts.Facts) { nodeIs(f, is("MTUSufficient", "False", "MTUTooSmall", "1400 < 1450")) }, "pods' largest packets fit the underlay", terminal.Waiting, "1400 < 1450"},
	})
}

func TestSickCluster(t *testing.T) {
	testSick(t, healthyCluster, map[string]sick{
		"no agent":         {"never installed", func(f *facts.Facts) { f.Deployments = nil }, "the agent that speaks for the cluster is ready", terminal.Failed, "is not there"},
		"no leader":        {"given up", func(f *facts.Facts) { f.Leases[0].Spec.HolderIdentity = new("") }, "one of its replicas works", terminal.Waiting, "nobody else has taken it"},
		"add-on's lease":   {"not renewed", func(f *facts.Facts) { f.Leases[1] = lease(facts.Namespace, facts.AddOn, time.Hour) }, "it renews the lease by which OCM tells its health, where OCM looks", terminal.Failed, "1h0m0s"},
		"no nodes' agents": {"no DaemonSet", func(f *facts.Facts) { f.DaemonSets = nil }, "every node's agent is ready", terminal.Failed, "is not there"},
		"a node's agent":   {"one of two", func(f *facts.Facts) { f.DaemonSets[0].Status.DesiredNumberScheduled = 2 }, "every node's agent is ready", terminal.Waiting, "1 of 2 nodes"},
		"event":            {"of an agent", func(f *facts.Facts) { f.Events = event("tombolo-agent", "NotAttached", "no such Subnet") }, "agents have complained of nothing in the last hour", terminal.Waiting, "no such Subnet"},
		"CNI": {"the kubelet's word", func(f *facts.Facts) {
			f.Events = event("kubelet", "FailedCreatePodSandBox", `plugin type="tombolo-cni" failed`)
		}, "the container runtime reaches the agent (CNI)", terminal.Waiting, "tombolo-cni"},
		"no Secret":      {"not joined", func(f *facts.Facts) { f.Identity = nil }, "the agent has an identity on the hub, and it is valid", terminal.Failed, "is not there"},
		"broken Secret":  {"no certificate", func(f *facts.Facts) { f.Identity.Problem = "there is no certificate" }, "the agent has an identity on the hub, and it is valid", terminal.Failed, "no certificate"},
		"expired":        {"an hour ago", func(f *facts.Facts) { f.Identity.NotAfter = now.Add(-time.Hour) }, "the agent has an identity on the hub, and it is valid", terminal.Failed, "has ended on 2026-03-01T11:00:00Z"},
		"not yet":        {"a clock is wrong", func(f *facts.Facts) { f.Identity.NotBefore = now.Add(time.Minute) }, "the agent has an identity on the hub, and it is valid", terminal.Failed, "begins on"},
		"not renewed":    {"nearly over", func(f *facts.Facts) { f.Identity.NotAfter = now.Add(10 * time.Minute) }, "the agent has an identity on the hub, and it is valid", terminal.Waiting, "ends in 10m0s"},
		"another's":      {"two clusters in one", func(f *facts.Facts) { f.Identity.Cluster = "west" }, "the agent has an identity on the hub, and it is valid", terminal.Failed, `is of cluster "west"`},
		"no copies":      {"the hub was never reached", func(f *facts.Facts) { f.Gateways = nil }, "copies of what the hub says are here", terminal.Failed, "no copy"},
		"version":        {"newer than the hub", func(f *facts.Facts) { ownIs(f, is("VersionSupported", "False", "AgentNewerThanHub", "0.3 > 0.2")) }, "hub and agent are of versions that fit", terminal.Failed, "0.3 > 0.2"},
		"leaving":        {"asked to", func(f *facts.Facts) { f.Gateways[0].Spec.Membership = "Draining" }, "the cluster takes part", terminal.Waiting, "is Draining"},
		"kernel":         {"Debian 12's", func(f *facts.Facts) { f.Nodes[0].Status.NodeInfo.KernelVersion = "6.1.0-40-amd64" }, "kernels are new enough", terminal.Failed, "6.1.0-40-amd64"},
		"unknown kernel": {"no number", func(f *facts.Facts) { f.Nodes[0].Status.NodeInfo.KernelVersion = "custom" }, "kernels are new enough", terminal.Waiting, "can't be read"},
		"no gateway":     {"none labelled", func(f *facts.Facts) { f.Nodes[0].Labels = nil }, "there are gateway nodes, which announce themselves", terminal.Waiting, "no node is a gateway"},
		"silent gateway": {"labelled only", func(f *facts.Facts) { f.Nodes[0].Annotations = nil }, "there are gateway nodes, which announce themselves", terminal.Failed, "announces no address"},
		"sick node":      {"no bpf file system", func(f *facts.Facts) { nodeIs(f, is("DataPathReady", "False", "NoBPFFileSystem", "mount it")) }, "gateway nodes are well", terminal.Failed, "mount it"},
		"pod": {"no address for an hour", func(f *facts.Facts) {
			f.BoundPods[0].Annotations = map[string]string{networkv1alpha1.AnnotationSubnet: "net"}
		}, "pods of Vpcs have their addresses", terminal.Failed, "in Subnet net"},
		"OVN": {"away", func(f *facts.Facts) {
			f.Routers[0].Status.Conditions = []metav1.Condition{is("Programmed", "False", "NorthboundUnreachable", "tcp:10.0.0.5:6641")}
		}, "Vpcs are programmed, and their peers answer", terminal.Failed, "tcp:10.0.0.5:6641"},
		"behind": {"the copy is newer", func(f *facts.Facts) {
			f.Routers[0].Annotations = map[string]string{spokev1alpha1.AnnotationHubGeneration: "3"}
		}, "agents have realized the newest copies", terminal.Waiting, "of generation 3"},
		"tunnel": {"dead", func(f *facts.Facts) { f.Gateways[0].Status.Tunnels[0].Reachable = false }, "tunnels to other clusters answer, without loss", terminal.Failed, "does not answer"},
		"MTU":    {"narrow", func(f *facts.Facts) { f.Gateways[0].Status.Tunnels[0].PathMTU = 1280 }, "pods' largest packets fit the underlay", terminal.Waiting, "1280"},
	})
}

// testSick holds that exactly one check tells of what is wrong, with cause and cure.
func testSick(t *testing.T, healthy func() *facts.Facts, tests map[string]sick) {
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			test.harm(f)
			var told []string
			for _, result := range Of(f, "").Results {
				if result.State == terminal.Well {
					continue
				}
				told = append(told, string(result.State)+" "+result.Check)
				for _, finding := range result.Findings {
					if finding.Subject == "" || finding.Cause == "" || finding.Cure == "" || !strings.Contains(finding.Cause, test.cause) {
						t.Errorf("%s: %+v, want a cause with %q, and a cure", test.reason, finding, test.cause)
					}
				}
			}
			if diff := cmp.Diff([]string{string(test.state) + " " + test.check}, told); diff != "" {
				t.Errorf("%s: -want +got:\n%s", test.reason, diff)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	f := healthyHub()
	f.Peerings = nil
	f.Unread = []facts.Unread{{What: "vpcpeerings", Why: "forbidden"}}
	report := Of(f, SideHub)
	for _, result := range report.Results {
		if result.Check == "peerings carry packets" && result.State != Unknown {
			t.Errorf("what can't be read is %s", result.State)
		}
	}
	if report.State != terminal.Well {
		t.Errorf("what is unknown is no failure, and the report is %s", report.State)
	}
	var text bytes.Buffer
	report.Print(terminal.NewWriter(&text), true)
	if !strings.Contains(text.String(), "? peerings carry packets") || !strings.Contains(text.String(), "1 warning\n") {
		t.Errorf("the text:\n%s", text.String())
	}
}

func TestManyFindings(t *testing.T) {
	f := healthyCluster()
	for range 40 {
		f.BoundPods = append(f.BoundPods, corev1.Pod{ObjectMeta: named("shop", "waits")})
	}
	if findings := podsAttached(f); len(findings) != showAtMost+1 || findings[showAtMost].Subject != "30 more pods" {
		t.Errorf("%d findings, the last %+v", len(findings), findings[len(findings)-1])
	}
}

func olderCRD(f *facts.Facts) {
	for i := range f.CRDs {
		if f.CRDs[i].Spec.Names.Kind == "InterconnectGateway" {
			delete(f.CRDs[i].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties, "membership")
		}
	}
}

func newerCRD(f *facts.Facts) {
	spec := f.CRDs[0].Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	spec.Properties["tomorrow"] = spec
}

func pods(waiting string, restarts int32) []corev1.Pod {
	status := corev1.ContainerStatus{Name: "hub", RestartCount: restarts, LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: ago(time.Minute), ExitCode: 1}}}
	if waiting != "" {
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting, Message: "back-off"}
	}
	return []corev1.Pod{{ObjectMeta: named(facts.Namespace, "tombolo-hub-1"), Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}}}}
}

func nodeIs(f *facts.Facts, condition metav1.Condition) {
	f.Gateways[0].Status.Gateways[0].Conditions = []metav1.Condition{condition}
}

func ownIs(f *facts.Facts, condition metav1.Condition) {
	f.Gateways[0].Status.Conditions = append(f.Gateways[0].Status.Conditions, condition)
}

func addOn(conditions ...metav1.Condition) addonv1alpha1.ManagedClusterAddOn {
	return addonv1alpha1.ManagedClusterAddOn{ObjectMeta: named("east", facts.AddOn), Status: addonv1alpha1.ManagedClusterAddOnStatus{Conditions: conditions}}
}

func addOnBy(namespace, placement string) *addonv1alpha1.ClusterManagementAddOn {
	return &addonv1alpha1.ClusterManagementAddOn{Spec: addonv1alpha1.ClusterManagementAddOnSpec{InstallStrategy: addonv1alpha1.InstallStrategy{
		Placements: []addonv1alpha1.PlacementStrategy{{PlacementRef: addonv1alpha1.PlacementRef{Namespace: namespace, Name: placement}}}}}}
}

func event(from, reason, message string) []corev1.Event {
	return []corev1.Event{{ObjectMeta: named("shop", "e"), Type: corev1.EventTypeWarning, ReportingController: from, Reason: reason, Message: message, LastTimestamp: ago(time.Minute),
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web"}}}
}
