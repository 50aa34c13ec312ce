// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package address hands out single addresses: it gives each ElasticIP one, and takes it back.
//
// To create the IPAddress of an address is the lock (docs/decisions/0014): of two leaders that have chosen one address the slower is told that it
// exists, and takes another. Nothing is believed of a cache that would give an address away or take a second one, and a write whose outcome
// is unknown is looked at again.
package address

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// usePrefix begins the finalizers of those who use an ElasticIP.
const usePrefix = "network.tombolo.io/"

// Controller gives ElasticIPs their addresses.
type Controller struct {
	*Allocator
}

// Reconcile one ElasticIP.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	eip := &networkv1alpha1.ElasticIP{}
	if err := c.client.Get(ctx, request.NamespacedName, eip); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var err error
	if eip.DeletionTimestamp != nil {
		err = c.release(ctx, eip)
	} else {
		err = c.allocate(ctx, eip)
	}
	if err != nil && stale.Only(err) {
		return reconcile.Result{RequeueAfter: stale.RetrySoon}, nil
	}
	return reconcile.Result{}, err
}

// allocate gives an ElasticIP an address if it has none, and says so.
func (c *Controller) allocate(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	if meta.IsStatusConditionTrue(eip.Status.Conditions, networkv1alpha1.ConditionAllocated) && controllerutil.ContainsFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	if err := c.hold(ctx, eip); err != nil {
		return err
	}
	own, err := c.Owned(ctx, ownerOf(eip), eip.Status.Address)
	if err != nil {
		return err
	}
	if len(own) == 0 {
		address, refused, err := c.Take(ctx, ownerOf(eip), eip.Spec.Pool, eip.Spec.Address)
		if err != nil {
			return err
		}
		return c.say(ctx, eip, address, refused)
	}
	for i := range own[1:] { // of a leader that did not know of the first
		if err := c.GiveBack(ctx, &own[i+1]); err != nil {
			return err
		}
	}
	return c.say(ctx, eip, string(own[0].Spec.Address), nil)
}

// hold puts the finalizer on before anything is taken.
func (c *Controller) hold(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	before := eip.DeepCopy()
	if !controllerutil.AddFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	if err := c.client.Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("hold ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}

func ownerOf(eip *networkv1alpha1.ElasticIP) networkv1alpha1.AddressOwner {
	return networkv1alpha1.AddressOwner{Kind: "ElasticIP", Namespace: eip.Namespace, Name: eip.Name, UID: string(eip.UID)}
}

// release gives the address of an ElasticIP under deletion back, when nobody uses it: who does says so in status.usedBy, or holds it by a finalizer.
func (c *Controller) release(ctx context.Context, eip *networkv1alpha1.ElasticIP) error {
	used := eip.Status.UsedBy != "" || slices.ContainsFunc(eip.Finalizers, func(f string) bool { return f != networkv1alpha1.AddressFinalizer && strings.HasPrefix(f, usePrefix) })
	if used || !controllerutil.ContainsFinalizer(eip, networkv1alpha1.AddressFinalizer) {
		return nil
	}
	own, err := c.Owned(ctx, ownerOf(eip), eip.Status.Address)
	if err != nil {
		return err
	}
	for i := range own {
		if err := c.GiveBack(ctx, &own[i]); err != nil {
			return err
		}
	}
	before := eip.DeepCopy()
	controllerutil.RemoveFinalizer(eip, networkv1alpha1.AddressFinalizer)
	if err := c.client.Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}

// say writes what an ElasticIP has got.
func (c *Controller) say(ctx context.Context, eip *networkv1alpha1.ElasticIP, address string, refused *federation.Refusal) error {
	before := eip.DeepCopy()
	condition := metav1.Condition{
		Type: networkv1alpha1.ConditionAllocated, Status: metav1.ConditionTrue, ObservedGeneration: eip.Generation,
		Reason: networkv1alpha1.ReasonAllocated, Message: "It has the address for as long as it exists.",
	}
	if refused != nil {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, refused.Reason, refused.Message
	}
	eip.Status.Address = address
	meta.SetStatusCondition(&eip.Status.Conditions, condition)
	if equality.Semantic.DeepEqual(before.Status, eip.Status) {
		return nil
	}
	if err := c.client.Status().Patch(ctx, eip, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("tell ElasticIP %s/%s: %w", eip.Namespace, eip.Name, stale.Wrap(err))
	}
	return nil
}
