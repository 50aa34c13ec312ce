// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
)

// A cluster leaves in three ways; the fleet sees the same each time.
func TestClusterIsDrained(t *testing.T) {
	installOCM(t)
	for name, test := range map[string]struct {
		reason string
		leave  func(t *testing.T, west *agent) error
	}{
		"ManagedCluster": {"somebody detaches the cluster", func(t *testing.T, _ *agent) error {
			return admin.Delete(t.Context(), &clusterv1.ManagedCluster{ObjectMeta: name("", "west")})
		}},
		"AddOn": {"somebody disables the add-on", func(t *testing.T, _ *agent) error {
			return admin.Delete(t.Context(), westAddOn())
		}},
		"Agent": {"the cluster's own administrator uninstalls the agent", func(t *testing.T, west *agent) error {
			return west.leaves(t.Context(), spokev1alpha1.ReasonUninstalling)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			newFleet(t, "east", "west")
			create(t, westAddOn())
			t.Cleanup(func() { removeAddOn(t) })
			startHub(t, "--add-on=false")
			create(t, vpc("front", "east", "west"))
			create(t, subnet("front-west", "front", "west", "10.1.0.0/16"))
			east, west := newAgent(t, "east"), newAgent(t, "west")
			meet(t, "east", "west", east, west)
			held(t, "west")

			if err := test.leave(t, west); err != nil {
				t.Fatalf("%s: %v", test.reason, err)
			}
			membership(t, "west", spokev1alpha1.MembershipDraining, "east")
			router(t, "east", "front", "the other is told of no way there", func(r *spokev1alpha1.LocalRouter) error {
				if len(r.Spec.Remotes) > 0 {
					return fmt.Errorf("remotes are %v", r.Spec.Remotes)
				}
				return nil
			})
			if r, err := get(t, &spokev1alpha1.LocalRouter{}, "west", "shop.front"); err != nil || r.DeletionTimestamp != nil {
				t.Fatalf("the other has not said that it has no way: the router must stay, %v, %v", r.DeletionTimestamp, err)
			}
			if err := east.realize(t.Context()); err != nil {
				t.Fatal(err)
			}
			router(t, "west", "front", "then it goes", func(r *spokev1alpha1.LocalRouter) error {
				if r.DeletionTimestamp == nil {
					return errors.New("not under deletion")
				}
				return nil
			})
			if err := west.realize(t.Context()); err != nil {
				t.Fatal(err)
			}
			membership(t, "west", spokev1alpha1.MembershipDrained)
			if name != "ManagedCluster" {
				return
			}
			if c, err := get(t, &clusterv1.ManagedCluster{}, "", "west"); err != nil || len(c.Finalizers) == 0 {
				t.Fatalf("the agent has not cleaned up, and the ManagedCluster is not held: %v", err)
			}
			if err := west.leaves(t.Context(), spokev1alpha1.ReasonLeft); err != nil {
				t.Fatalf("the agent keeps its access until it has said the last: %v", err)
			}
			gone(t, "west")
		})
	}
}

// TestClusterReturns has an agent come back after it was drained.
func TestClusterReturns(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	if err := west.leaves(t.Context(), spokev1alpha1.ReasonUninstalling); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is drained", func() error {
		if err := errors.Join(east.realize(t.Context()), west.realize(t.Context())); err != nil {
			return err
		}
		return isMember("west", spokev1alpha1.MembershipDrained)
	})
	if err := west.says(t.Context(), metav1.ConditionFalse, spokev1alpha1.ReasonInstalled); err != nil {
		t.Fatal(err)
	}
	membership(t, "west", spokev1alpha1.MembershipMember)
	meet(t, "east", "west", east, west)
}

// TestVanishedCluster: one that does not answer is waited for until somebody says that it is gone.
func TestVanishedCluster(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	if err := admin.Delete(t.Context(), &clusterv1.ManagedCluster{ObjectMeta: name("", "west")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its router is withdrawn, and waits for the agent", func() error {
		r, err := get(t, &spokev1alpha1.LocalRouter{}, "west", "shop.front")
		if err != nil || r.DeletionTimestamp != nil {
			return err
		}
		return cmpErr(east.realize(t.Context()), errors.New("not under deletion"))
	})
	if pool := holders(t, "links"); !slices.Contains(pool, "Vpc/shop/front/west") {
		t.Errorf("links are held by %v: a cluster that vanished keeps what it has", pool)
	}
	cluster, err := get(t, &clusterv1.ManagedCluster{}, "", "west")
	if err != nil {
		t.Fatal(err)
	}
	before := cluster.DeepCopy()
	cluster.Annotations = map[string]string{networkv1alpha1.AnnotationGone: "true"}
	if err := admin.Patch(t.Context(), cluster, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	gone(t, "west")
	if pool := holders(t, "links"); slices.Contains(pool, "Vpc/shop/front/west") {
		t.Errorf("links are held by %v, but the cluster is gone for good", pool)
	}
}

// TestSilentClusterGoesAtOnce: where no agent has ever said anything, there is nothing to wait for.
func TestSilentClusterGoesAtOnce(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	create(t, vpc("front", "east", "west"))
	router(t, "west", "front", "it was told something", func(*spokev1alpha1.LocalRouter) error { return nil })
	held(t, "west")
	if err := admin.Delete(t.Context(), &clusterv1.ManagedCluster{ObjectMeta: name("", "west")}); err != nil {
		t.Fatal(err)
	}
	gone(t, "west")
}

// leaves says that the cluster leaves.
func (a *agent) leaves(ctx context.Context, reason string) error {
	return a.says(ctx, metav1.ConditionTrue, reason)
}

// says sets the condition Leaving.
func (a *agent) says(ctx context.Context, leaving metav1.ConditionStatus, reason string) error {
	var g spokev1alpha1.InterconnectGateway
	if err := a.client.Get(ctx, client.ObjectKey{Namespace: a.cluster, Name: a.cluster}, &g); err != nil {
		return err
	}
	before := g.DeepCopy()
	meta.SetStatusCondition(&g.Status.Conditions, metav1.Condition{Type: spokev1alpha1.ConditionLeaving, Status: leaving, Reason: reason})
	return a.client.Status().Patch(ctx, &g, client.MergeFrom(before))
}

// meet waits until both clusters have realized the ways to each other.
func meet(t *testing.T, a, b string, agents ...*agent) {
	t.Helper()
	eventually(t, a+" and "+b+" have ways to each other", func() error {
		for _, agent := range agents {
			if err := agent.realize(t.Context()); err != nil {
				return err
			}
		}
		for _, cluster := range []string{a, b} {
			r, err := get(t, &spokev1alpha1.LocalRouter{}, cluster, "shop.front")
			if err != nil {
				return err
			}
			if len(r.Spec.Remotes) != 1 || r.Status.ObservedGeneration != r.Generation {
				return fmt.Errorf("%s has %d ways, generation %d of %d", cluster, len(r.Spec.Remotes), r.Status.ObservedGeneration, r.Generation)
			}
			if err := isMember(cluster, spokev1alpha1.MembershipMember); err != nil {
				return err
			}
		}
		return nil
	})
}

// isMember says what is wrong when a cluster is not told this.
func isMember(cluster string, want spokev1alpha1.Membership, awaited ...string) error {
	var g spokev1alpha1.InterconnectGateway
	if err := admin.Get(context.Background(), client.ObjectKey{Namespace: cluster, Name: cluster}, &g); err != nil {
		return err
	}
	if g.Spec.Membership != want || !slices.Equal(g.Spec.AwaitedClusters, awaited) || g.Spec.HubVersion != version.Version {
		return fmt.Errorf("membership is %s, awaited %v, hub %s", g.Spec.Membership, g.Spec.AwaitedClusters, g.Spec.HubVersion)
	}
	return nil
}

func membership(t *testing.T, cluster string, want spokev1alpha1.Membership, awaited ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %s", cluster, want), func() error { return isMember(cluster, want, awaited...) })
}

// held waits for our finalizer.
func held(t *testing.T, cluster string) {
	t.Helper()
	eventually(t, "the ManagedCluster is held", func() error {
		c, err := get(t, &clusterv1.ManagedCluster{}, "", cluster)
		if err == nil && !slices.Contains(c.Finalizers, networkv1alpha1.DrainFinalizer) {
			err = fmt.Errorf("finalizers are %v", c.Finalizers)
		}
		return err
	})
}

// gone waits until nothing of a cluster is left on the hub.
func gone(t *testing.T, cluster string) {
	t.Helper()
	eventually(t, cluster+" is gone", func() error {
		_, managed := get(t, &clusterv1.ManagedCluster{}, "", cluster)
		_, gateway := get(t, &spokev1alpha1.InterconnectGateway{}, cluster, cluster)
		_, router := get(t, &spokev1alpha1.LocalRouter{}, cluster, "shop.front")
		return errors.Join(isGone(managed), isGone(gateway), isGone(router))
	})
}

func holders(t *testing.T, pool string) []string {
	t.Helper()
	p, err := get(t, &networkv1alpha1.IPPool{}, "", pool)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range p.Status.Allocations {
		all = append(all, a.Owner)
	}
	return all
}

func removeAddOn(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("addon.open-cluster-management.io/v1beta1")
	o.SetKind("ManagedClusterAddOn")
	if err := admin.Get(ctx, client.ObjectKey{Namespace: "west", Name: "tombolo"}, o); err != nil {
		return
	}
	o.SetFinalizers(nil)
	if err := errors.Join(admin.Update(ctx, o), client.IgnoreNotFound(admin.Delete(ctx, o))); err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("remove add-on: %v", err)
	}
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
