// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

func TestRouterStatusOfNodes(t *testing.T) {
	copy := hubRouter("vpc-1")
	for _, node := range []string{"dead", "e1"} {
		copy.Status.Gateways = append(copy.Status.Gateways, spokev1alpha1.RouterGateway{Node: node, Message: "of " + node})
		copy.Status.Probes = append(copy.Status.Probes, spokev1alpha1.ProbeResult{Node: node, Vpc: "demo/far", Cluster: "west", Reachable: node == "e1"})
	}
	cases := map[string]struct {
		reason string
		nodes  []string
		want   spokev1alpha1.LocalRouterStatus
	}{
		"OneLeft": {
			reason: "a node that died unreachable and was taken off the list must not keep the peering unverified for ever",
			nodes:  []string{"e1"},
			want:   spokev1alpha1.LocalRouterStatus{Gateways: copy.Status.Gateways[1:], Probes: copy.Status.Probes[1:]},
		},
		"BothServe": {
			reason: "an approved node counts, whatever it says",
			nodes:  []string{"e1", "dead"},
			want:   spokev1alpha1.LocalRouterStatus{Gateways: copy.Status.Gateways, Probes: copy.Status.Probes},
		},
		"NoneLeft": {reason: "without a gateway nothing is verified"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := routerStatus(hubRouter("vpc-1"), copy, tc.nodes)
			got.Conditions = nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestGenerations: a generation of before the hub's restore must not pass for one that the hub counts now, or the hub
// lets go of what is still in use.
func TestGenerations(t *testing.T) {
	cases := map[string]struct {
		reason            string
		hub, ovn, gateway int64
		want              int64
		programmed        bool
	}{
		"Realized":         {"all have it", 5, 5, 5, 5, true},
		"GatewayBehind":    {"the last one counts", 5, 5, 4, 4, false},
		"OVNBehind":        {"whoever that is", 5, 4, 5, 4, false},
		"OVNFormerHub":     {"10 is of another count", 5, 10, 5, 0, false},
		"GatewayFormerHub": {"10 is of another count", 5, 5, 10, 0, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, copy := hubRouter("vpc-1"), hubRouter("vpc-1")
			hub.Generation, hub.Spec.Remotes = tc.hub, []spokev1alpha1.Remote{{Cluster: "west"}}
			copy.Status.ObservedGeneration = tc.ovn
			copy.Status.Gateways = []spokev1alpha1.RouterGateway{{Node: "e1", ObservedGeneration: tc.gateway}}
			got := routerStatus(hub, copy, []string{"e1"})
			if programmed := meta.IsStatusConditionTrue(got.Conditions, spokev1alpha1.ConditionProgrammed); got.ObservedGeneration != tc.want || programmed != tc.programmed {
				t.Errorf("%s: observed %d, programmed %t, want %d, %t", tc.reason, got.ObservedGeneration, programmed, tc.want, tc.programmed)
			}
		})
	}
}

// TestReportNodes: a cluster with more nodes than others can know reports none, and says so.
func TestReportNodes(t *testing.T) {
	node := func(i int, address string) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("n%04d", i), Annotations: map[string]string{local.AnnotationNodeEndpoint: address}}}
	}
	few := []corev1.Node{node(2, "192.0.2.2"), node(1, "192.0.2.1"), node(3, "nonsense"), node(4, "2001:db8::1"), {}}
	want := []spokev1alpha1.ClusterNode{{Node: "n0001", Address: "192.0.2.1"}, {Node: "n0002", Address: "192.0.2.2"}}
	hub := &spokev1alpha1.InterconnectGateway{}
	if diff := cmp.Diff(want, gatewayStatus(hub, hub, few, nil, nil).Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	var many []corev1.Node
	for i := range spokev1alpha1.MaxNodes {
		many = append(many, node(i, "192.0.2.1"))
	}
	if got := gatewayStatus(hub, hub, many, nil, nil); len(got.Nodes) != spokev1alpha1.MaxNodes {
		t.Errorf("%d nodes of %d are reported", len(got.Nodes), spokev1alpha1.MaxNodes)
	}
	many = append(many, node(spokev1alpha1.MaxNodes, "192.0.2.1"))
	got := gatewayStatus(hub, hub, many, nil, nil)
	if message := got.Conditions[0].Message; len(got.Nodes) != 0 || !strings.Contains(message, "1025 nodes are more than the 1024") {
		t.Errorf("%d nodes are reported, and %q", len(got.Nodes), message)
	}
}

func TestEndpointsApproved(t *testing.T) {
	hub := hubGateway("west", "w1")
	for name, test := range map[string]struct {
		reason  string
		refused []spokev1alpha1.RefusedReport
		want    metav1.ConditionStatus
		message string
	}{
		"Nothing": {"what was refused nothing of is approved", nil, metav1.ConditionTrue, "The hub has refused nothing."},
		"Two": {"all that was refused is said", []spokev1alpha1.RefusedReport{
			{Node: "w1", Reason: spokev1alpha1.ReasonKeyTaken, Message: "one"}, {Node: "w2", Reason: spokev1alpha1.ReasonAddressTaken, Message: "two"},
		}, metav1.ConditionFalse, "node w1: one; node w2: two"},
	} {
		t.Run(name, func(t *testing.T) {
			hub.Spec.Refused = test.refused
			c := meta.FindStatusCondition(gatewayStatus(hub, hub, nil, nil, nil).Conditions, spokev1alpha1.ConditionEndpointsApproved)
			if c == nil || c.Status != test.want || c.Message != test.message {
				t.Errorf("condition is %+v, want %s %q: %s", c, test.want, test.message, test.reason)
			}
		})
	}
}

func TestCopyNewer(t *testing.T) {
	hub, copy := hubRouter("vpc-1"), hubRouter("vpc-1")
	hub.Generation, hub.Status.ObservedGeneration = 5, 10
	copy.Annotations = map[string]string{spokev1alpha1.AnnotationHubGeneration: "10"}
	got := copyNewer(hub, copy)
	message := got.Conditions[0].Message
	if got.ObservedGeneration != 0 || meta.IsStatusConditionTrue(got.Conditions, spokev1alpha1.ConditionProgrammed) ||
		!strings.Contains(message, "generation 10") || !strings.Contains(message, "localrouter demo.vpc-1 spoke.tombolo.io/hub-generation=0") {
		t.Errorf("status is %+v: want it to claim nothing, and to say what to do", got)
	}
}

func TestTunnelsOfNodes(t *testing.T) {
	hub, copy := hubGateway("east", "e1"), hubGateway("east", "e1")
	for _, node := range []string{"dead", "e1"} {
		copy.Status.Tunnels = append(copy.Status.Tunnels, spokev1alpha1.Tunnel{Cluster: "west", Node: node, Reachable: true, PathMTU: 1500})
	}
	hub.Status.Tunnels = []spokev1alpha1.Tunnel{{Cluster: "south", Node: "e1"}}
	got := gatewayStatus(hub, copy, nil, nil, nil).Tunnels
	if diff := cmp.Diff(copy.Status.Tunnels[1:], got); diff != "" {
		t.Errorf("what the approved nodes of the cluster say, and nothing else (-want +got):\n%s", diff)
	}
}
