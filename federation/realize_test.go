// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
			want:   realized{synced: true, own: partState{programmed: true}},
		},
		"OtherSpec": {
			reason: "While the hub has not written the newest spec, nothing that the cluster says counts.",
			object: spokev1alpha1.LocalRouter{Spec: spokev1alpha1.LocalRouterSpec{LinkCIDR: "100.64.0.8/29"}, Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, "")}},
			want:   realized{own: partState{message: "waits for the hub to distribute the newest decision"}},
		},
		"Behind": {
			reason: "A cluster that is behind is waited for, even though it says that it has programmed what it knows.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionTrue, 3, "")}},
			want:   realized{own: partState{message: "has realized generation 3 of 5"}},
		},
		"BehindWithOldError": {
			reason: "An error about an older generation says nothing about the newest.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionFalse, 3, "no OVN")}},
			want:   realized{own: partState{message: "has realized generation 3 of 5"}},
		},
		"Failing": {
			reason: "A cluster that tries the newest generation and can't is an error, in its own words.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Conditions: says(metav1.ConditionFalse, 5, "no OVN")}},
			want:   realized{own: partState{failed: true, message: "no OVN"}},
		},
		"GatewayFailing": {
			reason: "The error of a gateway node is told with its name.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 5}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 3, Gateways: []spokev1alpha1.RouterGateway{{Node: "n1", Message: "map is full"}}}},
			want:   realized{own: partState{failed: true, message: "gateway node n1: map is full"}},
		},
		"Silent": {
			reason: "Without a condition the router has nothing older, but nobody says that it works.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: spokev1alpha1.LocalRouterStatus{ObservedGeneration: 1}},
			want:   realized{synced: true, own: partState{message: "has not said that it is programmed"}},
		},
		"Going": {
			reason: "A router under deletion must be gone before a new one of that name can be.",
			object: spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now}, Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, "")}},
			want:   realized{own: partState{message: "waits until the former router is gone"}},
		},
		"Probes": {
			reason: "A router is reached when all gateway nodes reach it.",
			object: spokev1alpha1.LocalRouter{Status: spokev1alpha1.LocalRouterStatus{Conditions: says(metav1.ConditionTrue, 0, ""), Probes: []spokev1alpha1.ProbeResult{
				{Node: "n1", Vpc: "shop/b", Cluster: "west", Reachable: true}, {Node: "n2", Vpc: "shop/b", Cluster: "west", Reachable: false},
				{Node: "n1", Vpc: "shop/b", Cluster: "east", Reachable: true},
			}}},
			want: realized{synced: true, own: partState{programmed: true}, reached: []reach{{vpc: "shop/b", cluster: "east", reachable: true}, {vpc: "shop/b", cluster: "west"}}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := compareRouter(&tc.object, &spokev1alpha1.LocalRouter{})
			if diff := gocmp.Diff(&tc.want, got, gocmp.AllowUnexported(realized{}, reach{}, partState{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\ncompareRouter (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPartsOfARouter: a change of one part says nothing of the others, which the cluster has realized before.
func TestPartsOfARouter(t *testing.T) {
	shop := spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "a"}
	way := func(vpc, cluster string) spokev1alpha1.Remote {
		return spokev1alpha1.Remote{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: vpc}, Cluster: cluster}
	}
	router := func(generation, observed int64, subnet string, ways ...spokev1alpha1.Remote) *spokev1alpha1.LocalRouter {
		r := &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Generation: generation}, Spec: spokev1alpha1.LocalRouterSpec{Vpc: shop, VpcUID: "1", Remotes: ways}}
		r.Spec.Subnets = []spokev1alpha1.RouterSubnet{{Name: subnet}}
		for _, w := range ways {
			r.Spec.Routes = append(r.Spec.Routes, w.Cluster+"/"+w.Vpc.Name)
		}
		r.Status.ObservedGeneration = observed
		r.Status.Conditions = []metav1.Condition{{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, ObservedGeneration: observed}}
		return r
	}
	failing := router(3, 2, "net", way("b", "west"), way("c", "west"))
	failing.Status.Conditions[0] = metav1.Condition{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, ObservedGeneration: 3, Message: "no OVN"}
	for name, test := range map[string]struct {
		reason  string
		seen    []*spokev1alpha1.LocalRouter
		own     bool
		toward  map[Key]bool
		desired *spokev1alpha1.LocalRouter
	}{
		"NewPeer": {
			"the ways to c are new, those to b are not",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west")), router(3, 2, "net", way("b", "west"), way("c", "west"))},
			true, map[Key]bool{"shop/b": true, "shop/c": false}, nil,
		},
		"PeerInOneMoreCluster": {
			"the ways to b have changed",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west")), router(3, 2, "net", way("b", "west"), way("b", "north"))},
			true, map[Key]bool{"shop/b": false}, nil,
		},
		"NewSubnet": {
			"the router's own part has changed",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west")), router(3, 2, "other", way("b", "west"))},
			false, map[Key]bool{"shop/b": true}, nil,
		},
		"OneMoreClusterOfItsOwn": {
			"the ways to the same Vpc elsewhere are its own part",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west")), router(3, 2, "net", way("b", "west"), way("a", "west"))},
			false, map[Key]bool{"shop/b": true}, nil,
		},
		"NeverSeen": {
			"of a router from before, nobody knows since when it says what it says",
			[]*spokev1alpha1.LocalRouter{router(3, 2, "net", way("b", "west"))},
			false, map[Key]bool{"shop/b": false}, nil,
		},
		"CaughtUp": {
			"the cluster has realized the newest generation",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net"), router(3, 2, "net", way("c", "west")), router(3, 3, "net", way("c", "west"))},
			true, map[Key]bool{"shop/c": true}, nil,
		},
		"TwoBehind": {
			"what changed at generation 3 is realized, what changed at 4 is not",
			[]*spokev1alpha1.LocalRouter{
				router(2, 2, "net", way("b", "west")), router(3, 2, "net", way("b", "west"), way("c", "west")),
				router(4, 3, "net", way("b", "north"), way("c", "west")),
			},
			true, map[Key]bool{"shop/b": false, "shop/c": true}, nil,
		},
		"NotYetDistributed": {
			"what is not written yet nobody has",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west"))},
			true, map[Key]bool{"shop/b": true, "shop/c": false}, router(0, 0, "net", way("b", "west"), way("c", "west")),
		},
		"Failing": {
			"a cluster that can't realize the newest generation is told of with all that it has",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net", way("b", "west")), failing},
			false, map[Key]bool{"shop/b": false, "shop/c": false}, nil,
		},
		"AnotherVpcOfThatName": {
			"nothing is known of a younger Vpc of the same name",
			[]*spokev1alpha1.LocalRouter{router(2, 2, "net"), func() *spokev1alpha1.LocalRouter { r := router(3, 2, "net"); r.Spec.VpcUID = "2"; return r }()},
			false, nil, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			last := test.seen[0]
			for _, o := range test.seen[1:] {
				pending := last.Annotations[spokev1alpha1.AnnotationPending]
				if o.Generation != last.Generation {
					pending = Pending(last, &o.Spec)
				}
				last = o.DeepCopy()
				last.Annotations = map[string]string{spokev1alpha1.AnnotationPending: pending}
			}
			desired := test.desired
			if desired == nil {
				desired = last
			}
			got := compareRouter(last, desired)
			if got.own.programmed != test.own {
				t.Errorf("%s: the own part is %+v", test.reason, got.own)
			}
			for vpc, want := range test.toward {
				if state := got.to(vpc); state.programmed != want {
					t.Errorf("%s: the ways to %s are %+v", test.reason, vpc, state)
				}
			}
		})
	}
}
