// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package membership lets the agents of accepted clusters in, those of others out, holds the ManagedCluster of a member until the cluster has
// left, and cleans up behind clusters that are gone for good.
package membership

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// Controller keeps the access of one cluster's agent; the key is the cluster's name.
type Controller struct {
	client client.Client
	// live reads from the API server itself: that a cluster is gone is not believed of a cache.
	live   client.Reader
	reader *snapshot.Reader
}

// Reconcile one cluster.
func (c *Controller) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var cluster clusterv1.ManagedCluster
	err := c.client.Get(ctx, request.NamespacedName, &cluster)
	switch {
	case apierrors.IsNotFound(err):
		err = c.abandon(ctx, request.Name)
	case err != nil:
		err = fmt.Errorf("read ManagedCluster %s: %w", request.Name, err)
	default:
		err = c.access(ctx, &cluster)
		if cluster.DeletionTimestamp != nil {
			err = errors.Join(err, c.release(ctx, &cluster))
		}
	}
	if err != nil && stale.Only(err) {
		return reconcile.Result{RequeueAfter: stale.Retry}, nil
	}
	return reconcile.Result{}, err
}

// access lets the agent in or out. A cluster that is leaving keeps its access: its agent has something to say until the end.
func (c *Controller) access(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	if !cluster.Spec.HubAcceptsClient {
		return distribute.Revoke(ctx, c.client, distribute.AccessOf(cluster))
	}
	if cluster.DeletionTimestamp == nil {
		if err := errors.Join(c.hold(ctx, cluster), c.forget(ctx, cluster)); err != nil {
			return err
		}
	}
	return c.grant(ctx, cluster)
}

// grant waits for the namespace, which OCM makes: its appearance is an event of its own.
func (c *Controller) grant(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	namespace := metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := c.client.Get(ctx, client.ObjectKey{Name: cluster.Name}, &namespace)
	if apierrors.IsNotFound(err) || namespace.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read namespace %s: %w", cluster.Name, err)
	}
	return distribute.Grant(ctx, c.client, distribute.AccessOf(cluster))
}

// abandon cleans up behind a cluster that is not in the fleet any more. Most keys that come here are namespaces that
// never were a cluster's: they have nothing in them.
func (c *Controller) abandon(ctx context.Context, cluster string) error {
	objects, err := c.reader.InCluster(ctx, cluster)
	if err != nil || len(objects) == 0 {
		return err
	}
	err = c.live.Get(ctx, client.ObjectKey{Name: cluster}, &clusterv1.ManagedCluster{})
	if err == nil {
		return nil // the cache is behind: the event is still to come
	}
	if !apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) { // no such kind is no such evidence
		return fmt.Errorf("make sure that ManagedCluster %s is gone: %w", cluster, err)
	}
	return distribute.Abandon(ctx, c.client, objects)
}
