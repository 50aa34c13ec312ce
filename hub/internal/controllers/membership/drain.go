// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"context"
	"fmt"
	"strings"

	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// hold puts our finalizer on the ManagedCluster of a member.
func (c *Controller) hold(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	held := cluster.DeepCopy()
	if !controllerutil.AddFinalizer(held, networkv1alpha1.DrainFinalizer) {
		return nil
	}
	return c.patch(ctx, cluster, held)
}

// forget lets go of the routers of a cluster whose agent has left, as one that left in a hurry does before it was drained.
func (c *Controller) forget(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	objects, err := c.reader.InCluster(ctx, cluster.Name)
	if err != nil {
		return err
	}
	if gateway, routers := sorted(cluster.Name, objects); snapshot.Left(gateway) {
		return distribute.Abandon(ctx, c.client, routers)
	}
	return nil
}

// release takes our finalizer off a ManagedCluster under deletion when nothing is left in its namespace. The plan takes everything out of
// there in the order in which a cluster leaves; what waits for an agent that has left, or is gone, is let go here.
func (c *Controller) release(ctx context.Context, cluster *clusterv1.ManagedCluster) error {
	if !controllerutil.ContainsFinalizer(cluster, networkv1alpha1.DrainFinalizer) {
		return nil
	}
	// A cache that is not filled yet shows nothing either.
	objects, err := (&snapshot.Reader{Client: c.live}).InCluster(ctx, cluster.Name)
	if err != nil {
		return err
	}
	gateway, routers := sorted(cluster.Name, objects)
	if len(objects) > 0 {
		if !snapshot.Gone(cluster, gateway, len(routers) > 0) && !snapshot.Left(gateway) {
			return nil
		}
		if len(routers) > 0 { // the InterconnectGateway is the evidence, and so the last to go
			objects = routers
		}
		return distribute.Abandon(ctx, c.client, objects)
	}
	held, err := c.reader.Held(ctx, cluster.Name)
	if err != nil {
		return err
	}
	if len(held) > 0 { // the next plan gives it back: once the cluster is out of the fleet, nobody could say that it has let go
		return &stale.Error{Err: fmt.Errorf("pools still hold %s for cluster %s", strings.Join(held, ", "), cluster.Name)}
	}
	free := cluster.DeepCopy()
	controllerutil.RemoveFinalizer(free, networkv1alpha1.DrainFinalizer)
	if err := client.IgnoreNotFound(c.patch(ctx, cluster, free)); err != nil {
		return err
	}
	log.FromContext(ctx).Info("cluster has left the fleet", "cluster", cluster.Name)
	return nil
}

// sorted finds a cluster's own InterconnectGateway and its routers among what is in its namespace.
func sorted(cluster string, objects []client.Object) (gateway *spokev1alpha1.InterconnectGateway, routers []client.Object) {
	for _, object := range objects {
		switch o := object.(type) {
		case *spokev1alpha1.InterconnectGateway:
			if o.Name == cluster {
				gateway = o
			}
		case *spokev1alpha1.LocalRouter:
			routers = append(routers, o)
		}
	}
	return gateway, routers
}

func (c *Controller) patch(ctx context.Context, old, updated *clusterv1.ManagedCluster) error {
	if err := c.client.Patch(ctx, updated, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write finalizers of ManagedCluster %s: %w", old.Name, stale.Wrap(err))
	}
	return nil
}
