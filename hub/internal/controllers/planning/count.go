// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

// count sets the gauge of objects by kind and state.
func count(state *snapshot.State, result *federation.Result) {
	type label struct{ kind, state string }
	counts := map[label]int{}
	countPools(state, result)
	for _, s := range result.Pools {
		counts[label{"IPPool", met(s.Conditions, networkv1alpha1.ConditionAvailable, "Available", "Exhausted")}]++
	}
	for _, s := range result.Vpcs {
		counts[label{"Vpc", stage(s.Conditions)}]++
	}
	for _, s := range result.Subnets {
		counts[label{"Subnet", stage(s.Conditions)}]++
	}
	for _, s := range result.Peerings {
		counts[label{"VpcPeering", string(s.State)}]++
	}
	for _, router := range state.Snapshot.Routers {
		counts[label{"LocalRouter", realized(router, router.Status.ObservedGeneration)}]++
	}
	for _, gateway := range state.Snapshot.Gateways {
		counts[label{"InterconnectGateway", realized(gateway, gateway.Status.ObservedGeneration)}]++
	}
	metrics.Objects.Reset()
	for l, n := range counts {
		metrics.Objects.WithLabelValues(l.kind, l.state).Set(float64(n))
	}
}

// countPools sets the gauges of what pools have and have handed out.
func countPools(state *snapshot.State, result *federation.Result) {
	metrics.PoolCapacity.Reset()
	metrics.PoolAllocated.Reset()
	metrics.PoolReleased.Reset()
	for key, s := range result.Pools {
		pool, found := state.Pools[key]
		if !found {
			continue
		}
		released := 0
		for _, a := range s.Allocations {
			if a.Released {
				released++
			}
		}
		labels := []string{string(key), string(pool.Spec.Purpose)}
		metrics.PoolCapacity.WithLabelValues(labels...).Set(float64(s.Capacity))
		metrics.PoolAllocated.WithLabelValues(labels...).Set(float64(s.Allocated))
		metrics.PoolReleased.WithLabelValues(labels...).Set(float64(released))
	}
}

// stage is how far an object has come: Refused, Pending or Programmed.
func stage(conditions []metav1.Condition) string {
	if !meta.IsStatusConditionTrue(conditions, networkv1alpha1.ConditionAccepted) {
		return "Refused"
	}
	return met(conditions, spokev1alpha1.ConditionProgrammed, "Programmed", "Pending")
}

func met(conditions []metav1.Condition, typ, yes, no string) string {
	if meta.IsStatusConditionTrue(conditions, typ) {
		return yes
	}
	return no
}

func realized(object metav1.Object, observed int64) string {
	switch {
	case object.GetDeletionTimestamp() != nil:
		return "Deleting"
	case observed == object.GetGeneration():
		return "Programmed"
	}
	return "Pending"
}
