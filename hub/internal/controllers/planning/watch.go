// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"context"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
)

// Key is the one key of the one plan.
type Key struct{}

// holdOff is how long a plan waits for further changes of the same burst. The first change starts it and no later one
// prolongs it.
const holdOff = 10 * time.Millisecond

// sources are everything that may change a plan. What this controller writes itself is no news, except in the clusters'
// namespaces: there the generation that a write got is part of the next plan.
func sources(c cache.Cache, ledgers *ledger.Store) []source.TypedSource[Key] {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return []source.TypedSource[Key]{
		on(c, &networkv1alpha1.Fleet{}, asked),
		on(c, &networkv1alpha1.Vpc{}, asked),
		on(c, &networkv1alpha1.Subnet{}, asked),
		on(c, &networkv1alpha1.VpcPeering{}, asked),
		on(c, &networkv1alpha1.IPPool{}, func(_, pool *networkv1alpha1.IPPool) bool { return !ledgers.Wrote(pool) }),
		on(c, &networkv1alpha1.IPAddress{}, func(_, _ *networkv1alpha1.IPAddress) bool { return false }), // its spec does not change
		on(c, &spokev1alpha1.LocalRouter{}, changed[*spokev1alpha1.LocalRouter]),
		on(c, &spokev1alpha1.InterconnectGateway{}, told),
		on(c, &clusterv1.ManagedCluster{}, membership),
		on(c, &clusterv1beta1.Placement{}, changed[*clusterv1beta1.Placement]),
		on(c, &clusterv1beta1.PlacementDecision{}, decisions),
		on(c, namespace, leaving),
	}
}

// on plans when an object appears, disappears, or has changed in a way that matters.
func on[O client.Object](c cache.Cache, object O, matters func(old, updated O) bool) source.TypedSource[Key] {
	return source.TypedKind(c, object, enqueue[O]{}, predicate.TypedFuncs[O]{
		UpdateFunc: func(e event.TypedUpdateEvent[O]) bool { return matters(e.ObjectOld, e.ObjectNew) },
	})
}

// asked: what a person asks for has changed. A generation changes with the spec and with the request to delete.
func asked[O client.Object](old, updated O) bool {
	return old.GetGeneration() != updated.GetGeneration() || leaving(old, updated) ||
		!maps.Equal(old.GetLabels(), updated.GetLabels()) ||
		controllerutil.ContainsFinalizer(old, networkv1alpha1.Finalizer) && !controllerutil.ContainsFinalizer(updated, networkv1alpha1.Finalizer)
}

// changed: any change of what a cluster was told, of what it answers, and of a Placement.
func changed[O client.Object](old, updated O) bool {
	return old.GetResourceVersion() != updated.GetResourceVersion()
}

// told is changed, but for what gateways measure of each other: no plan looks at that.
func told(old, updated *spokev1alpha1.InterconnectGateway) bool {
	if !changed(old, updated) {
		return false
	}
	before := old.DeepCopy()
	before.Status.Tunnels, before.ResourceVersion, before.ManagedFields = updated.Status.Tunnels, updated.ResourceVersion, updated.ManagedFields
	return !equality.Semantic.DeepEqual(before, updated)
}

func leaving[O client.Object](old, updated O) bool {
	return (old.GetDeletionTimestamp() == nil) != (updated.GetDeletionTimestamp() == nil)
}

// membership leaves out the heartbeats of clusters.
func membership(old, updated *clusterv1.ManagedCluster) bool {
	return old.Spec.HubAcceptsClient != updated.Spec.HubAcceptsClient || leaving(old, updated) ||
		!maps.Equal(old.Labels, updated.Labels) ||
		old.Annotations[networkv1alpha1.AnnotationEndpoints] != updated.Annotations[networkv1alpha1.AnnotationEndpoints] ||
		old.Annotations[networkv1alpha1.AnnotationGone] != updated.Annotations[networkv1alpha1.AnnotationGone]
}

func decisions(old, updated *clusterv1beta1.PlacementDecision) bool {
	return !maps.Equal(old.Labels, updated.Labels) || !equality.Semantic.DeepEqual(old.Status, updated.Status)
}

// enqueue maps every event to the one key.
type enqueue[O client.Object] struct{}

type queue = workqueue.TypedRateLimitingInterface[Key]

var _ handler.TypedEventHandler[client.Object, Key] = enqueue[client.Object]{}

// Create implements handler.TypedEventHandler.
func (enqueue[O]) Create(_ context.Context, _ event.TypedCreateEvent[O], q queue) {
	q.AddAfter(Key{}, holdOff)
}

// Update implements handler.TypedEventHandler.
func (enqueue[O]) Update(_ context.Context, _ event.TypedUpdateEvent[O], q queue) {
	q.AddAfter(Key{}, holdOff)
}

// Delete implements handler.TypedEventHandler.
func (enqueue[O]) Delete(_ context.Context, _ event.TypedDeleteEvent[O], q queue) {
	q.AddAfter(Key{}, holdOff)
}

// Generic implements handler.TypedEventHandler.
func (enqueue[O]) Generic(_ context.Context, _ event.TypedGenericEvent[O], q queue) {
	q.AddAfter(Key{}, holdOff)
}
