// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 30 * time.Second
	timeout      = 2 * time.Minute
)

// Add registers the controller.
func Add(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("membership").
		For(&clusterv1.ManagedCluster{}, builder.WithPredicates(accepted())).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&rbacv1.ClusterRoleBinding{}).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(named), builder.WithPredicates(appeared())).
		Watches(&spokev1alpha1.LocalRouter{}, handler.EnqueueRequestsFromMapFunc(inNamespace), builder.WithPredicates(leaving())).
		Watches(&spokev1alpha1.InterconnectGateway{}, handler.EnqueueRequestsFromMapFunc(inNamespace), builder.WithPredicates(leaving())).
		WithOptions(controller.Options{
			RateLimiter:           workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffFirst, backoffMax),
			EnableWarmup:          new(true),
			ReconciliationTimeout: timeout,
		}).
		Complete(&Controller{
			client: mgr.GetClient(),
			live:   mgr.GetAPIReader(),
			reader: &snapshot.Reader{Client: mgr.GetClient()},
		})
}

// accepted leaves out the heartbeats of clusters.
func accepted() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			!slices.Equal(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers()) ||
			e.ObjectOld.GetAnnotations()[networkv1alpha1.AnnotationGone] != e.ObjectNew.GetAnnotations()[networkv1alpha1.AnnotationGone]
	}}
}

// appeared: a namespace of a cluster may be there at last.
func appeared() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
	}
}

// leaving: the object waits for its finalizer to go, or has gone.
func leaving() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return e.Object.GetDeletionTimestamp() != nil },
		UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectNew.GetDeletionTimestamp() != nil },
	}
}

func named(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: object.GetName()}}}
}

func inNamespace(_ context.Context, object client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: object.GetNamespace()}}}
}
