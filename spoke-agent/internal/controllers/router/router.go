// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package router realizes all LocalRouters of the cluster in OVN.
//
//	every watch ─▶ ONE key ─▶ gather ─▶ plan.Make ─▶ ovn.Set (one transaction) ─▶ conditions, pod annotations, finalizers
//
// One key, because OVN takes one transaction for everything, and a burst of changes is then one.
package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/plan"
)

// conflictRetry is how soon to look again when somebody else wrote an object first.
const conflictRetry = 100 * time.Millisecond

// leaveRetry is how soon to look again who is waited for, when the cluster leaves.
const leaveRetry = 5 * time.Second

// key is the one key.
var key = reconcile.Request{NamespacedName: types.NamespacedName{Name: "cluster"}}

// Options of the controller.
type Options struct {
	// Endpoint of the northbound database, for messages.
	Endpoint string
	// Dial reaches it.
	Dial func(context.Context) (Northbound, error)
	// PodMTU of the pods' interfaces, in bytes.
	PodMTU int
	// Leave says whether the cluster leaves the fleet.
	Leave *leave.Reader
}

// Reconciler makes OVN what the copies say.
type Reconciler struct {
	client     client.Client
	recorder   events.EventRecorder
	options    Options
	northbound *northbound
	fenced     fenced
	told       map[types.UID]string // the newest event of each pod that can't join, so that it is told once
	orphans    string               // those that were logged
	writes     local.Writes         // of statuses
	behind     bool                 // the pass that runs saw what was before one of them
}

// Add adds the controller to the manager.
func Add(manager ctrl.Manager, options Options) error {
	r := &Reconciler{
		client: manager.GetClient(), recorder: manager.GetEventRecorder("tombolo-agent"), options: options,
		northbound: &northbound{dial: options.Dial}, fenced: make(fenced, 1), told: map[types.UID]string{},
	}
	if err := manager.Add(r.fenced); err != nil {
		return err
	}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{key} })
	return builder.ControllerManagedBy(manager).
		Named("router").
		Watches(&spokev1alpha1.LocalRouter{}, all, builder.WithPredicates(local.CopyChanged())).
		Watches(&spokev1alpha1.InterconnectGateway{}, all, builder.WithPredicates(ownGateway())).
		Watches(&corev1.Pod{}, all, builder.WithPredicates(podChanged())).
		Watches(&corev1.Namespace{}, all, builder.WithPredicates(namespaceChanged())).
		Watches(&corev1.Node{}, all, builder.WithPredicates(comesOrGoes())).
		Watches(&corev1.ConfigMap{}, all).
		WatchesRawSource(r.northbound).
		WithOptions(controller.Options{
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 30*time.Second),
		}).
		Complete(r)
}

// Reconcile realizes everything.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	r.behind = false
	leaving, err := r.options.Leave.State(ctx)
	switch {
	case err != nil:
	case leaving.Clean:
		if err = r.leave(ctx, leaving); err == nil && !leaving.Cluster {
			return reconcile.Result{RequeueAfter: leaveRetry}, nil // nobody tells that a node that is waited for is not Ready any more
		}
	default:
		err = r.realize(ctx)
	}
	if apierrors.IsConflict(err) || err == nil && r.behind {
		return reconcile.Result{RequeueAfter: conflictRetry}, nil
	}
	return reconcile.Result{}, err
}

func (r *Reconciler) realize(ctx context.Context) error {
	in, err := r.gather(ctx)
	if err != nil {
		return err
	}
	for i := range in.Routers { // before anything of it is in OVN
		if router := &in.Routers[i]; router.DeletionTimestamp == nil {
			if err := local.Hold(ctx, r.client, router, local.RouterFinalizer); err != nil {
				return fmt.Errorf("hold LocalRouter %s: %w", router.Name, err)
			}
		}
	}
	p := plan.Make(in)
	going := underDeletion(in.Routers)
	report, setErr := r.set(ctx, p.Desired)
	if errors.Is(setErr, ovn.ErrReplaced) {
		return setErr // and nothing is said in statuses: that is the other's
	}
	errs := []error{r.writeConditions(ctx, in.Routers, p, report, setErr), r.writeReachable(ctx, in.Gateway, p.Silent)}
	r.tellPods(p.PodErrors)
	if setErr == nil {
		r.reportOrphans(ctx, report.Orphans)
		errs = append(errs, r.release(ctx, going), r.annotatePods(ctx, p, report))
	}
	if _, dialErr := r.northbound.get(); dialErr != nil {
		return errors.Join(errs...) // the connection wakes us when it is there
	}
	for _, owner := range slices.Sorted(maps.Keys(report.Refused)) {
		errs = append(errs, fmt.Errorf("realize Vpc %s: %w", owner, report.Refused[owner]))
	}
	return errors.Join(append(errs, setErr)...)
}

func (r *Reconciler) set(ctx context.Context, desired ovn.Desired) (ovn.Report, error) {
	nb, err := r.northbound.get()
	if err != nil {
		return ovn.Report{}, err
	}
	report, err := nb.Set(ctx, desired)
	if errors.Is(err, ovn.ErrReplaced) {
		r.fenced.end(err)
	}
	return report, err
}

// gather reads all inputs from the caches, which are complete: the controller starts when they have synced.
func (r *Reconciler) gather(ctx context.Context) (plan.Inputs, error) {
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	var pods corev1.PodList
	var namespaces corev1.NamespaceList
	err := errors.Join(
		r.client.List(ctx, &routers, client.InNamespace(local.Namespace)),
		r.client.List(ctx, &gateways, client.InNamespace(local.Namespace)),
		r.client.List(ctx, &pods, client.UnsafeDisableDeepCopy), // the plan only reads them
		r.client.List(ctx, &namespaces, client.UnsafeDisableDeepCopy),
	)
	if err != nil {
		return plan.Inputs{}, fmt.Errorf("list inputs: %w", err)
	}
	r.behind = local.Unseen(&r.writes, routers.Items) || local.Unseen(&r.writes, gateways.Items)
	in := plan.Inputs{
		Routers: routers.Items, Gateway: gateway.Own(gateways.Items), Pods: pods.Items,
		Namespaces: map[string]*corev1.Namespace{}, PodMTU: r.options.PodMTU,
	}
	for i := range namespaces.Items {
		in.Namespaces[namespaces.Items[i].Name] = &namespaces.Items[i]
	}
	return in, nil
}

// underDeletion are the routers that the plan takes out of OVN. The API server's answers to what is written afterwards may show
// others that are being deleted by then: their rows are still there, and the next pass is theirs.
func underDeletion(routers []spokev1alpha1.LocalRouter) []spokev1alpha1.LocalRouter {
	var going []spokev1alpha1.LocalRouter
	for i := range routers {
		if routers[i].DeletionTimestamp != nil {
			going = append(going, routers[i])
		}
	}
	return going
}

// release lets go of the routers under deletion, whose rows are gone now, and, for nodes that are gone from the
// cluster, of what they held.
func (r *Reconciler) release(ctx context.Context, routers []spokev1alpha1.LocalRouter) error {
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list Nodes: %w", err)
	}
	held := map[string]bool{}
	for _, node := range nodes.Items {
		held[local.GatewayFinalizer(node.Name)] = true
	}
	var errs []error
	for i := range routers {
		router := &routers[i]
		if router.DeletionTimestamp == nil {
			continue
		}
		err := local.Release(ctx, r.client, router, func(f string) bool {
			return f == local.RouterFinalizer || local.IsGatewayFinalizer(f) && !held[f]
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("release LocalRouter %s: %w", router.Name, err))
		}
	}
	return errors.Join(errs...)
}
