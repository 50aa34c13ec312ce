// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// tell says in the copy of the own cluster's InterconnectGateway what this node can and can't do, whether or not it is approved. The list
// is shared with other nodes, so each write names the version that it read. It returns whether all is as it should be.
func (r *Reconciler) tell(ctx context.Context) (fine bool, err error) {
	conditions := health.Conditions(r.found)
	r.metrics.describeConditions(conditions)
	fine = !r.found.Inside.Doubtful && !slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Status != metav1.ConditionTrue })
	var gateways spokev1alpha1.InterconnectGatewayList
	if err := r.client.List(ctx, &gateways, client.InNamespace(local.Namespace)); err != nil {
		return fine, fmt.Errorf("list copies: %w", err)
	}
	r.behind = local.Unseen(&r.writes, gateways.Items) || r.behind
	own := gateway.Own(gateways.Items)
	if own == nil {
		return fine, nil // the hub has not made one for the cluster yet
	}
	before := own.DeepCopy()
	own.Status.Gateways = health.Enter(own.Status.Gateways, r.Node, conditions, r.found.Inside.Answering)
	health.Summarize(&own.Status.Conditions, own.Generation, health.Worst(own.Status.Gateways, nil))
	own.Status.Bound()
	if equality.Semantic.DeepEqual(before.Status, own.Status) {
		return fine, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, own, patch); client.IgnoreNotFound(err) != nil {
		return fine, fmt.Errorf("write status of InterconnectGateway %s: %w", own.Name, err)
	}
	r.writes.Wrote(own)
	r.tellTransitions(ctx, before, conditions)
	return fine, nil
}

// tellTransitions makes an event, and a line of the log, of each condition that changed. That all is well from the beginning is no news.
func (r *Reconciler) tellTransitions(ctx context.Context, before *spokev1alpha1.InterconnectGateway, conditions []metav1.Condition) {
	var had []metav1.Condition
	if i := slices.IndexFunc(before.Status.Gateways, func(g spokev1alpha1.GatewayNode) bool { return g.Node == r.Node }); i >= 0 {
		had = before.Status.Gateways[i].Conditions
	}
	for _, c := range conditions {
		old := meta.FindStatusCondition(had, c.Type)
		if old == nil && c.Status == metav1.ConditionTrue || old != nil && old.Status == c.Status && old.Reason == c.Reason {
			continue
		}
		kind := corev1.EventTypeWarning
		if c.Status == metav1.ConditionTrue {
			kind = corev1.EventTypeNormal
		}
		r.recorder.Eventf(before, nil, kind, c.Reason, c.Type, "Gateway node %s: %s", r.Node, c.Message)
		log.FromContext(ctx).Info("A condition of this gateway node changed", "type", c.Type, "status", c.Status, "reason", c.Reason, "message", c.Message)
	}
}
