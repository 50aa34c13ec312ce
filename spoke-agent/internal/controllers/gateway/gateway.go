// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway makes its node an interconnect gateway, when the Node is labelled so and the hub
// has approved it.
//
//	label ─▶ the Node's endpoint annotation ─▶ (controller, hub) ─▶ approved endpoint
//	copies ─▶ gateway.Make ─▶ link.Ensure · fastpath.Set · link.SetSlowPath · ovs port · probe.Set ─▶ status of the copies
//
// It works from the copies alone. Maps and programs are pinned and interfaces stay, so neither a
// restart nor an absent apiserver loses a packet.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

const (
	// conflictRetry is how soon to look again when somebody else wrote an object first.
	conflictRetry = 100 * time.Millisecond
	// recheck is how often interfaces and maps are compared with the copies although nothing is known to have changed.
	recheck = 30 * time.Second
)

// key is the one key: the fast path takes one configuration for everything.
var key = reconcile.Request{NamespacedName: types.NamespacedName{Name: "node"}}

// Links changes interfaces of the node.
type Links interface {
	Ensure(link.Pair) error
	Remove(name string) error
	List(prefix string) ([]string, error)
	Underlay(name string) (string, netip.Addr, int, error)
	EnsureVXLAN(link.VXLAN) error
	SetSlowPath(link.SlowPath) error
	RemoveSlowPath() error
}

// Vswitch changes ports of the integration bridge.
type Vswitch interface {
	AddPort(ctx context.Context, bridge string, p ovn.VswitchPort) error
	DelPort(ctx context.Context, bridge, iface string) error
}

// Fastpath is the eBPF of the node.
type Fastpath interface {
	Set(fastpath.Config) error
	Remove() error
	Counters() (fastpath.Counters, error)
	RelayCounters() ([]fastpath.RelayCounter, error)
	Lookups() (hits, misses uint64, err error)
}

// Prober probes.
type Prober interface {
	Set([]probe.Target) error
	Results() []probe.Result
	Changed() <-chan struct{}
}

// Echoes measure the way to other clusters' gateways.
type Echoes interface {
	Set(tunnelprobe.Config) error
	Port() uint16
	Results() []tunnelprobe.Result
	Changed() <-chan struct{}
}

// Tunnel is the interface that encrypts.
type Tunnel interface {
	Set(wireguard.Config) error
	Remove(name string) error
}

// Options of the controller.
type Options struct {
	// Node that the agent runs on.
	Node string
	// EndpointInterface leads to the other clusters; empty: the default route's.
	EndpointInterface string
	// Bridge is the integration bridge.
	Bridge string
	// MTU of the gateway ports, in bytes.
	MTU int
	// WireGuardPort is the UDP port of the node's WireGuard.
	WireGuardPort uint16

	Links    Links
	Vswitch  *lazy.Value[Vswitch]
	Fastpath *lazy.Value[Fastpath]
	Prober   Prober
	Echoes   Echoes
	Tunnel   Tunnel
	Keys     *lazy.Value[*wireguard.Keys]
}

// Reconciler makes the node what the copies say.
type Reconciler struct {
	Options
	client  client.Client
	metrics *metrics
	toldMTU map[string]int // the MTU of an interface that was told to be too small
	// tunnelsWritten is when this process last wrote what it measured.
	tunnelsWritten time.Time
}

// Add adds the controller to the manager.
func Add(manager ctrl.Manager, options Options) error {
	r := &Reconciler{Options: options, client: manager.GetClient(), metrics: newMetrics(options)}
	if err := r.metrics.register(); err != nil {
		return err
	}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{key} })
	return builder.ControllerManagedBy(manager).
		Named("gateway").
		Watches(&corev1.Node{}, all, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == options.Node }),
			predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&spokev1alpha1.LocalRouter{}, all, builder.WithPredicates(local.CopyChanged())).
		Watches(&spokev1alpha1.InterconnectGateway{}, all).
		WatchesRawSource(source.Func(r.wakeOnProbe)).
		WithOptions(controller.Options{
			NeedLeaderElection: new(false),
			RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 10*time.Second),
		}).
		Complete(r)
}

func (r *Reconciler) wakeOnProbe(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.Prober.Changed():
				queue.Add(key)
			case <-r.Echoes.Changed():
				queue.Add(key)
			}
		}
	}()
	return nil
}

// Reconcile makes the node what the copies say.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	in, err := r.gather(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := gateway.Make(in)
	switch p.Role {
	case gateway.RoleGateway:
		err = r.serve(ctx, in, p)
	case gateway.RoleNone:
		err = r.retire(ctx, in)
	default:
		err = r.remove(ctx, in.Routers, p.Removed)
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictRetry}, nil
	}
	if err == nil && p.Role == gateway.RoleGateway {
		return reconcile.Result{RequeueAfter: recheck}, nil
	}
	return reconcile.Result{}, err
}

// gather reads all inputs, and announces the node when it asks to be a gateway.
func (r *Reconciler) gather(ctx context.Context) (gateway.Inputs, error) {
	in := gateway.Inputs{Node: r.Node, MTU: r.MTU, WireGuardPort: r.WireGuardPort}
	var node corev1.Node
	if err := r.client.Get(ctx, types.NamespacedName{Name: r.Node}, &node); err != nil {
		return in, fmt.Errorf("get Node %s: %w", r.Node, err)
	}
	in.Labelled = node.Labels[local.LabelGateway] == "true"
	if in.Labelled {
		name, address, mtu, err := r.Links.Underlay(r.EndpointInterface)
		if err != nil {
			return in, fmt.Errorf("find the interface to the other clusters (--endpoint-interface %q): %w", r.EndpointInterface, err)
		}
		in.Underlay, in.UnderlayMTU = name, mtu
		r.checkMTU(ctx, name, mtu)
		if err := r.announce(ctx, &node, address); err != nil {
			return in, err
		}
	}
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	err := errors.Join(
		r.client.List(ctx, &routers, client.InNamespace(local.Namespace)),
		r.client.List(ctx, &gateways, client.InNamespace(local.Namespace)),
	)
	if err != nil {
		return in, fmt.Errorf("list copies: %w", err)
	}
	in.Routers, in.Gateways = routers.Items, gateways.Items
	in.PathMTU = pathMTUs(gateway.Own(in.Gateways), r.Node, r.Echoes.Results())
	return in, nil
}

// checkMTU tells once that what fits a pod's interface does not fit the underlay, or the tunnel: it works, but slowly, and only
// for pods that listen to ICMP errors.
func (r *Reconciler) checkMTU(ctx context.Context, name string, mtu int) {
	if r.toldMTU[name] == mtu || mtu >= r.MTU+fastpath.Overhead {
		return
	}
	if r.toldMTU == nil {
		r.toldMTU = map[string]int{}
	}
	r.toldMTU[name] = mtu
	log.FromContext(ctx).Error(nil, "Large packets of pods do not fit the underlay, and are refused with an ICMP error or fragmented by the kernel: raise the MTU of the interface or lower --pod-mtu",
		"interface", name, "mtu", mtu, "pod-mtu", r.MTU, "needed", r.MTU+fastpath.Overhead)
}

// announce writes the node's address on the underlay, and the public half of its key, which the hub then approves.
func (r *Reconciler) announce(ctx context.Context, node *corev1.Node, address netip.Addr) error {
	announced := map[string]string{local.AnnotationGatewayEndpoint: address.String()}
	if key, err := r.announcedKey(ctx, node.Annotations[local.AnnotationRotateKey]); err == nil {
		announced[local.AnnotationGatewayPublicKey] = key.String()
		announced[local.AnnotationGatewayWireGuardPort] = strconv.Itoa(int(r.WireGuardPort))
	} else { // without a key the node is a gateway all the same, but not to clusters that must be encrypted
		log.FromContext(ctx).Error(err, "This node can't encrypt: it has no key")
	}
	before := node.DeepCopy()
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	maps.Copy(node.Annotations, announced)
	if maps.Equal(before.Annotations, node.Annotations) {
		return nil
	}
	// Once announced and approved, this node gets its share of all flows. So the first to know that it can't carry them,
	// because its kernel has no tcx, is this agent, and nobody else.
	if _, err := r.Fastpath.Get(ctx); err != nil {
		return fmt.Errorf("announce no endpoint on Node %s, for it could not serve: %w", node.Name, err)
	}
	if _, err := r.Vswitch.Get(ctx); err != nil {
		return fmt.Errorf("announce no endpoint on Node %s, for it could not serve: %w", node.Name, err)
	}
	if err := r.client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("announce endpoint %s on Node %s: %w", address, node.Name, err)
	}
	return nil
}
