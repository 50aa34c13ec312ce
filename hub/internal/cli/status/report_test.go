// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

var update = flag.Bool("update", false, "write testdata anew")

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func conditions(list ...string) []metav1.Condition {
	var found []metav1.Condition
	for i := 0; i < len(list); i += 4 {
		found = append(found, metav1.Condition{Type: list[i], Status: metav1.ConditionStatus(list[i+1]), Reason: list[i+2], Message: list[i+3]})
	}
	return found
}

func cluster(name string, accepted bool) clusterv1.ManagedCluster {
	return clusterv1.ManagedCluster{ObjectMeta: named("", name), Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: accepted}}
}

func gateway(namespace, cluster string) spokev1alpha1.InterconnectGateway {
	return spokev1alpha1.InterconnectGateway{
		ObjectMeta: named(namespace, cluster),
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: cluster, Endpoints: []spokev1alpha1.GatewayEndpoint{{Node: cluster + "-2"}, {Node: cluster + "-1"}}},
		Status: spokev1alpha1.InterconnectGatewayStatus{ObservedGeneration: 1, AgentVersion: "0.2.0",
			Tunnels:    []spokev1alpha1.Tunnel{{Cluster: "north", Node: cluster + "-1", Reachable: true, RTTMicroseconds: 810, PathMTU: 1500}},
			Conditions: conditions("DataPathReady", "True", "Ready", "", "Programmed", "True", "Programmed", "")},
	}
}

// everything that a hub can tell of.
func everything() *facts.Facts {
	north, gone, lossy, ours := gateway("north", "north"), gateway("gone", "gone"), gateway("lossy", "lossy"), gateway("east", "east")
	north.Status.Conditions = conditions("DataPathReady", "False", "KernelTooOld", "gateway node n1: DataPathReady: tcx needs Linux 6.6 or newer on gateway nodes")
	north.Status.Tunnels = []spokev1alpha1.Tunnel{{Cluster: "east", Node: "north-1", LastTransitionTime: metav1.NewTime(now)}}
	gone.Spec.Membership = spokev1alpha1.MembershipDraining
	gone.Status.Tunnels = nil
	lossy.Status.Tunnels[0].LossPermille = 125
	lossy.Status.Conditions = conditions("DataPathReady", "True", "MTUTooSmall", "node lossy-1: packets above 1450 bytes are fragmented")
	leaving := cluster("gone", true)
	leaving.DeletionTimestamp, leaving.Finalizers = new(metav1.NewTime(now)), []string{facts.DrainFinalizer}
	silent := cluster("silent", true)
	silent.Status.Conditions = conditions("ManagedClusterConditionAvailable", "Unknown", "ManagedClusterLeaseUpdateStopped", "Registration agent stopped updating its lease.")
	mute := gateway("mute", "mute")
	mute.Status.Tunnels = nil
	mute.Status.Conditions = append(mute.Status.Conditions, conditions("AgentAlive", "Unknown", "AgentSilent", "The hub has not heard of the agent since noon.")...)
	muteByToken := cluster("mute", true)
	muteByToken.Annotations = map[string]string{facts.AnnotationJoinedBy: facts.JoinedByToken}
	byToken := cluster("east", true)
	byToken.Annotations = map[string]string{facts.AnnotationJoinedBy: facts.JoinedByToken}

	vpc := func(name string, c []metav1.Condition, clusters ...networkv1alpha1.VpcCluster) networkv1alpha1.Vpc {
		return networkv1alpha1.Vpc{ObjectMeta: named("shop", name), Status: networkv1alpha1.VpcStatus{VNI: 100, Clusters: clusters, Conditions: c}}
	}
	peering := func(name string, state networkv1alpha1.VpcPeeringState, c []metav1.Condition) networkv1alpha1.VpcPeering {
		return networkv1alpha1.VpcPeering{ObjectMeta: named("shop", name), Spec: networkv1alpha1.VpcPeeringSpec{Vpc: "one", PeerVpc: networkv1alpha1.VpcReference{Name: "two", Namespace: "bank"}},
			Status: networkv1alpha1.VpcPeeringStatus{State: state, Conditions: c}}
	}
	well := conditions("Accepted", "True", "Accepted", "", "Programmed", "True", "Programmed", "", "Verified", "True", "Verified", "")
	return &facts.Facts{
		Hub: true, Now: now, ServerTime: now,
		ManagedClusters: []clusterv1.ManagedCluster{cluster("north", true), byToken, cluster("asks", false), cluster("new", true), leaving, silent, muteByToken, cluster("lossy", true)},
		AddOns:          []addonv1alpha1.ManagedClusterAddOn{{ObjectMeta: named("north", facts.AddOn)}},
		Gateways:        []spokev1alpha1.InterconnectGateway{north, gone, lossy, ours, mute, gateway("silent", "silent"), gateway(facts.Namespace, "east")},
		Leases:          []coordinationv1.Lease{{ObjectMeta: named("east", facts.ClusterLease), Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(now.Add(-12 * time.Second)))}}},
		Vpcs: []networkv1alpha1.Vpc{
			vpc("one", well, networkv1alpha1.VpcCluster{Name: "east", Programmed: true}, networkv1alpha1.VpcCluster{Name: "north", Programmed: true}),
			vpc("two", conditions("Accepted", "True", "Accepted", "", "Programmed", "False", "WaitingForClusters", "north has not realized generation 3"), networkv1alpha1.VpcCluster{Name: "north"}),
			vpc("bad", conditions("Accepted", "False", "OverlappingCIDRs", "10.0.0.0/16 of Subnet shop/a overlaps 10.0.0.0/8 of Subnet shop/b")),
			vpc("unseen", nil),
		},
		Peerings: []networkv1alpha1.VpcPeering{
			peering("works", networkv1alpha1.StateActive, well),
			peering("asked", networkv1alpha1.StatePendingAcceptance, conditions("Accepted", "False", "PendingAcceptance", "tenant bank has not decided")),
			peering("broken", networkv1alpha1.StateActive, conditions("Accepted", "True", "Accepted", "", "Programmed", "True", "Programmed", "", "Verified", "False", "ProbeFailed",
				"a message that is much longer than a terminal is wide, and goes on and on, and on, so that nobody would want to see the whole of it in a table")),
		},
		Unread: []facts.Unread{{What: "leases in tombolo-system", Why: "leases is forbidden"}},
	}
}

// inCluster is what a cluster's copies can tell.
func inCluster() *facts.Facts {
	own, other := gateway(facts.Namespace, "east"), gateway(facts.Namespace, "north")
	own.Labels = map[string]string{facts.LabelOwn: "true"}
	other.Status.Tunnels = nil
	router := func(name string, c []metav1.Condition, probes ...spokev1alpha1.ProbeResult) spokev1alpha1.LocalRouter {
		return spokev1alpha1.LocalRouter{ObjectMeta: named(facts.Namespace, "shop."+name), Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: name, VNI: 100}, Remotes: []spokev1alpha1.Remote{{Cluster: "north"}, {Cluster: "north"}, {Cluster: "west"}}},
			Status: spokev1alpha1.LocalRouterStatus{Conditions: c, Probes: probes}}
	}
	well := conditions("Programmed", "True", "Programmed", "")
	leaving := router("leaving", well)
	leaving.DeletionTimestamp, leaving.Finalizers = new(metav1.NewTime(now)), []string{"spoke.tombolo.io/router"}
	return &facts.Facts{Cluster: true, Now: now, Gateways: []spokev1alpha1.InterconnectGateway{other, own}, Routers: []spokev1alpha1.LocalRouter{
		router("works", well, spokev1alpha1.ProbeResult{Reachable: true}),
		router("unseen", nil),
		router("silent", well, spokev1alpha1.ProbeResult{Node: "east-1", Vpc: "shop/two", Cluster: "west"}),
		router("waits", conditions("Programmed", "False", "WaitingForGateways", "gateway node east-1 has generation 2 of 3")),
		router("ovn", conditions("Programmed", "False", "NorthboundUnreachable", "no connection to tcp:10.0.0.5:6641")),
		leaving,
	}}
}

// heldBack is a hub that waits for a confirmation.
func heldBack() *facts.Facts {
	return &facts.Facts{Hub: true, Now: now, Fleets: []networkv1alpha1.Fleet{{Status: networkv1alpha1.FleetStatus{Epoch: 3,
		Conditions: conditions("Frozen", "True", "MassRemoval", "A plan would take something away from 12 of 40 objects. Cure: undo what causes it; or kubectl tombolo confirm 0123456789abcdef."),
	}}}}
}

func TestTables(t *testing.T) {
	tests := map[string]struct {
		reason string
		facts  *facts.Facts
		tenant string
		state  terminal.Level
		colour bool
	}{
		"hub":     {"everything that a hub can tell of", everything(), "", terminal.Failed, false},
		"colours": {"the same on a terminal: columns stand as without", everything(), "", terminal.Failed, true},
		"tenant":  {"Vpcs and peerings of one tenant", everything(), "bank", terminal.Failed, false},
		"frozen":  {"what the hub holds back comes first", heldBack(), "", terminal.Failed, false},
		"cluster": {"what the copies say", inCluster(), "", terminal.Failed, false},
		"alone":   {"a cluster without copies", &facts.Facts{Cluster: true, Now: now}, "", terminal.Waiting, false},
		"empty":   {"a hub without anything is well", &facts.Facts{Hub: true, Now: now}, "", terminal.Well, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			report := Of(test.facts, test.tenant)
			if report.State != test.state {
				t.Errorf("%s: %s, want %s", test.reason, report.State, test.state)
			}
			var text bytes.Buffer
			w := terminal.NewWriter(&text)
			if test.colour {
				w = terminal.NewColourWriter(&text)
			}
			report.Print(w, now)
			if err := w.Err(); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden", text.Bytes())
		})
	}
}

func TestJSON(t *testing.T) {
	var text bytes.Buffer
	if err := terminal.Encode(&text, "json", Of(everything(), "")); err != nil {
		t.Fatal(err)
	}
	golden(t, "hub.json.golden", text.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (go test -update writes it anew): -want +got:\n%s", name, diff)
	}
}
