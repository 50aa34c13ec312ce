// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package address

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 30 * time.Second
	timeout      = time.Minute
	workers      = 4
)

// Add registers the controller.
func Add(mgr manager.Manager) error {
	c := &Controller{NewAllocator(mgr.GetClient(), mgr.GetAPIReader())}
	return builder.ControllerManagedBy(mgr).
		Named("address").
		For(&networkv1alpha1.ElasticIP{}).
		Watches(&networkv1alpha1.IPPool{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return c.waiting(ctx, o.GetName())
		})).
		Watches(&networkv1alpha1.IPAddress{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return c.waiting(ctx, o.(*networkv1alpha1.IPAddress).Spec.Pool)
		}), builder.WithPredicates(freed())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffFirst, backoffMax),
			EnableWarmup:            new(true),
			ReconciliationTimeout:   timeout,
		}).
		Complete(c)
}

// freed: an address has been given back.
func freed() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	}
}

// waiting are the ElasticIPs of a pool that have no address.
func (c *Controller) waiting(ctx context.Context, pool string) []reconcile.Request {
	var list networkv1alpha1.ElasticIPList
	if err := c.client.List(ctx, &list); err != nil {
		return nil // the list is of the cache; its own events follow
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if eip := &list.Items[i]; eip.Spec.Pool == pool && eip.Status.Address == "" {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(eip)})
		}
	}
	return requests
}
