// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// frontAndBack are two Vpcs, one in both clusters and one in the west only.
func frontAndBack(t testing.TB) {
	t.Helper()
	for _, object := range []client.Object{
		vpc("front", "east", "west"), vpc("back", "west"),
		subnet("front-east", "front", "east", "10.1.0.0/24"),
		subnet("front-west", "front", "west", "10.2.0.0/24"),
		subnet("back-west", "back", "west", "10.3.0.0/24"),
	} {
		create(t, object)
	}
}

func knows(want ...string) func(*spokev1alpha1.LocalRouter) error {
	return func(r *spokev1alpha1.LocalRouter) error {
		if got := peers(r); !slices.Equal(got, want) {
			return fmt.Errorf("router %s/%s knows %v, want %v", r.Namespace, r.Name, got, want)
		}
		return nil
	}
}

func peeringIs(t testing.TB, peeringName, reason string, check func(*networkv1alpha1.VpcPeering) error) {
	t.Helper()
	eventually(t, reason, func() error {
		p, err := get(t, &networkv1alpha1.VpcPeering{}, "shop", peeringName)
		if err != nil {
			return err
		}
		return check(p)
	})
}

func TestPeeringOfTwoClusters(t *testing.T) {
	newFleet(t, "east", "west")
	startHub(t)
	frontAndBack(t)

	front := router(t, "east", "front", "the east is told of its Vpc", knows())
	router(t, "west", "front", "the west is told of the same Vpc", func(r *spokev1alpha1.LocalRouter) error {
		if r.Spec.Vpc != front.Spec.Vpc || r.Spec.LinkCIDR == front.Spec.LinkCIDR {
			return fmt.Errorf("spec %+v: want the VNI of %+v, but a link of its own", r.Spec, front.Spec)
		}
		return nil
	})
	back := router(t, "west", "back", "the west is told of the other Vpc", knows())
	if front.Spec.Vpc.VNI < 100 || front.Spec.Vpc.VNI > 199 || back.Spec.Vpc.VNI == front.Spec.Vpc.VNI {
		t.Errorf("VNIs %d and %d: want two of the pool", front.Spec.Vpc.VNI, back.Spec.Vpc.VNI)
	}
	if !slices.Contains(front.Finalizers, spokev1alpha1.Finalizer) {
		t.Errorf("finalizers %v: the agent must be asked before the router goes", front.Finalizers)
	}
	eventually(t, "the Vpc is held and tells its VNI", func() error {
		v, err := get(t, &networkv1alpha1.Vpc{}, "shop", "front")
		if err != nil {
			return err
		}
		if v.Status.VNI != front.Spec.Vpc.VNI || !slices.Contains(v.Finalizers, networkv1alpha1.Finalizer) {
			return fmt.Errorf("VNI %d, finalizers %v", v.Status.VNI, v.Finalizers)
		}
		return condition(v.Status.Conditions, networkv1alpha1.ConditionProgrammed, metav1.ConditionFalse, networkv1alpha1.ReasonWaitingForClusters)
	})

	create(t, peering("front-back", "front", "back"))
	router(t, "east", "front", "the east learns of the peer", knows("back@west"))
	router(t, "west", "back", "and the peer of the east", knows("front@east"))
	peeringIs(t, "front-back", "it is not active before the clusters say so", func(p *networkv1alpha1.VpcPeering) error {
		if p.Status.State != networkv1alpha1.StateProvisioning {
			return fmt.Errorf("state %s", p.Status.State)
		}
		return nil
	})

	go newAgent(t, "east").run(t.Context())
	go newAgent(t, "west").run(t.Context())
	peeringIs(t, "front-back", "it is active and verified when both clusters say so", func(p *networkv1alpha1.VpcPeering) error {
		if p.Status.State != networkv1alpha1.StateActive {
			return fmt.Errorf("state %s, conditions %+v, clusters %+v", p.Status.State, p.Status.Conditions, p.Status.Clusters)
		}
		return errors.Join(
			condition(p.Status.Conditions, networkv1alpha1.ConditionProgrammed, metav1.ConditionTrue, ""),
			condition(p.Status.Conditions, networkv1alpha1.ConditionVerified, metav1.ConditionTrue, ""),
		)
	})
}

func TestOverlapIsRefused(t *testing.T) {
	newFleet(t, "east", "west")
	h := startHub(t)
	for _, object := range []client.Object{
		vpc("front", "east"), vpc("back", "west"),
		subnet("front-east", "front", "east", "10.1.0.0/16"),
		subnet("back-west", "back", "west", "10.1.2.0/24"),
		peering("front-back", "front", "back"),
	} {
		create(t, object)
	}
	peeringIs(t, "front-back", "the message names both prefixes", func(p *networkv1alpha1.VpcPeering) error {
		err := condition(p.Status.Conditions, networkv1alpha1.ConditionAccepted, metav1.ConditionFalse, networkv1alpha1.ReasonOverlappingCIDRs)
		if err != nil {
			return err
		}
		message := p.Status.Conditions[0].Message
		if p.Status.State != networkv1alpha1.StateFailed || !strings.Contains(message, "10.1.0.0/16") || !strings.Contains(message, "10.1.2.0/24") {
			return fmt.Errorf("state %s, message %q", p.Status.State, message)
		}
		return nil
	})
	h.settle()
	router(t, "east", "front", "the Vpcs themselves are fine, the peering is not distributed", knows())
	router(t, "west", "back", "not at the other end either", knows())
	eventually(t, "an event tells it, too", func() error {
		var events eventsv1.EventList
		if err := admin.List(t.Context(), &events, client.InNamespace("shop")); err != nil {
			return err
		}
		if !slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Reason == networkv1alpha1.ReasonOverlappingCIDRs && e.Regarding.Name == "front-back" && strings.Contains(e.Note, "10.1.2.0/24")
		}) {
			return fmt.Errorf("none among %d events", len(events.Items))
		}
		return nil
	})
}

func TestPeeringDeletionWaitsForClusters(t *testing.T) {
	newFleet(t, "east", "west")
	h := startHub(t)
	frontAndBack(t)
	create(t, peering("front-back", "front", "back"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	peeringIs(t, "front-back", "it becomes active", func(p *networkv1alpha1.VpcPeering) error {
		if err := errors.Join(east.realize(t.Context()), west.realize(t.Context())); err != nil {
			return err
		}
		if p.Status.State != networkv1alpha1.StateActive {
			return fmt.Errorf("state %s", p.Status.State)
		}
		return nil
	})

	if err := admin.Delete(t.Context(), peering("front-back", "front", "back")); err != nil {
		t.Fatalf("delete peering: %v", err)
	}
	router(t, "east", "front", "the east is told to forget the peer", knows())
	router(t, "west", "back", "and the west", knows())
	h.settle()
	peeringIs(t, "front-back", "it stays while no cluster has said that it forgot", func(p *networkv1alpha1.VpcPeering) error {
		if p.Status.State != networkv1alpha1.StateDeleting {
			return fmt.Errorf("state %s", p.Status.State)
		}
		return nil
	})
	if err := east.realize(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.settle()
	if _, err := get(t, &networkv1alpha1.VpcPeering{}, "shop", "front-back"); err != nil {
		t.Errorf("it must stay while the west has not answered: %v", err)
	}
	eventually(t, "it goes when both have", func() error {
		if err := west.realize(t.Context()); err != nil {
			return err
		}
		_, err := get(t, &networkv1alpha1.VpcPeering{}, "shop", "front-back")
		return isGone(err)
	})
}

func TestVpcDeletionWaitsForClusters(t *testing.T) {
	newFleet(t, "east", "west")
	h := startHub(t)
	frontAndBack(t)
	east, west := newAgent(t, "east"), newAgent(t, "west")
	router(t, "east", "front", "the Vpc is realized", func(*spokev1alpha1.LocalRouter) error {
		return errors.Join(east.realize(t.Context()), west.realize(t.Context()))
	})
	for _, object := range []client.Object{
		subnet("front-east", "", "", ""), subnet("front-west", "", "", ""), vpc("front"),
	} {
		if err := admin.Delete(t.Context(), object); err != nil {
			t.Fatalf("delete %T: %v", object, err)
		}
	}
	router(t, "east", "front", "its router is withdrawn, and waits for the agent", func(r *spokev1alpha1.LocalRouter) error {
		if r.DeletionTimestamp == nil {
			return errors.New("not under deletion")
		}
		return nil
	})
	h.settle()
	if _, err := get(t, &networkv1alpha1.Vpc{}, "shop", "front"); err != nil {
		t.Errorf("the Vpc must stay while clusters have it: %v", err)
	}
	eventually(t, "it goes with its routers", func() error {
		if err := errors.Join(east.realize(t.Context()), west.realize(t.Context())); err != nil {
			return err
		}
		_, err := get(t, &networkv1alpha1.Vpc{}, "shop", "front")
		return isGone(err)
	})
	router(t, "west", "back", "the other Vpc has nothing to do with it", func(r *spokev1alpha1.LocalRouter) error {
		if r.DeletionTimestamp != nil {
			return errors.New("under deletion")
		}
		return nil
	})
}

func isGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("it is still there: %w", orStill(err))
}

func orStill(err error) error {
	if err == nil {
		return fmt.Errorf("at %s", time.Now().Format(time.StampMilli))
	}
	return err
}
