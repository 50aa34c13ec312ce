// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// TestHubIsAMember: the hub's cluster may be a member, of its own fleet or of another hub's. Then there are the agent's copies in namespace tombolo-system, of the
// same kinds as what the hub distributes, and they are none of the hub's: it doubts nothing because of them, deletes none, and does not plan when they change.
func TestHubIsAMember(t *testing.T) {
	newFleet(t, "east", "west")
	for _, copy := range []client.Object{
		&spokev1alpha1.LocalRouter{
			ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "shop.front", Finalizers: []string{"spoke.tombolo.io/router"},
				Labels:      map[string]string{spokev1alpha1.LabelVpcNamespace: "shop", spokev1alpha1.LabelVpcName: "front"},
				Annotations: map[string]string{spokev1alpha1.AnnotationHub: "another-hub", spokev1alpha1.AnnotationHubEpoch: "9", spokev1alpha1.AnnotationHubUID: "there"}},
			Spec: spokev1alpha1.LocalRouterSpec{Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "front", VNI: 100}, VpcUID: "there", LinkCIDR: "100.64.0.0/29"},
		},
		&spokev1alpha1.InterconnectGateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "east", Annotations: map[string]string{spokev1alpha1.AnnotationHubUID: "there"}},
			Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Encapsulation: "VXLAN", Port: 4789, Hub: spokev1alpha1.HubIdentity{UID: "another-hub", Epoch: 9}},
		},
	} {
		create(t, copy)
	}
	h := startHub(t)
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	fleetIs(t, "nothing is doubted", thawed)
	h.settle()

	plans := h.count("tombolo_hub_plan_total")
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"observedGeneration":1}}`))
	if err := admin.Status().Patch(t.Context(), &spokev1alpha1.LocalRouter{ObjectMeta: name(systemNamespace, "shop.front")}, patch); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if now := h.count("tombolo_hub_plan_total"); now != plans {
		t.Errorf("%v plans because a copy has changed", now-plans)
	}

	v := vpc("front")
	if err := admin.Delete(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Vpc goes when the clusters have let go", func() error {
		if err := errors.Join(east.realize(t.Context()), west.realize(t.Context())); err != nil {
			return err
		}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(v), v); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	h.settle()
	for _, copy := range []client.Object{
		&spokev1alpha1.LocalRouter{ObjectMeta: name(systemNamespace, "shop.front")}, &spokev1alpha1.InterconnectGateway{ObjectMeta: name(systemNamespace, "east")},
	} {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(copy), copy); err != nil || copy.GetDeletionTimestamp() != nil {
			t.Errorf("the hub has taken the agent's copy %s away: %v", copy.GetName(), err)
		}
	}
}
