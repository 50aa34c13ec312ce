// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

var unreachableGateways = prometheus.NewGauge(prometheus.GaugeOpts{
	Name: "tombolo_agent_unreachable_gateways",
	Help: "Approved gateway nodes of this cluster that do not answer others, and that no router sends to.",
})

func init() { metrics.Registry.MustRegister(unreachableGateways) }

// writeReachable says in the own InterconnectGateway which gateway nodes get nothing any more, and of each change in an event. The list is
// shared with the nodes, so each write names the version that it read.
func (r *Reconciler) writeReachable(ctx context.Context, own *spokev1alpha1.InterconnectGateway, silent map[string]string) error {
	unreachableGateways.Set(float64(len(silent)))
	if own == nil {
		return nil
	}
	messages := map[string]string{}
	for node, witness := range silent {
		messages[node] = fmt.Sprintf("gateway node %s gets no answer from it on the interface to the other clusters, so other gateway nodes carry its packets. "+
			"Look whether the node runs, and whether that interface is up; when it is gone for good take the label %s off it, or delete the Node.", witness, local.LabelGateway)
	}
	before := own.DeepCopy()
	reached, changed := health.Reach(own.Status.Gateways, messages)
	own.Status.Gateways = reached
	if equality.Semantic.DeepEqual(before.Status.Gateways, reached) {
		return nil
	}
	health.Summarize(&own.Status.Conditions, own.Generation, health.Worst(reached, nil))
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, own, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of InterconnectGateway %s: %w", own.Name, err)
	}
	r.writes.Wrote(own)
	for _, node := range slices.Sorted(maps.Keys(changed)) {
		r.tellReachable(ctx, before, node, changed[node])
	}
	return nil
}

func (r *Reconciler) tellReachable(ctx context.Context, own *spokev1alpha1.InterconnectGateway, node string, c metav1.Condition) {
	kind := corev1.EventTypeWarning
	if c.Status == metav1.ConditionTrue {
		kind = corev1.EventTypeNormal
	}
	r.recorder.Eventf(own, nil, kind, c.Reason, c.Type, "Gateway node %s: %s", node, c.Message)
	log.FromContext(ctx).Info("A gateway node became reachable, or stopped being so", "node", node, "reachable", c.Status, "message", c.Message)
}
