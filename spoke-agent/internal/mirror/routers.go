// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// lagRetry is when to look again while the cache of the hub is behind the hub.
const lagRetry = time.Second

// routers mirrors LocalRouters, by their key on the hub.
type routers struct {
	copier
	cluster string
	leave   *leave.Reader
	keeper  *keeper
}

// Reconcile copies one LocalRouter down, or takes its copy away, and reports its status up.
func (r *routers) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	hub := &spokev1alpha1.LocalRouter{}
	if err := r.hub.Get(ctx, request.NamespacedName, hub); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err) // absence is no evidence: the copy stays
	}
	leaving, err := r.leave.State(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	copy, wanted, v, err := r.judge(ctx, hub)
	if err != nil || leaving.Clean && v != release { // the copies go, and none comes
		return reconcile.Result{}, err
	}
	return r.act(ctx, hub, copy, wanted, v)
}

// judge decides what is to be done about a router, of which there is this copy, and which would have that one.
func (r *routers) judge(ctx context.Context, hub *spokev1alpha1.LocalRouter) (copy, wanted *spokev1alpha1.LocalRouter, v verdict, err error) {
	if copy, wanted, err = r.localRouter(ctx, hub); err != nil {
		return nil, nil, keep, err
	}
	trusted, err := whom(ctx, r.spoke, r.cluster, r.joined)
	if err != nil {
		return nil, nil, keep, err
	}
	s := sides{hub: hub, trust: trusted}
	if copy != nil {
		s.copy, s.adoptable = copy, copy.Spec.VpcUID == hub.Spec.VpcUID
		s.sameSpec = equality.Semantic.DeepEqual(copy.Spec, hub.Spec)
		s.same = s.sameSpec && sameMeta(copy, wanted)
	}
	return copy, wanted, decide(s), nil
}

// act does what was decided.
func (r *routers) act(ctx context.Context, hub, copy, wanted *spokev1alpha1.LocalRouter, v verdict) (reconcile.Result, error) {
	switch v {
	case foreign:
		return reconcile.Result{}, nil // the cluster's InterconnectGateway says so
	case release:
		return reconcile.Result{}, r.release(ctx, hub, &spokev1alpha1.LocalRouter{})
	case refuse:
		return reconcile.Result{}, r.report(ctx, hub, nameTaken(hub, copy))
	case older:
		lags, err := r.reread(ctx, hub, &spokev1alpha1.LocalRouter{})
		if err != nil || lags {
			return reconcile.Result{RequeueAfter: lagRetry}, err
		}
		return reconcile.Result{}, r.report(ctx, hub, copyNewer(hub, copy))
	case keep:
		nodes, err := r.gatewayNodes(ctx)
		if err != nil || local.HubUID(copy) != string(hub.UID) {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, r.report(ctx, hub, routerStatus(hub, copy, nodes))
	case create:
		return r.create(ctx, hub, wanted)
	default:
		err := r.apply(ctx, v, wanted)
		if apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) {
			return reconcile.Result{}, errors.Join(err, r.report(ctx, hub, notTaken(hub, err)))
		}
		return reconcile.Result{}, err
	}
}

// create makes a copy, unless the hub has released the Vpc here, or has not got the router any more: the cache may be behind both, and
// what it shows may have been given to others by now. Of a router that the hub itself has, it can't ask before this copy is there to be told of.
func (r *routers) create(ctx context.Context, hub, wanted *spokev1alpha1.LocalRouter) (result reconcile.Result, err error) {
	err = r.keeper.unlessReleased(ctx, hub.Spec.VpcUID, func() error {
		now := &spokev1alpha1.LocalRouter{}
		lags, err := r.reread(ctx, hub, now)
		if err != nil {
			return err
		}
		if lags && (now.UID != hub.UID || now.DeletionTimestamp != nil || !equality.Semantic.DeepEqual(now.Spec, hub.Spec)) {
			result.RequeueAfter = lagRetry
			return nil
		}
		return r.apply(ctx, create, wanted)
	})
	return result, err
}

// localRouter is the copy that there is (nil for none), and the copy that is wanted.
func (r *routers) localRouter(ctx context.Context, hub *spokev1alpha1.LocalRouter) (copy, wanted *spokev1alpha1.LocalRouter, err error) {
	copy, wanted = &spokev1alpha1.LocalRouter{}, &spokev1alpha1.LocalRouter{}
	switch err := r.spoke.Get(ctx, localKey(hub.Name), copy); {
	case apierrors.IsNotFound(err):
		copy = nil
	case err != nil:
		return nil, nil, fmt.Errorf("get copy of %s: %w", hub.Name, err)
	default:
		wanted = copy.DeepCopy()
	}
	stamp(wanted, hub, hub.Labels)
	wanted.Spec = *hub.Spec.DeepCopy()
	return copy, wanted, nil
}

// gatewayNodes are the nodes of the copy of the own InterconnectGateway, which is what this cluster works by.
func (r *routers) gatewayNodes(ctx context.Context) ([]string, error) {
	var list spokev1alpha1.InterconnectGatewayList
	if err := r.spoke.List(ctx, &list, client.InNamespace(local.Namespace)); err != nil {
		return nil, fmt.Errorf("list InterconnectGateways: %w", err)
	}
	var nodes []string
	if own := gateway.Own(list.Items); own != nil {
		for _, e := range own.Spec.Endpoints {
			nodes = append(nodes, e.Node)
		}
	}
	return nodes, nil
}

// report writes the status on the hub, when it says something new.
func (r *routers) report(ctx context.Context, hub *spokev1alpha1.LocalRouter, status spokev1alpha1.LocalRouterStatus) error {
	status.Bound()
	if equality.Semantic.DeepEqual(hub.Status, status) {
		return nil
	}
	before := hub.DeepCopy()
	hub.Status = status
	if err := r.hub.Status().Patch(ctx, hub, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("report status of %s/%s to the hub: %w", hub.Namespace, hub.Name, err)
	}
	return nil
}
