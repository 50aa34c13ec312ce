// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestCompareRouter(t *testing.T) {
	now := metav1.Unix(1, 0)
	says := func(status metav1.ConditionStatus, generation int64, message string) []metav1.Condition {
		return []metav1.Condition{{Type: spokev1alpha1.ConditionProgrammed, Status: status, ObservedGeneration: generation, Message: message}}
	}
	cases := map[string]struct {
		reason string
		object spokev1alpha1.LocalRouter
		want   realized
	}{
		"Programmed": {
			reason: "The newest spec, realized, with the condition True is programmed.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 2, Conditions: says(metav1.ConditionTrue, 2, "")}},
			want:   realized{synced: true, programmed: true},
		},
		"OtherSpec": {
			reason: "While the hub has not written the newest spec, nothing that the cluster says counts.",
			object: spokev1alpha1.LocalRouter{Spec: spokev1alpha1.LocalRouterSpec{LinkCIDR: "100.64.0.8/29"}, Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, "")}},
			want:   realized{message: "waits for the hub to distribute the newest decision"},
		},
		"Behind": {
			reason: "A cluster that is behind is waited for, even though it says that it has programmed what it knows.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionTrue, 3, "")}},
			want:   realized{message: "has realized generation 3 of 5"},
		},
		"BehindWithOldError": {
			reason: "An error about an older generation says nothing about the newest.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionFalse, 3, "no OVN")}},
			want:   realized{message: "has realized generation 3 of 5"},
		},
		"Failing": {
			reason: "A cluster that tries the newest generation and can't is an error, in its own words.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionFalse, 5, "no OVN")}},
			want:   realized{failed: true, message: "no OVN"},
		},
		"GatewayFailing": {
			reason: "The error of a gateway node is told with its name.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Gateways: []spokev1alpha1.RouterGateway{{Node: "n1", Message: "map is full"}}}},
			want:   realized{failed: true, message: "gateway node n1: map is full"},
		},
		"Silent": {
			reason: "Without a condition the router has nothing older, but nobody says that it works.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 1}},
			want:   realized{synced: true, message: "has not said that it is programmed"},
		},
		"Going": {
			reason: "A router under deletion must be gone before a new one of that name can be.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, "")}},
			want:   realized{message: "waits until the former router is gone"},
		},
		"Probes": {
			reason: "A router is reached when all gateway nodes reach it.",
			object: spokev1alpha1.LocalRouter{Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, ""), Probes: []spokev1alpha1.ProbeResult{
				{Node: "n1", Vpc: "shop/b", Cluster: "west", Reachable: true}, {Node: "n2", Vpc: "shop/b", Cluster: "west", Reachable: false},
				{Node: "n1", Vpc: "shop/b", Cluster: "east", Reachable: true},
			}}},
			want: realized{synced: true, programmed: true, reached: []reach{{vpc: "shop/b", cluster: "east", reachable: true}, {vpc: "shop/b", cluster: "west"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := compareRouter(&tc.object, &spokev1alpha1.LocalRouter{})
			if diff := gocmp.Diff(&tc.want, got, gocmp.AllowUnexported(realized{}, reach{})); diff != "" {
				t.Errorf("%s\ncompareRouter (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
