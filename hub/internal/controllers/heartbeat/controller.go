// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package heartbeat tells a cluster whose agent is silent from one where nothing has changed. Each agent renews a Lease in its cluster's namespace
// on the hub; what the hub sees of that becomes the condition AgentAlive of the cluster's InterconnectGateway, and a metric. That is all that
// becomes of it: no plan looks at it.
package heartbeat

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// Controller watches the pulse of one cluster's agent; the key is the InterconnectGateway's.
type Controller struct {
	client client.Client
	// live reads from the API server itself: that an agent is silent is not believed of a cache.
	live client.Reader
	now  func() time.Time
	// pulses by cluster. One worker has them.
	pulses map[string]pulse
}

// Reconcile one cluster.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	cluster := request.Namespace
	gateway := &spokev1alpha1.InterconnectGateway{}
	err := c.client.Get(ctx, client.ObjectKey{Namespace: cluster, Name: cluster}, gateway)
	if apierrors.IsNotFound(err) || err == nil && (gateway.DeletionTimestamp != nil || snapshot.Left(gateway)) {
		c.forget(cluster)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read InterconnectGateway of %s: %w", cluster, err)
	}
	next, err := c.feel(ctx, gateway)
	if err != nil && stale.Only(err) {
		return reconcile.Result{RequeueAfter: stale.Retry}, nil
	}
	return reconcile.Result{RequeueAfter: next}, err
}

// forget a cluster that has no agent.
func (c *Controller) forget(cluster string) {
	delete(c.pulses, cluster)
	metrics.AgentAlive.DeleteLabelValues(cluster)
}

// feel the pulse, say what is new, and say when to look again if nothing happens.
func (c *Controller) feel(ctx context.Context, gateway *spokev1alpha1.InterconnectGateway) (next time.Duration, err error) {
	cluster := gateway.Namespace
	renewed, err := c.renewed(ctx, c.client, gateway)
	if err != nil || renewed == nil {
		return 0, err // an agent of an earlier version renews nothing, and nothing is said of it
	}
	p := c.see(cluster, *renewed)
	if p.silent(c.now()) {
		if renewed, err = c.renewed(ctx, c.live, gateway); err != nil || renewed == nil {
			delete(c.pulses, cluster) // who can't look says nothing, and begins anew
			return 0, err
		}
		p = c.see(cluster, *renewed)
	}
	now := c.now()
	if !p.silent(now) {
		next = p.seen.Add(silentAfter).Sub(now)
	}
	return next, c.say(ctx, gateway, p.judge(now))
}

// see notes what the Lease says.
func (c *Controller) see(cluster string, renewed metav1.MicroTime) pulse {
	var before *pulse
	if p, ok := c.pulses[cluster]; ok {
		before = &p
	}
	c.pulses[cluster] = before.look(renewed, c.now())
	return c.pulses[cluster]
}

// renewed is the time in the agent's Lease; nil while the agent has written none. The Lease is made here: an agent may change that one, and make
// none. It goes with the InterconnectGateway.
func (c *Controller) renewed(ctx context.Context, from client.Reader, gateway *spokev1alpha1.InterconnectGateway) (*metav1.MicroTime, error) {
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: gateway.Namespace, Name: spokev1alpha1.LeaseName}
	err := from.Get(ctx, key, lease)
	if err == nil {
		return lease.Spec.RenewTime, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read lease %s: %w", key, err)
	}
	lease = &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: spokev1alpha1.GroupVersion.String(), Kind: "InterconnectGateway", Name: gateway.Name, UID: gateway.UID,
			}},
		},
		Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(silentAfter / time.Second))},
	}
	if err := c.client.Create(ctx, lease); err != nil && !apierrors.IsAlreadyExists(err) { // the cache is a moment behind
		return nil, fmt.Errorf("make lease %s: %w", key, stale.Wrap(err))
	}
	return nil, nil
}

// say writes the condition, if it is another one than there is.
func (c *Controller) say(ctx context.Context, gateway *spokev1alpha1.InterconnectGateway, condition *metav1.Condition) error {
	before := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionAgentAlive)
	if condition == nil { // nothing new: what was said before holds
		observe(gateway.Name, before)
		return nil
	}
	observe(gateway.Name, condition)
	if before != nil && before.Status == condition.Status && (condition.Status != metav1.ConditionTrue || before.Reason == condition.Reason) {
		return nil // a later message would only be of a later hub
	}
	said := gateway.DeepCopy()
	condition.ObservedGeneration = gateway.Generation
	meta.SetStatusCondition(&said.Status.Conditions, *condition)
	if err := c.client.Status().Patch(ctx, said, client.MergeFromWithOptions(gateway, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("say that the agent of %s is %s: %w", gateway.Name, condition.Reason, stale.Wrap(err))
	}
	return nil
}

// observe sets the metric.
func observe(cluster string, condition *metav1.Condition) {
	if condition == nil {
		return
	}
	alive := 0.0
	if condition.Status == metav1.ConditionTrue {
		alive = 1
	}
	metrics.AgentAlive.WithLabelValues(cluster).Set(alive)
}
