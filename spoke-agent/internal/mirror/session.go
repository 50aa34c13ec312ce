// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// hubAwayRetry is when an object is looked at again that could not be finished because the hub is away.
	hubAwayRetry = 5 * time.Second
	// forever is for waits that only the hub's return ends.
	forever = 10 * 365 * 24 * time.Hour
)

// run mirrors until ctx ends.
func (m *Mirror) run(ctx context.Context, hub cluster.Cluster, conn *connection) error {
	joined, err := fingerprintOf(hub.GetConfig())
	if err != nil {
		return err
	}
	id, err := clusterID(ctx, m.Spoke.GetAPIReader())
	if err != nil {
		return err
	}
	name := &claim{hub: hub.GetClient(), cluster: m.Cluster, id: id, herald: m.Herald}
	c := copier{hub: hub.GetClient(), spoke: m.Spoke.GetClient(), live: m.Spoke.GetAPIReader(), hubLive: hub.GetAPIReader(), joined: joined}
	keeper := &keeper{copier: c, cluster: m.Cluster}
	routers := &routers{copier: c, cluster: m.Cluster, leave: m.Leave, keeper: keeper}
	gateways := &gateways{copier: c, cluster: m.Cluster, id: id, reserved: m.ReservedCIDRs, herald: m.Herald, leave: m.Leave, keeper: keeper}
	allHubRouters := everything(hub.GetClient(), func() client.ObjectList { return &spokev1alpha1.LocalRouterList{} }, client.InNamespace(m.Cluster))
	allHubGateways := everything(hub.GetClient(), func() client.ObjectList { return &spokev1alpha1.InterconnectGatewayList{} })

	routersController, err := m.controller("mirror-routers", conn, name.guard(routers))
	if err != nil {
		return err
	}
	gatewaysController, err := m.controller("mirror-gateways", conn, name.guard(gateways))
	if err != nil {
		return err
	}
	spoke := &borrowed{Cache: m.Spoke.GetCache()}
	defer func() {
		if err := spoke.giveBack(); err != nil {
			m.Log.Error(err, "Take this session's handlers out of the cache")
		}
	}()
	err = errors.Join(
		routersController.Watch(source.Kind[client.Object](hub.GetCache(), &spokev1alpha1.LocalRouter{}, &handler.EnqueueRequestForObject{})),
		routersController.Watch(source.Kind[client.Object](spoke, &spokev1alpha1.LocalRouter{}, m.sameName())),
		routersController.Watch(source.Kind[client.Object](spoke, &spokev1alpha1.InterconnectGateway{}, m.allRouters(hub.GetClient()))),
		gatewaysController.Watch(source.Kind[client.Object](hub.GetCache(), &spokev1alpha1.InterconnectGateway{}, &handler.EnqueueRequestForObject{}, m.news())),
		gatewaysController.Watch(source.Kind[client.Object](hub.GetCache(), &spokev1alpha1.LocalRouter{}, m.ownGateway())),
		gatewaysController.Watch(source.Kind[client.Object](spoke, &spokev1alpha1.InterconnectGateway{}, twiceNamed())),
		gatewaysController.Watch(source.Kind[client.Object](spoke, &spokev1alpha1.InterconnectGateway{}, allHubGateways, trustChanged())),
		gatewaysController.Watch(source.Kind[client.Object](spoke, &spokev1alpha1.LocalRouter{}, m.ownGateway())),
		gatewaysController.Watch(source.Kind[client.Object](spoke, &corev1.Node{}, m.ownGateway())),
		routersController.Watch(source.Kind(spoke, leaving(), allHubRouters)),
		gatewaysController.Watch(source.Kind(spoke, leaving(), allHubGateways)),
	)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	parts := []starter{hub, routersController, gatewaysController}
	if m.Works != nil {
		parts = append(parts, &heartbeat{hub: hub.GetClient(), claim: name, works: m.Works, log: m.Log.WithName("heartbeat")})
	}
	return startAll(ctx, parts...)
}

type starter interface{ Start(context.Context) error }

// startAll runs all parts until ctx ends or one of them does.
func startAll(ctx context.Context, parts ...starter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			defer cancel()
			ended <- part.Start(ctx)
		}()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// controller is one that the manager does not own: a hub that is away must not end the manager.
func (m *Mirror) controller(name string, conn *connection, r reconcile.Reconciler) (controller.Controller, error) {
	c, err := controller.NewUnmanaged(name, controller.Options{
		Reconciler:              whileUp(conn, r),
		MaxConcurrentReconciles: 4,
		CacheSyncTimeout:        forever,
		SkipNameValidation:      new(true), // a second session has controllers of the same names
		Logger:                  m.Log.WithName(name),
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 30*time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("make controller %s: %w", name, err)
	}
	return c, nil
}

// whileUp makes an error that comes of the hub's absence, which is logged already, a later attempt.
func whileUp(conn *connection, r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		result, err := r.Reconcile(ctx, request)
		if err != nil && !conn.up() {
			return reconcile.Result{RequeueAfter: hubAwayRetry}, nil
		}
		return result, err
	})
}

// sameName maps a copy to the hub's object of its name.
func (m *Mirror) sameName() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: m.Cluster, Name: o.GetName()}}}
	})
}

// twiceNamed maps the copy of an InterconnectGateway to the hub's, whose namespace and name are both the cluster's.
func twiceNamed() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetName(), Name: o.GetName()}}}
	})
}

// ownGateway maps anything to the cluster's own InterconnectGateway.
func (m *Mirror) ownGateway() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: m.Cluster, Name: m.Cluster}}}
	})
}

// allRouters maps a change of the own gateway nodes to every router, whose progress is counted by them.
func (m *Mirror) allRouters(hub client.Reader) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		if o.GetLabels()[local.LabelOwn] != "true" {
			return nil
		}
		var routers spokev1alpha1.LocalRouterList
		if err := hub.List(ctx, &routers, client.InNamespace(m.Cluster)); err != nil {
			return nil // the list is of the cache; its own events follow
		}
		var requests []reconcile.Request
		for _, r := range routers.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&r)})
		}
		return requests
	})
}
