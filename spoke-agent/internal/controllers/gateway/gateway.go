// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway makes its node an interconnect gateway, when the Node is labelled so and the hub
// has approved it, and lets pods of Vpcs send by themselves, on every node that has some.
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
	"k8s.io/client-go/tools/events"
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
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/neighbours"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

const (
	// conflictRetry is how soon to look again when somebody else wrote an object first.
	conflictRetry = 100 * time.Millisecond
	// collect is how long news of pods and other nodes are collected: in a large cluster they come one by one, and all the time.
	collect = 50 * time.Millisecond
	// recheck is how often interfaces and maps are compared with the copies although nothing is known to have changed, and
	// recheckAiling how often while a condition is not as it should be: its cause may have gone.
	recheck       = 30 * time.Second
	recheckAiling = 5 * time.Second
)

// key is the one key: the fast path takes one configuration for everything.
var key = reconcile.Request{NamespacedName: types.NamespacedName{Name: "node"}}

// Links changes interfaces of the node.
type Links interface {
	Ensure(link.Pair) error
	Remove(name string) error
	List(prefix string) ([]string, error)
	Aliases(prefix string) (map[string]string, error)
	Underlay(name string) (string, netip.Addr, int, error)
	XDP(name string) (program int, err error)
	EnsureVXLAN(link.VXLAN) error
	SetSlowPath(link.SlowPath) error
	RemoveSlowPath() error
}

// Vswitch changes ports of the integration bridge.
type Vswitch interface {
	AddPort(ctx context.Context, bridge string, p ovn.VswitchPort) error
	DelPort(ctx context.Context, bridge, iface string) error
	Ports(ctx context.Context) ([]ovn.VswitchPort, error)
}

// Fastpath is the eBPF of the node.
type Fastpath interface {
	Set(fastpath.Config) error
	Remove() error
	Counters() (fastpath.Counters, error)
	RelayCounters() ([]fastpath.RelayCounter, error)
	Lookups() (hits, misses uint64, err error)
	Ahead() ([]string, error)
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
	Settled() bool
	Remove(name string) error
}

// Neighbours are what is known of other nodes.
type Neighbours interface {
	Nodes() (addresses map[string]netip.Addr, known bool)
	Pods() (pods []neighbours.Pod, known bool)
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
	// DirectPath lets pods send by themselves.
	DirectPath bool

	Links      Links
	Vswitch    *lazy.Value[Vswitch]
	Fastpath   *lazy.Value[Fastpath]
	Prober     Prober
	Echoes     Echoes
	Tunnel     Tunnel
	Keys       *lazy.Value[*wireguard.Keys]
	Neighbours Neighbours
	// Woken tells that pods were plugged or unplugged, or neighbours changed.
	Woken <-chan struct{}

	// Leave says whether the cluster leaves the fleet.
	Leave *leave.Reader
	// Uninstall removes the CNI plugin, and ForgetKeys the stored keys. Nil: there are none.
	Uninstall  func(context.Context) error
	ForgetKeys func() error
}

// Reconciler makes the node what the copies say.
type Reconciler struct {
	Options
	client   client.Client
	recorder events.EventRecorder
	metrics  *metrics
	// found is what the pass that runs has found so far. There is one pass at a time.
	found health.Found
	// ports of pods by the node's end of their interface.
	ports map[string]string
	// tunnelsWritten is when this process last wrote what it measured.
	tunnelsWritten time.Time
	// writes of statuses, and whether the pass that runs saw what was before one of them.
	writes local.Writes
	behind bool
}

// Add adds the controller to the manager.
func Add(manager ctrl.Manager, options Options) error {
	r := &Reconciler{Options: options, client: manager.GetClient(), recorder: manager.GetEventRecorder("tombolo-agent"), metrics: newMetrics(options)}
	if err := r.metrics.register(); err != nil {
		return err
	}
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{key} })
	return builder.ControllerManagedBy(manager).
		Named("gateway").
		Watches(&corev1.Node{}, all, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == options.Node }),
			predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&spokev1alpha1.LocalRouter{}, all, builder.WithPredicates(local.CopyChanged())).
		Watches(&spokev1alpha1.InterconnectGateway{}, all, builder.WithPredicates(predicate.Or(local.CopyChanged(), predicate.LabelChangedPredicate{}))).
		Watches(&corev1.Pod{}, all, builder.WithPredicates(podChanged())).
		Watches(&corev1.ConfigMap{}, all).
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
			case <-r.Woken:
				queue.AddAfter(key, collect)
			case <-r.Echoes.Changed():
				queue.Add(key)
			}
		}
	}()
	return nil
}

// Reconcile makes the node what the copies say, and says in the own cluster's InterconnectGateway what keeps it from that.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	leaving, err := r.Leave.State(ctx)
	if err != nil || leaving.Clean {
		if err == nil {
			err = r.leave(ctx, leaving)
		}
		return reconcile.Result{}, err
	}
	r.found, r.behind = health.Found{PodMTU: r.MTU}, false
	role, err := r.realize(ctx)
	if errors.Is(err, errNotKnown) {
		return reconcile.Result{}, nil // what is there stays until it is, and then we are woken
	}
	fine, tellErr := r.tell(ctx)
	err = errors.Join(err, tellErr)
	switch {
	case apierrors.IsConflict(err), err == nil && r.behind:
		return reconcile.Result{RequeueAfter: conflictRetry}, nil
	case err != nil || role != gateway.RoleGateway && role != gateway.RoleNode && fine:
		return reconcile.Result{}, err
	case !fine:
		return reconcile.Result{RequeueAfter: recheckAiling}, nil
	default:
		return reconcile.Result{RequeueAfter: recheck}, nil
	}
}

func (r *Reconciler) realize(ctx context.Context) (gateway.Role, error) {
	in, err := r.gather(ctx)
	if err != nil {
		return gateway.RoleUnknown, err
	}
	p := gateway.Make(in)
	switch p.Role {
	case gateway.RoleGateway:
		err = r.serve(ctx, in, p)
	case gateway.RoleNode:
		err = r.send(ctx, in, p)
	case gateway.RoleNone:
		err = r.retire(ctx, in)
	default:
		err = r.remove(ctx, in.Routers, p.Removed)
	}
	return p.Role, err
}

// gather reads all inputs, and announces the node when it asks to be a gateway.
func (r *Reconciler) gather(ctx context.Context) (gateway.Inputs, error) {
	in := gateway.Inputs{Node: r.Node, MTU: r.MTU, WireGuardPort: r.WireGuardPort, DirectPath: r.DirectPath}
	var node corev1.Node
	if err := r.client.Get(ctx, types.NamespacedName{Name: r.Node}, &node); err != nil {
		return in, fmt.Errorf("get Node %s: %w", r.Node, err)
	}
	if err := r.mark(ctx, &node); err != nil {
		return in, err
	}
	in.Labelled = node.Labels[local.LabelGateway] == "true"
	r.found.Gateway = in.Labelled
	name, address, mtu, err := r.Links.Underlay(r.EndpointInterface)
	switch {
	case err == nil:
		in.Underlay, in.Address, in.UnderlayMTU = name, address, mtu
		r.found.Wires = []health.Wire{{Name: name, MTU: mtu}}
	case in.Labelled:
		r.found.DataPath = fmt.Errorf("%w (--endpoint-interface %q): %w", health.ErrNoUnderlay, r.EndpointInterface, err)
		return in, r.found.DataPath
	} // a node that is no gateway has OVN
	if in.Labelled {
		if err := r.announce(ctx, &node, address); err != nil {
			return in, err
		}
	}
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	err = errors.Join(
		r.client.List(ctx, &routers, client.InNamespace(local.Namespace)),
		r.client.List(ctx, &gateways, client.InNamespace(local.Namespace)),
	)
	if err != nil {
		return in, fmt.Errorf("list copies: %w", err)
	}
	in.Routers, in.Gateways = routers.Items, gateways.Items
	r.behind = local.Unseen(&r.writes, in.Routers)
	if err := r.gatherPods(ctx, &in); err != nil {
		return in, err
	}
	results := r.Echoes.Results()
	in.PathMTU = pathMTUs(gateway.Own(in.Gateways), r.Node, results)
	in.Echoed = echoed(gateway.Own(in.Gateways), r.Node, results)
	return in, nil
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
		r.found.DataPath = err
		return fmt.Errorf("announce no endpoint on Node %s, for it could not serve: %w", node.Name, err)
	}
	if _, err := r.Vswitch.Get(ctx); err != nil {
		r.found.DataPath = fmt.Errorf("%w (--ovs): %w", health.ErrVswitch, err)
		return fmt.Errorf("announce no endpoint on Node %s, for it could not serve: %w", node.Name, err)
	}
	if err := r.client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("announce endpoint %s on Node %s: %w", address, node.Name, err)
	}
	return nil
}
