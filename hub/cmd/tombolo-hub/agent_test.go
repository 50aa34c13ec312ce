// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// agent answers for a cluster that realizes all that it is told at once. It has the identity that OCM's add-on
// registration gives to the real one, and so exactly its permissions.
type agent struct {
	t       testing.TB
	cluster string
	client  client.Client
}

func newAgent(t testing.TB, cluster string) *agent {
	t.Helper()
	identity := user(t, "system:open-cluster-management:cluster:"+cluster+":addon:tombolo:agent:tombolo-agent",
		"system:open-cluster-management:addon:tombolo", "system:open-cluster-management:cluster:"+cluster+":addon:tombolo", "system:authenticated")
	c, err := client.New(identity.Config(), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatalf("make client of the agent of %s: %v", cluster, err)
	}
	return &agent{t, cluster, c}
}

// run realizes until the test or the context ends.
func (a *agent) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = a.realize(ctx) // tried again: permissions come a moment after the cluster
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// realize answers once for everything.
func (a *agent) realize(ctx context.Context) error {
	var (
		routers  spokev1alpha1.LocalRouterList
		gateways spokev1alpha1.InterconnectGatewayList
		errs     []error
	)
	if err := a.client.List(ctx, &routers, client.InNamespace(a.cluster)); err != nil {
		return err
	}
	if err := a.client.List(ctx, &gateways, client.InNamespace(a.cluster)); err != nil {
		return err
	}
	for i := range routers.Items {
		r := &routers.Items[i]
		errs = append(errs, a.answer(ctx, r, r.Status.ObservedGeneration, func() { a.router(r) }))
	}
	for i := range gateways.Items {
		g := &gateways.Items[i]
		errs = append(errs, a.hold(ctx, g, routers.Items), a.answer(ctx, g, g.Status.ObservedGeneration, func() {
			g.Status.ObservedGeneration = g.Generation
			g.Status.Endpoints = []spokev1alpha1.ReportedEndpoint{{Node: "gw", Address: "192.0.2.1"}}
			programmed(&g.Status.Conditions, g.Generation)
		}))
	}
	return errors.Join(errs...)
}

func (a *agent) answer(ctx context.Context, object client.Object, observed int64, realize func()) error {
	old := object.DeepCopyObject().(client.Object)
	if object.GetDeletionTimestamp() != nil {
		controllerutil.RemoveFinalizer(object, spokev1alpha1.Finalizer)
		return client.IgnoreNotFound(a.client.Patch(ctx, object, client.MergeFrom(old)))
	}
	if observed == object.GetGeneration() {
		return nil
	}
	realize()
	return a.client.Status().Patch(ctx, object, client.MergeFrom(old))
}

// hold tells what the cluster has, in answer to the newest question.
func (a *agent) hold(ctx context.Context, g *spokev1alpha1.InterconnectGateway, routers []spokev1alpha1.LocalRouter) error {
	holds := []spokev1alpha1.Hold{}
	for i := range routers {
		holds = append(holds, spokev1alpha1.Hold{VpcUID: routers[i].Spec.VpcUID, VNI: routers[i].Spec.Vpc.VNI, LinkCIDR: routers[i].Spec.LinkCIDR})
	}
	if g.DeletionTimestamp != nil || g.Status.Holds != nil && slices.Equal(*g.Status.Holds, holds) && g.Status.HoldsGeneration == g.Generation {
		return nil
	}
	old := g.DeepCopy()
	g.Status.Holds, g.Status.HoldsGeneration = &holds, g.Generation
	return a.client.Status().Patch(ctx, g, client.MergeFrom(old))
}

func (a *agent) router(r *spokev1alpha1.LocalRouter) {
	r.Status.ObservedGeneration = r.Generation
	r.Status.Gateways = []spokev1alpha1.RouterGateway{{Node: "gw", ObservedGeneration: r.Generation}}
	r.Status.Probes = nil
	for _, remote := range r.Spec.Remotes {
		a.probe(r, remote.Vpc, remote.Cluster)
	}
	for _, peer := range r.Spec.Peers {
		a.probe(r, peer.Vpc, a.cluster)
	}
	programmed(&r.Status.Conditions, r.Generation)
}

func (a *agent) probe(r *spokev1alpha1.LocalRouter, vpc spokev1alpha1.VpcIdentity, cluster string) {
	r.Status.Probes = append(r.Status.Probes, spokev1alpha1.ProbeResult{
		Node: "gw", Vpc: vpc.Namespace + "/" + vpc.Name, Cluster: cluster, Reachable: true, LastTransitionTime: metav1.Now(),
	})
}

func programmed(conditions *[]metav1.Condition, generation int64) {
	meta.SetStatusCondition(conditions, metav1.Condition{
		Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed", ObservedGeneration: generation,
	})
}
