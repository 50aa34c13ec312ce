// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package uninstall prepares the hub cluster for the removal of the hub: it refuses while something needs the hub, stops it, and takes
// off the finalizers that nobody would take off afterwards. It deletes nothing. Helm runs it as a Job before `helm uninstall tombolo-hub`.
package uninstall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

const (
	// deployment and lease of the hub have the same name.
	deployment = "tombolo-hub"
	poll       = time.Second
	// attempts to take finalizers off, as others may write the same objects.
	attempts = 5
)

// Job is one attempt to get ready for the hub's removal.
type Job struct {
	// Client of the hub cluster. It caches nothing.
	Client client.Client
	// Force asks nobody: clusters that are members keep what they have, and their agents go on from their copies.
	Force bool
	// Out is where the progress goes.
	Out io.Writer
}

// Run refuses, or leaves a hub cluster behind in which everything can be deleted.
func (j *Job) Run(ctx context.Context) error {
	if err := j.check(ctx); err != nil {
		return err
	}
	replicas, err := j.stop(ctx)
	if err != nil {
		return fmt.Errorf("stop the hub: %w", err)
	}
	if err := j.check(ctx); err != nil { // somebody was quick: the hub goes on
		return errors.Join(err, j.scale(ctx, replicas))
	}
	for range attempts {
		if err = j.release(ctx); err == nil || !stale.Only(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("take finalizers off (the hub is stopped; helm upgrade or rollback starts it again): %w", err)
	}
	fmt.Fprintln(j.Out, "Nothing that stays needs the hub: it can be uninstalled.")
	return nil
}

// check is an error while something needs the hub.
func (j *Job) check(ctx context.Context) error {
	if j.Force {
		return nil
	}
	all, err := j.look(ctx)
	if err != nil {
		return err
	}
	if standing := all.standing(); len(standing) > 0 {
		return fmt.Errorf("the hub is still needed, and nothing was uninstalled:\n  %s\nTo give all that up as it is: helm upgrade with uninstall.force=true first (docs/install.md, Remove the hub)",
			strings.Join(standing, "\n  "))
	}
	return nil
}

// look lists what finalizers may hold. In namespace tombolo-system are the copies of an agent, if the hub cluster is a member itself.
func (j *Job) look(ctx context.Context) (*inventory, error) {
	var (
		peerings  networkv1alpha1.VpcPeeringList
		subnets   networkv1alpha1.SubnetList
		vpcs      networkv1alpha1.VpcList
		addresses networkv1alpha1.ElasticIPList
		routers   spokev1alpha1.LocalRouterList
		gateways  spokev1alpha1.InterconnectGatewayList
		clusters  clusterv1.ManagedClusterList
	)
	for _, list := range []client.ObjectList{&peerings, &subnets, &vpcs, &addresses, &routers, &gateways, &clusters} {
		if err := j.Client.List(ctx, list); err != nil && !meta.IsNoMatchError(err) { // a kind that is not there has no objects
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	return &inventory{
		peerings: peerings.Items, subnets: subnets.Items, vpcs: vpcs.Items, addresses: addresses.Items, clusters: clusters.Items,
		routers:  slices.DeleteFunc(routers.Items, func(r spokev1alpha1.LocalRouter) bool { return r.Namespace == charts.Namespace }),
		gateways: slices.DeleteFunc(gateways.Items, func(g spokev1alpha1.InterconnectGateway) bool { return g.Namespace == charts.Namespace }),
	}, nil
}

// stop ends the hub, which would put its finalizers back, and waits until nobody leads. It says how many pods there were.
func (j *Job) stop(ctx context.Context) (replicas int32, err error) {
	var d appsv1.Deployment
	err = j.Client.Get(ctx, client.ObjectKey{Namespace: charts.Namespace, Name: deployment}, &d)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read Deployment %s: %w", deployment, err)
	}
	if d.Spec.Replicas != nil {
		replicas = *d.Spec.Replicas
	}
	if err := j.scale(ctx, 0); err != nil {
		return replicas, err
	}
	fmt.Fprintln(j.Out, "waiting for the hub to end")
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		leads, err := j.leads(ctx)
		return err == nil && !leads, nil //nolint:nilerr // the next look may succeed
	})
	if err != nil {
		return replicas, errors.Join(fmt.Errorf("lease %s is still held: %w", deployment, err), j.scale(context.WithoutCancel(ctx), replicas))
	}
	return replicas, nil
}

func (j *Job) scale(ctx context.Context, replicas int32) error {
	d := &appsv1.Deployment{}
	d.Namespace, d.Name = charts.Namespace, deployment
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	err := j.Client.SubResource("scale").Patch(ctx, d, patch, client.WithSubResourceBody(&autoscalingv1.Scale{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("scale Deployment %s to %d: %w", deployment, replicas, err)
	}
	return nil
}

// leads is true while a process of the hub may work.
func (j *Job) leads(ctx context.Context) (bool, error) {
	var lease coordinationv1.Lease
	err := j.Client.Get(ctx, client.ObjectKey{Namespace: charts.Namespace, Name: deployment}, &lease)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read lease %s: %w", deployment, err)
	}
	s := lease.Spec
	if s.HolderIdentity == nil || *s.HolderIdentity == "" || s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return false, nil
	}
	return time.Since(s.RenewTime.Time) < time.Duration(*s.LeaseDurationSeconds)*time.Second, nil
}

// release takes Tombolo's finalizers off everything that bears one.
func (j *Job) release(ctx context.Context) error {
	all, err := j.look(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, object := range all.held() {
		free := object.DeepCopyObject().(client.Object)
		free.SetFinalizers(slices.DeleteFunc(free.GetFinalizers(), ours))
		err := j.Client.Patch(ctx, free, client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil {
			errs = append(errs, stale.Wrap(fmt.Errorf("%T %s: %w", object, client.ObjectKeyFromObject(object), err)))
			continue
		}
		fmt.Fprintf(j.Out, "released %T %s\n", object, client.ObjectKeyFromObject(object))
	}
	return errors.Join(errs...)
}
