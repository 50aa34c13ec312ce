// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

// Reason is why the hub holds something back; empty when it does not.
func Reason(r *federation.Result) string {
	switch {
	case r.Doubt != nil:
		return r.Doubt.Reason
	case r.Removal != nil && r.Removal.Held:
		return networkv1alpha1.ReasonMassRemoval
	}
	return ""
}

// Report writes what is held back into the Fleet, when it is something new, and returns the news.
func (k *Keeper) Report(ctx context.Context, fleet *networkv1alpha1.Fleet, r *federation.Result) ([]status.Transition, error) {
	updated := fleet.DeepCopy()
	updated.Status.PendingRemoval = pending(r)
	meta.SetStatusCondition(&updated.Status.Conditions, frozen(r, fleet.Generation))
	if equality.Semantic.DeepEqual(fleet.Status, updated.Status) {
		return nil, nil
	}
	if err := k.client.Status().Patch(ctx, updated, client.MergeFromWithOptions(fleet, client.MergeFromWithOptimisticLock{})); err != nil {
		return nil, fmt.Errorf("patch status of the Fleet: %w", stale.Wrap(err))
	}
	return tell(fleet, updated), nil
}

// tell is the news: that something is held, that it is something else by now, and that nothing is any more.
func tell(before, after *networkv1alpha1.Fleet) []status.Transition {
	was := meta.FindStatusCondition(before.Status.Conditions, networkv1alpha1.ConditionFrozen)
	is := meta.FindStatusCondition(after.Status.Conditions, networkv1alpha1.ConditionFrozen)
	if is.Status != metav1.ConditionTrue && (was == nil || was.Status != metav1.ConditionTrue) || was != nil && was.Message == is.Message {
		return nil
	}
	if is.Status != metav1.ConditionTrue {
		return []status.Transition{{Object: after, Reason: "Thawed", Note: is.Message}}
	}
	return []status.Transition{{Object: after, Warning: true, Reason: is.Reason, Note: is.Message}}
}

// frozen says what is held back, and the cure.
func frozen(r *federation.Result, generation int64) metav1.Condition {
	c := metav1.Condition{Type: networkv1alpha1.ConditionFrozen, Status: metav1.ConditionTrue, Reason: Reason(r), ObservedGeneration: generation}
	switch {
	case r.Doubt != nil:
		c.Message = r.Doubt.Message + " Nothing is written to any cluster, and the clusters go on with what they have. Cure: when this hub is right and what the clusters have seen " +
			"elsewhere does not count, kubectl tombolo confirm " + r.Doubt.Digest + "; else bring the right hub back. A cluster that lies is not believed when spec.hubAcceptsClient of its ManagedCluster is false."
	case c.Reason != "":
		m := r.Removal
		c.Message = fmt.Sprintf("A plan would take something away from %d of %d objects (%d of %d LocalRouters, %d of %d ways, %d of %d InterconnectGateways, %d of %d endpoints; %d objects lost something in the last minutes); "+
			"more than %d%% waits for somebody to confirm it, and what only adds goes on. Look: kubectl tombolo confirm. Cure: undo what causes it; or, when it is meant, kubectl tombolo confirm %s.",
			m.Objects, m.TotalObjects, m.Routers, m.TotalRouters, m.Ways, m.TotalWays, m.Gateways, m.TotalGateways, m.Endpoints, m.TotalEndpoints, m.Earlier, m.Percent, m.Digest)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, networkv1alpha1.ReasonNone, "Nothing is held back."
	}
	return c
}

// pending is what waits for somebody to confirm it; nil when nothing does.
func pending(r *federation.Result) *networkv1alpha1.PendingRemoval {
	switch {
	case r.Doubt != nil:
		return &networkv1alpha1.PendingRemoval{Digest: r.Doubt.Digest, Examples: []string{r.Doubt.Message}}
	case r.Removal == nil || !r.Removal.Held:
		return nil
	}
	m := r.Removal
	return &networkv1alpha1.PendingRemoval{
		Digest: m.Digest, Examples: m.Examples,
		Objects: int32(m.Objects), TotalObjects: int32(m.TotalObjects),
		Routers: int32(m.Routers), TotalRouters: int32(m.TotalRouters),
		Remotes: int32(m.Ways), TotalRemotes: int32(m.TotalWays),
		Gateways: int32(m.Gateways), TotalGateways: int32(m.TotalGateways),
		Endpoints: int32(m.Endpoints), TotalEndpoints: int32(m.TotalEndpoints),
	}
}
