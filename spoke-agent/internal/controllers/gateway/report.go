// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
)

// report says in every served copy what this node has of it, and what its probes found. The lists are shared with other
// nodes, so each write names the version that it read.
func (r *Reconciler) report(ctx context.Context, routers []spokev1alpha1.LocalRouter, ports []gateway.Port, problems map[string]error) error {
	results := map[string]probe.Result{}
	for _, result := range r.Prober.Results() {
		results[result.Key] = result
	}
	byName := map[string]gateway.Port{}
	for _, port := range ports {
		byName[port.Router] = port
	}
	var errs []error
	for i := range routers {
		router := &routers[i]
		if router.DeletionTimestamp != nil {
			continue
		}
		port, served := byName[router.Name]
		before := router.DeepCopy()
		router.Status.Gateways = gatewayEntries(router.Status.Gateways, r.Node, port.Generation, problems[router.Name])
		if served {
			router.Status.Probes = probeEntries(router.Status.Probes, r.Node, port.Probes, results)
		}
		errs = append(errs, r.write(ctx, before, router))
	}
	return errors.Join(errs...)
}

// forget takes this node out of a copy's status.
func (r *Reconciler) forget(ctx context.Context, router *spokev1alpha1.LocalRouter) error {
	before := router.DeepCopy()
	router.Status.Gateways = slices.DeleteFunc(router.Status.Gateways, func(g spokev1alpha1.RouterGateway) bool { return g.Node == r.Node })
	router.Status.Probes = slices.DeleteFunc(router.Status.Probes, func(p spokev1alpha1.ProbeResult) bool { return p.Node == r.Node })
	return r.write(ctx, before, router)
}

func (r *Reconciler) write(ctx context.Context, before, router *spokev1alpha1.LocalRouter) error {
	router.Status.Bound()
	if equality.Semantic.DeepEqual(before.Status, router.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.client.Status().Patch(ctx, router, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of LocalRouter %s: %w", router.Name, err)
	}
	r.writes.Wrote(router)
	return nil
}

// gatewayEntries is list with node's entry. With a problem the generation stays at what the maps had last.
func gatewayEntries(list []spokev1alpha1.RouterGateway, node string, generation int64, problem error) []spokev1alpha1.RouterGateway {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(g spokev1alpha1.RouterGateway) bool { return g.Node == node })
	if i < 0 {
		list = append(list, spokev1alpha1.RouterGateway{Node: node})
		i = len(list) - 1
	}
	if problem != nil {
		list[i].Message = problem.Error()
	} else {
		list[i].Message, list[i].ObservedGeneration = "", generation
	}
	slices.SortFunc(list, func(a, b spokev1alpha1.RouterGateway) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

// probeEntries is list with node's entries for probes. An entry changes only with Reachable: a round trip that varies
// is for the metrics, and a probe without a result yet (the agent has just started) keeps what it found before.
func probeEntries(list []spokev1alpha1.ProbeResult, node string, probes []gateway.Probe, results map[string]probe.Result) []spokev1alpha1.ProbeResult {
	type target struct{ vpc, cluster string }
	had := map[target]spokev1alpha1.ProbeResult{}
	var entries []spokev1alpha1.ProbeResult
	for _, e := range list {
		if e.Node == node {
			had[target{e.Vpc, e.Cluster}] = e
		} else {
			entries = append(entries, e)
		}
	}
	for _, p := range probes {
		old, known := had[target{p.Vpc, p.Cluster}]
		result, measured := results[p.Key]
		switch {
		case known && (!measured || old.Reachable == result.Reachable):
			entries = append(entries, old)
		case measured:
			entries = append(entries, spokev1alpha1.ProbeResult{
				Node: node, Vpc: p.Vpc, Cluster: p.Cluster, Reachable: result.Reachable,
				RTTMicroseconds: result.RTT.Microseconds(), LastTransitionTime: metav1.NewTime(result.Since).Rfc3339Copy(),
			})
		}
	}
	slices.SortFunc(entries, func(a, b spokev1alpha1.ProbeResult) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Vpc, b.Vpc), cmp.Compare(a.Cluster, b.Cluster))
	})
	return entries
}
