// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
)

// sayLeaving sets the condition Leaving. A cluster that has never left says nothing.
func sayLeaving(conditions *[]metav1.Condition, generation int64, s leave.State) {
	c := metav1.Condition{Type: spokev1alpha1.ConditionLeaving, ObservedGeneration: generation}
	switch {
	case s.Leaving && s.Cluster:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, spokev1alpha1.ReasonLeft, "Nothing of Tombolo is left in the cluster."
	case s.Leaving:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, spokev1alpha1.ReasonUninstalling, "Tombolo is being removed from the cluster."
	case meta.FindStatusCondition(*conditions, spokev1alpha1.ConditionLeaving) != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, spokev1alpha1.ReasonInstalled, "Tombolo is there to stay."
	default:
		return
	}
	meta.SetStatusCondition(conditions, c)
}

// depart tells the hub how far the cluster is, while and after its copies go. What the hub asks for now is not realized any more.
func (g *gateways) depart(ctx context.Context, hub *spokev1alpha1.InterconnectGateway, s leave.State) error {
	if s.Detached != "" && s.Detached != string(hub.UID) && hub.DeletionTimestamp == nil && !hub.Spec.Detached {
		return leave.Delete(ctx, g.spoke) // the hub has the cluster back, as another one
	}
	if hub.DeletionTimestamp != nil {
		return g.release(ctx, hub, &spokev1alpha1.InterconnectGateway{})
	}
	before := hub.DeepCopy()
	sayLeaving(&hub.Status.Conditions, hub.Generation, s)
	if s.Cluster { // there is nobody any more who would take what is sent here
		hub.Status.Endpoints, hub.Status.Nodes, hub.Status.Gateways, hub.Status.Tunnels = nil, nil, nil, nil
		hub.Status.Holds = &[]spokev1alpha1.Hold{}
	}
	if !equality.Semantic.DeepEqual(before.Status, hub.Status) {
		// Of the newest version, for this is the last word.
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := g.hub.Status().Patch(ctx, hub, patch); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("tell the hub that the cluster leaves: %w", err)
		}
	}
	if s.Cluster && !s.Controller {
		return leave.AllDone(ctx, g.spoke)
	}
	return nil
}

// everything maps a change of the ConfigMap to all objects of a kind on the hub: what is a verdict in everyday life is none while the cluster
// leaves.
func everything(hub client.Reader, list func() client.ObjectList, opts ...client.ListOption) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		found := list()
		if err := hub.List(ctx, found, opts...); err != nil {
			return nil // the list is of the cache; its own events follow
		}
		items, err := meta.ExtractList(found)
		if err != nil {
			return nil
		}
		var requests []reconcile.Request
		for _, item := range items {
			if o, ok := item.(client.Object); ok {
				requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}})
			}
		}
		return requests
	})
}

// leaving is the kind of the ConfigMap, of which the cache has no other.
func leaving() client.Object { return &corev1.ConfigMap{} }
