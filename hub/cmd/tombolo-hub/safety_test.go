// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// fleetIs waits until the Fleet satisfies check.
func fleetIs(t testing.TB, reason string, check func(*networkv1alpha1.Fleet) error) *networkv1alpha1.Fleet {
	t.Helper()
	var found *networkv1alpha1.Fleet
	eventually(t, reason, func() error {
		f, err := get(t, &networkv1alpha1.Fleet{}, "", networkv1alpha1.FleetName)
		if err != nil {
			return err
		}
		found = f
		return check(f)
	})
	return found
}

func frozenFor(reason string) func(*networkv1alpha1.Fleet) error {
	return func(f *networkv1alpha1.Fleet) error {
		if err := condition(f.Status.Conditions, networkv1alpha1.ConditionFrozen, metav1.ConditionTrue, reason); err != nil {
			return err
		}
		if f.Status.PendingRemoval == nil || f.Status.PendingRemoval.Digest == "" {
			return errors.New("there is no pending removal")
		}
		return nil
	}
}

func thawed(f *networkv1alpha1.Fleet) error {
	if f.Status.PendingRemoval != nil {
		return fmt.Errorf("pending is %+v", f.Status.PendingRemoval)
	}
	return condition(f.Status.Conditions, networkv1alpha1.ConditionFrozen, metav1.ConditionFalse, networkv1alpha1.ReasonNone)
}

func confirm(t testing.TB, digest string) {
	t.Helper()
	f := &networkv1alpha1.Fleet{ObjectMeta: name("", networkv1alpha1.FleetName)}
	if err := admin.Patch(t.Context(), f, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"confirmedRemoval":%q}}`, digest))); err != nil {
		t.Fatal(err)
	}
}

// TestEpochCountsLeaders: each leader counts up before it writes anything else, rewrites nothing for that, and nobody makes it count down.
func TestEpochCountsLeaders(t *testing.T) {
	newFleet(t, "east")
	create(t, vpc("front", "east"))
	first := startHub(t)
	bears := func(epoch int64) func(*spokev1alpha1.LocalRouter) error {
		return func(r *spokev1alpha1.LocalRouter) error {
			if got := r.Annotations[spokev1alpha1.AnnotationHubEpoch]; got != strconv.FormatInt(epoch, 10) {
				return fmt.Errorf("epoch is %q", got)
			}
			return nil
		}
	}
	before := router(t, "east", "front", "the router bears the first epoch", bears(1))
	system, err := get(t, &corev1.Namespace{}, "", metav1.NamespaceSystem)
	if err != nil {
		t.Fatal(err)
	}
	fleetIs(t, "the Fleet is made", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch != 1 || f.Status.HubUID != string(system.UID) || f.Spec.MaxRemovalPercent != 20 || before.Annotations[spokev1alpha1.AnnotationHub] != f.Status.HubUID {
			return fmt.Errorf("it is %+v", f)
		}
		return thawed(f)
	})
	first.settle()
	first.kill()

	second := startHub(t)
	fleetIs(t, "the second leader has counted", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch != 2 {
			return fmt.Errorf("epoch %d", f.Status.Epoch)
		}
		return nil
	})
	create(t, vpc("back", "east"))
	router(t, "east", "back", "what it writes bears its epoch", bears(2))
	if after := router(t, "east", "front", "what was written before bears that of then", bears(1)); after.ResourceVersion != before.ResourceVersion {
		t.Error("a router was rewritten for a new leader")
	}
	if err := admin.Delete(t.Context(), &networkv1alpha1.Fleet{ObjectMeta: name("", networkv1alpha1.FleetName)}); err != nil {
		t.Fatal(err)
	}
	fleetIs(t, "a Fleet that was deleted comes back, and counts on", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch != 3 {
			return fmt.Errorf("epoch %d", f.Status.Epoch)
		}
		return nil
	})
	second.settle()
	second.kill()

	// Lost while no hub was there, after a cluster has seen what the hub has forgotten.
	if err := admin.Delete(t.Context(), &networkv1alpha1.Fleet{ObjectMeta: name("", networkv1alpha1.FleetName)}); err != nil {
		t.Fatal(err)
	}
	sees(t, "east", 40)
	startHub(t)
	fleetIs(t, "it counts from what the clusters have seen", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch != 41 {
			return fmt.Errorf("epoch %d", f.Status.Epoch)
		}
		return thawed(f)
	})
}

// sees lets a cluster say that it has seen an epoch.
func sees(t testing.TB, cluster string, epoch int64) {
	t.Helper()
	eventually(t, cluster+" says which epoch it has seen", func() error {
		g := &spokev1alpha1.InterconnectGateway{ObjectMeta: name(cluster, cluster)}
		return newAgent(t, cluster).client.Status().Patch(t.Context(), g, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":{"observedEpoch":%d}}`, epoch)))
	})
}

// TestMassRemovalWaits: a label that is lost would take eleven Vpcs out of a cluster. They stay until somebody confirms, and what adds goes on.
func TestMassRemovalWaits(t *testing.T) {
	const vpcs = 11
	newFleet(t, "east", "west")
	h := startHub(t)
	for i := range vpcs {
		v := vpc(fmt.Sprintf("v%d", i))
		v.Spec.Clusters = networkv1alpha1.ClusterSelection{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"region": "east"}}}
		create(t, v)
	}
	routers := func(want int) func() error {
		return func() error {
			var list spokev1alpha1.LocalRouterList
			if err := admin.List(t.Context(), &list, client.InNamespace("east")); err != nil {
				return err
			}
			live := 0
			for i := range list.Items {
				if list.Items[i].DeletionTimestamp == nil {
					live++
				}
			}
			if live != want {
				return fmt.Errorf("%d routers, want %d", live, want)
			}
			return nil
		}
	}
	eventually(t, "every Vpc is in east", routers(vpcs))
	h.settle()
	label := func(region string) {
		t.Helper()
		c := &clusterv1.ManagedCluster{ObjectMeta: name("", "east")}
		if err := admin.Patch(t.Context(), c, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"labels":{"region":%q}}}`, region))); err != nil {
			t.Fatal(err)
		}
	}
	label("lost")
	frozen := fleetIs(t, "the removal is held", frozenFor(networkv1alpha1.ReasonMassRemoval))
	if p := frozen.Status.PendingRemoval; p.Routers != vpcs || len(p.Examples) != 10 {
		t.Errorf("pending is %+v", p)
	}
	if frozen := h.count("tombolo_hub_frozen", "MassRemoval"); frozen != 1 {
		t.Errorf("metric tombolo_hub_frozen is %v", frozen)
	}
	create(t, vpc("new", "east", "west"))
	router(t, "west", "new", "what only adds goes on", func(*spokev1alpha1.LocalRouter) error { return nil })
	confirm(t, "0123456789abcdef")
	h.settle()
	if err := routers(vpcs + 1)(); err != nil {
		t.Errorf("another digest confirms nothing: %v", err)
	}
	label("east")
	fleetIs(t, "what is undone needs no confirmation", thawed)
	label("lost")
	frozen = fleetIs(t, "the removal is held again", frozenFor(networkv1alpha1.ReasonMassRemoval))
	h.settle()
	h.kill()

	again := startHub(t)
	fleetIs(t, "another leader holds it too", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch < 2 {
			return errors.New("it has not begun")
		}
		return frozenFor(networkv1alpha1.ReasonMassRemoval)(f)
	})
	again.settle()
	confirm(t, frozen.Status.PendingRemoval.Digest)
	eventually(t, "it is carried out", routers(1))
	fleetIs(t, "nothing is held any more", thawed)
	again.settle()
}

// TestHubThatWentBackWritesNothing: a cluster has seen more leaders than this hub counts. Until somebody confirms that the hub is right it gives nothing
// and takes nothing; then its epoch is above all that anybody has seen.
func TestHubThatWentBackWritesNothing(t *testing.T) {
	newFleet(t, "east")
	create(t, vpc("front", "east"))
	h := startHub(t)
	router(t, "east", "front", "it is distributed", func(*spokev1alpha1.LocalRouter) error { return nil })
	h.settle()
	sees(t, "east", 7)
	frozen := fleetIs(t, "the hub doubts itself", frozenFor(networkv1alpha1.ReasonWentBack))
	create(t, vpc("new", "east"))
	if err := admin.Delete(t.Context(), &networkv1alpha1.Vpc{ObjectMeta: name("shop", "front")}); err != nil {
		t.Fatal(err)
	}
	h.settle()
	time.Sleep(300 * time.Millisecond) // long enough to have done harm
	if r, err := get(t, &spokev1alpha1.LocalRouter{}, "east", "shop.front"); err != nil || r.DeletionTimestamp != nil {
		t.Errorf("a router was deleted: %v", err)
	}
	if _, err := get(t, &spokev1alpha1.LocalRouter{}, "east", "shop.new"); err == nil {
		t.Error("something was handed out")
	}
	if pool, err := get(t, &networkv1alpha1.IPPool{}, "", "vnis"); err != nil || len(pool.Status.Allocations) != 1 {
		t.Errorf("ledger is %+v, %v", pool.Status, err)
	}
	h.kill()
	second := startHub(t)
	fleetIs(t, "another leader doubts, and does not count into what the clusters have seen", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch >= 7 {
			return fmt.Errorf("epoch %d", f.Status.Epoch)
		}
		return frozenFor(networkv1alpha1.ReasonWentBack)(f)
	})
	second.settle()
	confirm(t, frozen.Status.PendingRemoval.Digest)
	fleetIs(t, "the epoch is above all that was seen", func(f *networkv1alpha1.Fleet) error {
		if f.Status.Epoch != 8 || f.Status.RestoredEpoch != 8 {
			return fmt.Errorf("epoch %d, restored in %d", f.Status.Epoch, f.Status.RestoredEpoch)
		}
		return thawed(f)
	})
	router(t, "east", "new", "the hub goes on", func(*spokev1alpha1.LocalRouter) error { return nil })
	eventually(t, "the cluster is told of it", func() error {
		g, err := get(t, &spokev1alpha1.InterconnectGateway{}, "east", "east")
		if err == nil && g.Spec.Hub.RestoredEpoch != 8 {
			err = fmt.Errorf("it is told %+v", g.Spec.Hub)
		}
		return err
	})
	// A router that the cluster refuses, as it has seen newer, is written again in the new epoch; so is its tombstone.
	r, err := get(t, &spokev1alpha1.LocalRouter{}, "east", "shop.front")
	if err != nil || r.DeletionTimestamp == nil {
		t.Fatalf("the router is not under deletion: %v", err)
	}
	refusal := metav1.Condition{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonWentBack, LastTransitionTime: metav1.Now()}
	r.Status.Conditions = []metav1.Condition{refusal}
	if err := newAgent(t, "east").client.Status().Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	router(t, "east", "front", "it bears the new epoch", func(r *spokev1alpha1.LocalRouter) error {
		if got := r.Annotations[spokev1alpha1.AnnotationHubEpoch]; got != "8" {
			return fmt.Errorf("epoch %q", got)
		}
		return nil
	})
	second.settle()
}

// TestForeignObjectsFreeze: what another hub has written turns up here.
func TestForeignObjectsFreeze(t *testing.T) {
	newFleet(t, "east")
	create(t, vpc("front", "east"))
	r := &spokev1alpha1.LocalRouter{ObjectMeta: name("east", "shop.front"), Spec: spokev1alpha1.LocalRouterSpec{
		Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "front", VNI: 150}, VpcUID: "u", LinkCIDR: "100.64.0.0/29"}}
	r.Annotations = map[string]string{spokev1alpha1.AnnotationHub: "another", spokev1alpha1.AnnotationHubEpoch: "5"}
	r.Finalizers = []string{spokev1alpha1.Finalizer}
	create(t, r)
	h := startHub(t)
	frozen := fleetIs(t, "the hub doubts itself", frozenFor(networkv1alpha1.ReasonForeignHub))
	h.settle()
	if now, err := get(t, &spokev1alpha1.LocalRouter{}, "east", "shop.front"); err != nil || now.ResourceVersion != r.ResourceVersion {
		t.Errorf("the router was written: %v", err)
	}
	confirm(t, frozen.Status.PendingRemoval.Digest)
	router(t, "east", "front", "it is taken over", func(r *spokev1alpha1.LocalRouter) error {
		if r.Annotations[spokev1alpha1.AnnotationHub] != frozen.Status.HubUID {
			return fmt.Errorf("hub is %q", r.Annotations[spokev1alpha1.AnnotationHub])
		}
		return nil
	})
	fleetIs(t, "nothing is held any more", thawed)
}
