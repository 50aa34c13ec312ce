// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 30 * time.Second
	timeout      = 30 * time.Second
)

// Add registers the controller. Its cache has the Leases of that one name and no others.
func Add(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("heartbeat").
		Watches(&spokev1alpha1.InterconnectGateway{}, handler.EnqueueRequestsFromMapFunc(ofCluster), builder.WithPredicates(ours(), concerns())).
		Watches(&coordinationv1.Lease{}, handler.EnqueueRequestsFromMapFunc(ofCluster), builder.WithPredicates(predicate.NewPredicateFuncs(named))).
		WithOptions(controller.Options{
			RateLimiter:           workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffFirst, backoffMax),
			ReconciliationTimeout: timeout,
		}).
		Complete(New(mgr.GetClient(), mgr.GetAPIReader(), time.Now))
}

// New makes the controller.
func New(c client.Client, live client.Reader, now func() time.Time) *Controller {
	return &Controller{client: c, live: live, now: now, pulses: map[string]pulse{}}
}

func ofCluster(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetNamespace()}}}
}

func named(lease client.Object) bool { return lease.GetName() == spokev1alpha1.LeaseName }

// ours: a cluster's own InterconnectGateway has its name.
func ours() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(gateway client.Object) bool { return gateway.GetName() == gateway.GetNamespace() })
}

// concerns leaves out what agents report: only that the condition was lost, or that the cluster leaves, is looked at.
func concerns() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		old, isOld := e.ObjectOld.(*spokev1alpha1.InterconnectGateway)
		updated, isNew := e.ObjectNew.(*spokev1alpha1.InterconnectGateway)
		if !isOld || !isNew || (old.DeletionTimestamp == nil) != (updated.DeletionTimestamp == nil) {
			return true
		}
		for _, condition := range []string{spokev1alpha1.ConditionAgentAlive, spokev1alpha1.ConditionLeaving} {
			a, b := meta.FindStatusCondition(old.Status.Conditions, condition), meta.FindStatusCondition(updated.Status.Conditions, condition)
			if (a == nil) != (b == nil) || a != nil && *a != *b {
				return true
			}
		}
		return false
	}}
}
