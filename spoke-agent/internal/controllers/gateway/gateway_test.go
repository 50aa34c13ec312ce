// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/lazy"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

type fixture struct {
	*clustertest.Cluster
	world *world
	// keys is the directory of the node's keys.
	keys string
	// delay of the agent's cache.
	delay time.Duration
}

// agent runs the controller of node e1 until the returned function is called.
func (f *fixture) agent(t *testing.T) (stop func()) {
	t.Helper()
	manager, err := ctrl.NewManager(clustertest.SlowCache(f.Agent(t, "node"), f.delay), ctrl.Options{
		Scheme: clustertest.Scheme(t), Cache: clustertest.AgentCache(), Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctrlmetrics.Registry = prometheus.NewRegistry() // an agent registers once; here several live in one process
	err = Add(manager, Options{
		Node: "e1", EndpointInterface: "wan0", Bridge: "br-int", MTU: 1400, Links: f.world, Prober: proberOf(f.world), Echoes: echoesView{f.world},
		Vswitch:  lazy.New(func(context.Context) (Vswitch, error) { return f.world, nil }),
		Fastpath: lazy.New(func(context.Context) (Fastpath, error) { return fastpathOf(f.world), f.world.failure("tcx") }),
		Tunnel:   tunnelOf(f.world), WireGuardPort: 51871, DirectPath: true, Neighbours: f.world, Woken: f.world.woken,
		Keys:       lazy.New(func(context.Context) (*wireguard.Keys, error) { return wireguard.OpenKeys(f.keys) }),
		Leave:      &leave.Reader{Client: manager.GetClient(), Live: manager.GetAPIReader()},
		ForgetKeys: func() error { return os.RemoveAll(f.keys) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func localRouter(name string, vni int32) *spokev1alpha1.LocalRouter {
	return &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: local.Namespace, Name: "demo." + name, Finalizers: []string{local.RouterFinalizer},
			Annotations: map[string]string{spokev1alpha1.AnnotationHubUID: "hub-" + name, spokev1alpha1.AnnotationHubGeneration: "7"},
		},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: name, VNI: vni}, VpcUID: "uid-" + name, LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net-" + name, CIDR: "10.0.0.0/24", Gateway: "10.0.0.1"}},
			Remotes: []spokev1alpha1.Remote{{
				Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: "far", VNI: 900}, Cluster: "west", Prefixes: []string{"172.31.0.0/16"}, ProbeAddress: "172.31.0.1",
			}},
		},
	}
}

func interconnect(cluster string, own bool, endpoints ...spokev1alpha1.GatewayEndpoint) *spokev1alpha1.InterconnectGateway {
	g := &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: cluster, Labels: map[string]string{}},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: cluster, Encapsulation: "VXLAN", Port: 4789, Endpoints: endpoints},
	}
	if own {
		g.Labels[local.LabelOwn] = "true"
	}
	return g
}

func (f *fixture) mustCreate(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := f.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) eventuallyWorld(t *testing.T, reason, want string) {
	t.Helper()
	clustertest.Eventually(t, reason, func(context.Context) error {
		if diff := cmp.Diff(want, f.world.String()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func (f *fixture) eventuallyStatus(t *testing.T, name string, want spokev1alpha1.LocalRouterStatus) {
	t.Helper()
	clustertest.Eventually(t, "status of "+name, func(ctx context.Context) error {
		r := &spokev1alpha1.LocalRouter{}
		if err := f.Client.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, r); err != nil {
			return err
		}
		for i := range r.Status.Probes {
			r.Status.Probes[i].LastTransitionTime = metav1.Time{}
		}
		if diff := cmp.Diff(want, r.Status); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

const slowPath = `slow path tbx4789
slow path tbg100 via 169.254.128.1 remotes 1
`

const serving = `fastpath underlay wan0 192.0.2.10:4789
fastpath cluster west [192.0.2.20]
fastpath port tbg100 demo/a remotes 1
` + slowPath + `link tbg100 tbo100 0a:58:a9:fe:80:02 mtu 1400
port tbo100 gw-demo.a:e1 owner uid-a
echo from 192.0.2.10:40000 to west w1 192.0.2.20 mtu 1500
probe demo.a demo/far west: 169.254.128.2 → 172.31.0.1
`

func TestGateway(t *testing.T) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace), world: newWorld(), keys: t.TempDir()}
	f.Permissions(t)
	all := t // the agent outlives the step that starts it
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}
	f.mustCreate(t, node, localRouter("a", 100), interconnect("west", false, spokev1alpha1.GatewayEndpoint{Node: "w1", Address: "192.0.2.20"}))
	stop := f.agent(all)

	t.Run("NodeThatCannotServeIsSilent", func(t *testing.T) {
		f.world.fail("tcx", errors.New("no tcx"))
		f.label(t, "true")
		time.Sleep(500 * time.Millisecond) // long enough to have written
		if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(node), node); err != nil {
			t.Fatal(err)
		}
		if got, ok := node.Annotations[local.AnnotationGatewayEndpoint]; ok {
			t.Errorf("a node without tcx announced %s, and would get its share of all flows", got)
		}
		f.world.fail("tcx", nil)
	})
	t.Run("LabelAnnouncesTheNode", func(t *testing.T) {
		clustertest.Eventually(t, "the endpoint on the Node", func(ctx context.Context) error {
			if err := f.Client.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
				return err
			}
			if got := node.Annotations[local.AnnotationGatewayEndpoint]; got != "192.0.2.10" {
				return fmt.Errorf("annotation is %q", got)
			}
			return nil
		})
		f.eventuallyWorld(t, "nothing is made before the hub approves", "")
	})
	t.Run("ApprovalServes", func(t *testing.T) {
		f.mustCreate(t, interconnect("east", true, spokev1alpha1.GatewayEndpoint{Node: "e1", Address: "192.0.2.10"}))
		f.eventuallyWorld(t, "interfaces, maps and probes of router a", serving)
		f.eventuallyStatus(t, "demo.a", spokev1alpha1.LocalRouterStatus{Gateways: []spokev1alpha1.RouterGateway{{Node: "e1", ObservedGeneration: 7}}})
	})
	t.Run("ProbesAreReported", func(t *testing.T) { f.testProbes(t) })
	t.Run("TunnelsAreReported", func(t *testing.T) { f.testTunnels(t) })
	t.Run("KernelWithoutSlowPath", func(t *testing.T) {
		f.world.fail("tbx4789", errors.New("the kernel lacks VXLAN"))
		f.world.answer("demo.a demo/far west", true) // a reason to look again
		f.eventuallyWorld(t, "the fast path goes on without", strings.ReplaceAll(serving, slowPath, ""))
		f.world.fail("tbx4789", nil)
		f.world.answer("demo.a demo/far west", true)
		f.eventuallyWorld(t, "the slow path is there as soon as the kernel can", serving)
	})
	t.Run("RestartWritesNothing", func(t *testing.T) {
		stop()
		before := f.version(t)
		sets := f.world.setCount()
		f.world.forgetResults() // as a new prober has none
		stop = f.agent(all)
		clustertest.Eventually(t, "the new agent to set the fast path", func(context.Context) error {
			if f.world.setCount() == sets {
				return errors.New("not yet")
			}
			return nil
		})
		time.Sleep(300 * time.Millisecond) // long enough to have written
		if after := f.version(t); after != before {
			t.Errorf("a restart wrote a copy that did not change: version %s, then %s", before, after)
		}
		f.eventuallyWorld(t, "the same as before", serving)
	})
	t.Run("FailureIsReported", func(t *testing.T) {
		f.world.fail("tbg200", errors.New("no room for tbg200"))
		f.mustCreate(t, localRouter("b", 200))
		f.eventuallyStatus(t, "demo.b", spokev1alpha1.LocalRouterStatus{Gateways: []spokev1alpha1.RouterGateway{{Node: "e1", Message: "no room for tbg200"}}})
		f.eventuallyWorld(t, "router a goes on", serving)
		f.world.fail("tbg200", nil)
		clustertest.Eventually(t, "router b to be served at the next attempt", func(context.Context) error {
			if !f.world.has("tbg200") {
				return errors.New("no tbg200")
			}
			return nil
		})
	})
	t.Run("VswitchAwayStopsNothing", func(t *testing.T) { f.testVswitchAway(t) })
	t.Run("TombstoneRemoves", func(t *testing.T) { f.testTombstone(t) })
	t.Run("HubWithdraws", func(t *testing.T) {
		own := interconnect("east", true)
		if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil {
			t.Fatal(err)
		}
		own.Spec.Endpoints = nil
		f.mustUpdate(t, own)
		f.eventuallyWorld(t, "nothing is left", "")
		f.eventuallyStatus(t, "demo.a", spokev1alpha1.LocalRouterStatus{})
	})
}

// testVswitchAway: Open vSwitch goes on forwarding while its database or daemon restarts, and so must the fast path. Nor
// does a router whose port can't be looked at hold up the deletion of another.
func (f *fixture) testVswitchAway(t *testing.T) {
	f.world.fail("tbo100", errors.New("wait for ovs-vswitchd"))
	defer f.world.fail("tbo100", nil)
	doomed := localRouter("d", 400)
	f.mustCreate(t, doomed)
	clustertest.Eventually(t, "router d to be served", func(context.Context) error {
		if !strings.Contains(f.world.String(), "fastpath port tbg400") {
			return errors.New(f.world.String())
		}
		return nil
	})
	if diff := cmp.Diff(true, strings.Contains(f.world.String(), "fastpath port tbg100 demo/a remotes 1\n")); diff != "" {
		t.Errorf("router a lost its fast path because Open vSwitch did not answer:\n%s", f.world)
	}
	if err := f.Client.Delete(t.Context(), doomed); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "router d to be taken down while router a has a problem", func(ctx context.Context) error {
		err := f.Client.Get(ctx, client.ObjectKeyFromObject(doomed), doomed)
		if f.world.has("tbg400") || err == nil && slices.Contains(doomed.Finalizers, local.GatewayFinalizer("e1")) {
			return fmt.Errorf("finalizers are %v, %w; the node has\n%s", doomed.Finalizers, err, f.world)
		}
		return nil
	})
	doomed.Finalizers = nil
	if err := f.Client.Update(t.Context(), doomed); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "router a to say so", func(ctx context.Context) error {
		a := localRouter("a", 100)
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(a), a); err != nil {
			return err
		}
		if a.Status.Gateways[0].Message != "wait for ovs-vswitchd" {
			return fmt.Errorf("status is %+v", a.Status)
		}
		return nil
	})
	f.world.fail("tbo100", nil)
	clustertest.Eventually(t, "router a to be well", func(ctx context.Context) error {
		a := localRouter("a", 100)
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(a), a); err != nil {
			return err
		}
		if a.Status.Gateways[0].Message != "" {
			return fmt.Errorf("status is %+v", a.Status)
		}
		return nil
	})
}

func (f *fixture) label(t *testing.T, value string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, local.LabelGateway, value)
	if err := f.Client.Patch(t.Context(), node, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) version(t *testing.T) string {
	t.Helper()
	r := localRouter("a", 100)
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatal(err)
	}
	return r.ResourceVersion
}

func (f *fixture) testProbes(t *testing.T) {
	f.world.answer("demo.a demo/far west", true)
	want := spokev1alpha1.LocalRouterStatus{
		Gateways: []spokev1alpha1.RouterGateway{{Node: "e1", ObservedGeneration: 7}},
		Probes:   []spokev1alpha1.ProbeResult{{Node: "e1", Vpc: "demo/far", Cluster: "west", Reachable: true, RTTMicroseconds: 1500}},
	}
	f.eventuallyStatus(t, "demo.a", want)
	families, err := ctrlmetrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, family := range families {
		series[family.GetName()] = len(family.GetMetric())
	}
	wantSeries := map[string]int{
		"tombolo_probe_reachable": 1, "tombolo_probe_rtt_seconds": 1,
		"tombolo_condition":              4,
		"tombolo_fastpath_packets_total": 3, "tombolo_fastpath_bytes_total": 3, "tombolo_fastpath_drops_total": 1,
		"tombolo_fastpath_slow_total": 1, "tombolo_slowpath_up": 1, "tombolo_fastpath_pods": 1,
		"tombolo_fastpath_relayed_packets_total": 1, "tombolo_fastpath_relayed_bytes_total": 1, "tombolo_fastpath_lookups_total": 2,
	}
	if diff := cmp.Diff(wantSeries, series); diff != "" {
		t.Errorf("series per metric (-want +got):\n%s", diff)
	}
}

func (f *fixture) testTombstone(t *testing.T) {
	r := localRouter("b", 200)
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(r.Finalizers, local.GatewayFinalizer("e1")) {
		t.Errorf("a served copy could vanish before its interfaces: finalizers are %v", r.Finalizers)
	}
	if err := f.Client.Delete(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	f.eventuallyWorld(t, "only router a is left", serving)
	clustertest.Eventually(t, "the node to let go", func(ctx context.Context) error {
		err := f.Client.Get(ctx, client.ObjectKeyFromObject(r), r)
		if apierrors.IsNotFound(err) || err == nil && !slices.Contains(r.Finalizers, local.GatewayFinalizer("e1")) {
			return nil
		}
		return fmt.Errorf("finalizers are %v, %w", r.Finalizers, err)
	})
	r.Finalizers = nil
	if err := f.Client.Update(t.Context(), r); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
}
