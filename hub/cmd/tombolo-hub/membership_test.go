// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestClusterWithoutNamespaceIsWaitedFor(t *testing.T) {
	newFleet(t)
	h := startHub(t)
	joinCluster(t, "north")
	create(t, vpc("front", "north"))
	eventually(t, "the Vpc is accepted", func() error {
		v, err := get(t, &networkv1alpha1.Vpc{}, "shop", "front")
		if err != nil {
			return err
		}
		return condition(v.Status.Conditions, networkv1alpha1.ConditionAccepted, "True", "")
	})
	h.settle() // without an error in its log: a namespace that OCM is about to make is none
	makeNamespace(t, "north")
	router(t, "north", "front", "the cluster is told when its namespace is there", func(*spokev1alpha1.LocalRouter) error { return nil })
	eventually(t, "and its agent let in", func() error {
		_, err := get(t, &rbacv1.RoleBinding{}, "north", "tombolo-spoke-agent")
		return err
	})
}

func TestPlacementIsFollowed(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	front := vpc("front")
	front.Spec.Clusters = networkv1alpha1.ClusterSelection{Placement: "edge"}
	create(t, front)
	decide(t, "edge", "west")
	told := router(t, "west", "front", "the cluster that the Placement has chosen is told", func(*spokev1alpha1.LocalRouter) error { return nil })
	if _, err := get(t, &spokev1alpha1.LocalRouter{}, "east", "shop.front"); !apierrors.IsNotFound(err) {
		t.Errorf("the other is not: %v", err)
	}

	// As OCM does for a Placement that comes back: it creates the decision empty, and then fills it.
	for _, gone := range []client.Object{
		&clusterv1beta1.PlacementDecision{ObjectMeta: name("shop", "edge-decision-1")},
		&clusterv1beta1.Placement{ObjectMeta: name("shop", "edge")},
	} {
		if err := admin.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	decision := undecided(t, "edge")
	create(t, vpc("other", "east")) // and the hub has planned after that
	router(t, "east", "other", "another Vpc is planned", func(*spokev1alpha1.LocalRouter) error { return nil })
	count(t, "edge", fill(t, decision, "west"))
	again := router(t, "west", "front", "nothing was decided otherwise", func(r *spokev1alpha1.LocalRouter) error {
		if r.DeletionTimestamp != nil {
			return errors.New("it is being deleted")
		}
		return nil
	})
	if again.UID != told.UID {
		t.Errorf("LocalRouter %s was made anew, as %s", told.UID, again.UID)
	}
}

// decide makes a Placement that has chosen clusters.
func decide(t *testing.T, placement string, clusters ...string) {
	t.Helper()
	count(t, placement, fill(t, undecided(t, placement), clusters...))
}

// undecided makes a Placement with an empty decision.
func undecided(t *testing.T, placement string) *clusterv1beta1.PlacementDecision {
	t.Helper()
	create(t, &clusterv1beta1.Placement{ObjectMeta: name("shop", placement)})
	decision := &clusterv1beta1.PlacementDecision{ObjectMeta: name("shop", placement+"-decision-1")}
	decision.Labels = map[string]string{clusterv1beta1.PlacementLabel: placement}
	create(t, decision)
	return decision
}

// fill gives a decision its clusters, and tells how many they are.
func fill(t *testing.T, decision *clusterv1beta1.PlacementDecision, clusters ...string) int32 {
	t.Helper()
	for _, cluster := range clusters {
		decision.Status.Decisions = append(decision.Status.Decisions, clusterv1beta1.ClusterDecision{ClusterName: cluster})
	}
	if err := admin.Status().Update(t.Context(), decision); err != nil {
		t.Fatalf("decide: %v", err)
	}
	return int32(len(clusters))
}

// count ends a decision: the Placement's status has the number of clusters.
func count(t *testing.T, placement string, clusters int32) {
	t.Helper()
	p, err := get(t, &clusterv1beta1.Placement{}, "shop", placement)
	if err != nil {
		t.Fatal(err)
	}
	p.Status.NumberOfSelectedClusters = clusters
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionTrue, Reason: "AllDecisionsScheduled",
	})
	if err := admin.Status().Update(t.Context(), p); err != nil {
		t.Fatalf("count: %v", err)
	}
}

func TestAgentMayDoNothingElse(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	create(t, vpc("front", "east", "west"))
	east := newAgent(t, "east")
	router(t, "east", "front", "the agent may answer", func(*spokev1alpha1.LocalRouter) error { return east.realize(t.Context()) })

	var directory spokev1alpha1.InterconnectGatewayList
	eventually(t, "it may read the whole directory", func() error {
		if err := east.client.List(t.Context(), &directory); err != nil {
			return err
		}
		if len(directory.Items) != 2 {
			return fmt.Errorf("%d gateways, want 2", len(directory.Items))
		}
		return nil
	})

	mine, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
	if err != nil {
		t.Fatal(err)
	}
	other := router(t, "west", "front", "the other cluster has its router", func(*spokev1alpha1.LocalRouter) error { return nil })
	for name, test := range map[string]struct {
		reason string
		act    func() error
	}{
		"ReadOther": {"what another cluster is told is not its business", func() error {
			return east.client.List(t.Context(), &spokev1alpha1.LocalRouterList{}, client.InNamespace("west"))
		}},
		"WriteOther": {"nor to be answered", func() error { return east.client.Status().Update(t.Context(), other) }},
		"ReadVpcs":   {"nor what people wrote", func() error { return east.client.List(t.Context(), &networkv1alpha1.VpcList{}) }},
		"Delete":     {"it may not delete what it is told", func() error { return east.client.Delete(t.Context(), mine.DeepCopy()) }},
		"Create": {"nor tell itself more", func() error {
			return east.client.Create(t.Context(), &spokev1alpha1.LocalRouter{ObjectMeta: name("east", "shop.other")})
		}},
		"Spec": {"nor tell the fleet other endpoints than the hub has approved", func() error {
			forged := mine.DeepCopy()
			forged.Spec.Endpoints = []spokev1alpha1.GatewayEndpoint{{Node: "gw", Address: "198.51.100.66"}}
			return east.client.Patch(t.Context(), forged, client.MergeFrom(mine))
		}},
		"Labels": {"nor that its router is that of another Vpc", func() error {
			forged := mine.DeepCopy()
			forged.Labels = map[string]string{spokev1alpha1.LabelVpcName: "other"}
			return east.client.Patch(t.Context(), forged, client.MergeFrom(mine))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.act(); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("error %v, want it to be forbidden: %s", err, test.reason)
			}
		})
	}
}

func TestUnacceptedClusterIsLetOut(t *testing.T) {
	newFleet(t, "east")
	startHub(t)
	eventually(t, "the agent is let in", func() error {
		_, err := get(t, &rbacv1.ClusterRoleBinding{}, "", "tombolo-directory:east")
		return err
	})
	cluster, err := get(t, &clusterv1.ManagedCluster{}, "", "east")
	if err != nil {
		t.Fatal(err)
	}
	cluster.Spec.HubAcceptsClient = false
	if err := admin.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	eventually(t, "and out again", func() error {
		_, inNamespace := get(t, &rbacv1.RoleBinding{}, "east", "tombolo-spoke-agent")
		_, directory := get(t, &rbacv1.ClusterRoleBinding{}, "", "tombolo-directory:east")
		if !apierrors.IsNotFound(inNamespace) || !apierrors.IsNotFound(directory) {
			return errors.New("a binding is left")
		}
		return nil
	})
}
