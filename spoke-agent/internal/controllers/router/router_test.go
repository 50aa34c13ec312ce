// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// database stands in for OVN: it gives every port the next address. That ovn.Northbound does what Desired says is
// tested there, on the real thing.
type database struct {
	mu      sync.Mutex
	away    bool
	refused map[string]error
	desired ovn.Desired
	removed map[string]bool
	during  func(ovn.Desired)
	given   map[string]ovn.PortBinding
	changed chan struct{}
}

func newDatabase() *database {
	return &database{removed: map[string]bool{}, given: map[string]ovn.PortBinding{}, changed: make(chan struct{}, 1)}
}

func (d *database) dial(context.Context) (Northbound, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return nil, errors.New("connection refused")
	}
	return d, nil
}

func (d *database) setAway(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

func (d *database) refuse(refused map[string]error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = refused
}

func (d *database) last() ovn.Desired {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.desired
}

func (d *database) Changed() <-chan struct{} { return d.changed }

// meanwhile has something done while a transaction is under way.
func (d *database) meanwhile(do func(ovn.Desired)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.during = do
}

func (d *database) wasRemoved(owner string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.removed[owner]
}

func (d *database) Set(_ context.Context, desired ovn.Desired) (ovn.Report, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.during != nil {
		d.during(desired)
	}
	if d.away {
		return ovn.Report{}, fmt.Errorf("wait for OVN_Northbound: %w", context.DeadlineExceeded)
	}
	d.desired = desired
	for _, owner := range desired.Removed {
		d.removed[owner] = true
	}
	report := ovn.Report{Ports: map[string]ovn.PortBinding{}, Refused: d.refused}
	for _, r := range desired.Routers {
		for _, s := range r.Subnets {
			for _, p := range s.Ports {
				if _, ok := d.given[p.Name]; !ok {
					b := s.CIDR.Addr().As4()
					b[3] = byte(len(d.given) + 2)
					d.given[p.Name] = ovn.PortBinding{Address: netip.AddrFrom4(b), MAC: "0a:00:00:00:00:01"}
				}
				report.Ports[p.Name] = d.given[p.Name]
			}
		}
	}
	return report, nil
}

type fixture struct {
	*clustertest.Cluster
	db *database
}

// agent runs the controller until the returned function is called.
func (f *fixture) agent(t *testing.T) (stop func()) {
	t.Helper()
	manager, err := ctrl.NewManager(f.Agent(t, "controller"), ctrl.Options{
		Cache:  clustertest.AgentCache(),
		Scheme: clustertest.Scheme(t), Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	reader := &leave.Reader{Client: manager.GetClient(), Live: manager.GetAPIReader()}
	if err := Add(manager, Options{Endpoint: "unix:/nb", Dial: f.db.dial, PodMTU: 1400, Leave: reader}); err != nil {
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

func localRouter(name string) *spokev1alpha1.LocalRouter {
	return &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: local.Namespace, Name: "demo." + name,
			Annotations: map[string]string{spokev1alpha1.AnnotationHubUID: "hub-" + name, spokev1alpha1.AnnotationHubGeneration: "7"},
		},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: name, VNI: 100}, VpcUID: "uid-" + name, LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net-" + name, CIDR: "10.0.0.0/24", Gateway: "10.0.0.1"}},
		},
	}
}

func newPod(name, subnet string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Annotations: map[string]string{networkv1alpha1.AnnotationSubnet: subnet}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func (f *fixture) mustCreate(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := f.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// eventuallyCondition waits for the Programmed condition and returns the router.
func (f *fixture) eventuallyCondition(t *testing.T, name string, status metav1.ConditionStatus, reason string) *spokev1alpha1.LocalRouter {
	t.Helper()
	r := &spokev1alpha1.LocalRouter{}
	clustertest.Eventually(t, fmt.Sprintf("%s to be Programmed=%s (%s)", name, status, reason), func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, r); err != nil {
			return err
		}
		c := meta.FindStatusCondition(r.Status.Conditions, spokev1alpha1.ConditionProgrammed)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != 7 {
			return fmt.Errorf("condition is %+v", c)
		}
		return nil
	})
	return r
}

func TestRouter(t *testing.T) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace, "demo"), db: newDatabase()}
	f.Permissions(t)
	f.db.setAway(true)
	all := t // the agent outlives the step that starts it
	stop := f.agent(all)
	f.mustCreate(t, localRouter("a"))

	t.Run("NorthboundAway", func(t *testing.T) {
		r := f.eventuallyCondition(t, "demo.a", metav1.ConditionFalse, spokev1alpha1.ReasonNorthboundUnreachable)
		message := meta.FindStatusCondition(r.Status.Conditions, spokev1alpha1.ConditionProgrammed).Message
		if !strings.Contains(message, "unix:/nb") || !strings.Contains(message, "--nb") || r.Status.ObservedGeneration != 0 {
			t.Errorf("message %q names neither endpoint nor cure, or generation %d is claimed to be realized", message, r.Status.ObservedGeneration)
		}
	})
	t.Run("NorthboundComes", func(t *testing.T) {
		f.db.setAway(false)
		r := f.eventuallyCondition(t, "demo.a", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
		if r.Status.ObservedGeneration != 7 || !slices.Contains(r.Finalizers, local.RouterFinalizer) {
			t.Errorf("realized is generation %d, want the hub's 7; finalizers are %v", r.Status.ObservedGeneration, r.Finalizers)
		}
	})
	t.Run("PodGetsItsAddress", func(t *testing.T) { f.testPodGetsItsAddress(t) })
	t.Run("PodThatCannotJoinIsTold", func(t *testing.T) { f.testPodIsTold(t) })
	t.Run("RestartWritesNothing", func(t *testing.T) {
		before := f.versions(t)
		stop()
		stop = f.agent(all)
		f.mustCreate(t, localRouter("c")) // when this is programmed, the new agent has been through everything
		f.eventuallyCondition(t, "demo.c", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
		if after := f.versions(t); after != before {
			t.Errorf("a restart wrote objects that did not change:\nbefore %s\nafter  %s", before, after)
		}
	})
	t.Run("NorthboundLost", func(t *testing.T) {
		f.db.setAway(true)
		f.db.changed <- struct{}{}
		r := f.eventuallyCondition(t, "demo.a", metav1.ConditionFalse, spokev1alpha1.ReasonNorthboundUnreachable)
		if r.Status.ObservedGeneration != 7 {
			t.Errorf("realized generation became %d; what OVN has did not change", r.Status.ObservedGeneration)
		}
		f.db.setAway(false)
		f.eventuallyCondition(t, "demo.a", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
	})
	t.Run("InvalidStopsOnlyItself", func(t *testing.T) {
		bad := localRouter("bad")
		bad.Spec.LinkCIDR = "nonsense"
		f.mustCreate(t, bad)
		f.eventuallyCondition(t, "demo.bad", metav1.ConditionFalse, spokev1alpha1.ReasonInvalid)
		f.eventuallyCondition(t, "demo.a", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
	})
	t.Run("RefusedStopsOnlyItself", func(t *testing.T) {
		f.db.refuse(map[string]error{"uid-taken": errors.New("somebody has the name")})
		f.mustCreate(t, localRouter("taken"))
		f.eventuallyCondition(t, "demo.taken", metav1.ConditionFalse, spokev1alpha1.ReasonNorthboundError)
		f.eventuallyCondition(t, "demo.a", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
		f.db.refuse(nil) // nothing tells of it: it is tried again
		f.eventuallyCondition(t, "demo.taken", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
	})
	t.Run("MovingPodWaits", func(t *testing.T) { f.testMovingPod(t) })
	t.Run("SilentGateway", func(t *testing.T) { f.testSilentGateway(t) })
	t.Run("TombstoneRemoves", func(t *testing.T) { f.testTombstoneRemoves(t) })
	t.Run("TombstoneDuringPass", func(t *testing.T) { f.testTombstoneDuringPass(t) })
}

// testTombstoneDuringPass: a router is deleted while the pass that realizes it is under way, which hears of it in the answer to what it writes. Its rows go
// before it does.
func (f *fixture) testTombstoneDuringPass(t *testing.T) {
	late, deleted := localRouter("late"), false
	f.db.meanwhile(func(desired ovn.Desired) {
		if deleted || !slices.ContainsFunc(desired.Routers, func(r ovn.Router) bool { return r.Owner == "uid-late" }) {
			return
		}
		deleted = true
		if err := f.Client.Delete(context.WithoutCancel(t.Context()), localRouter("late")); err != nil {
			t.Errorf("delete LocalRouter: %v", err)
		}
	})
	defer f.db.meanwhile(nil)
	f.mustCreate(t, late)
	clustertest.Eventually(t, "the router to go", func(ctx context.Context) error {
		err := f.Client.Get(ctx, client.ObjectKeyFromObject(late), late)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	if !f.db.wasRemoved("uid-late") {
		t.Error("the router went, and its rows are still in OVN: nobody knows whose they are any more")
	}
}

func (f *fixture) testPodGetsItsAddress(t *testing.T) {
	pod := newPod("p", "net-a")
	f.mustCreate(t, pod)
	want := fmt.Sprintf(`{"vpc":"demo/a","subnet":"demo/net-a","port":"pod-%s","address":"10.0.0.2/24","mac":"0a:00:00:00:00:01","gateway":"10.0.0.1","mtu":1400}`, pod.UID)
	clustertest.Eventually(t, "the pod's annotation", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if got := pod.Annotations[networkv1alpha1.AnnotationNetwork]; got != want {
			return fmt.Errorf("annotation is %q, want %q", got, want)
		}
		return nil
	})
}

// testMovingPod: OVN still has the former subnet's address of a port that has just moved to another one.
func (f *fixture) testMovingPod(t *testing.T) {
	two := localRouter("two")
	two.Spec.Subnets = append(two.Spec.Subnets, spokev1alpha1.RouterSubnet{Name: "net-other", CIDR: "10.7.0.0/24", Gateway: "10.7.0.1"})
	pod := newPod("mover", "net-other")
	f.mustCreate(t, pod)
	f.db.mu.Lock()
	f.db.given["pod-"+string(pod.UID)] = ovn.PortBinding{Address: netip.MustParseAddr("10.0.0.77"), MAC: "0a:00:00:00:00:01"}
	f.db.mu.Unlock()
	f.mustCreate(t, two)
	f.eventuallyCondition(t, "demo.two", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
	later := newPod("later", "net-two") // when this has its address, all others had their turn
	f.mustCreate(t, later)
	clustertest.Eventually(t, "the later pod's annotation", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(later), later); err != nil {
			return err
		}
		if later.Annotations[networkv1alpha1.AnnotationNetwork] == "" {
			return errors.New("none")
		}
		return nil
	})
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
	if got := pod.Annotations[networkv1alpha1.AnnotationNetwork]; got != "" {
		t.Errorf("the pod was told an address outside of its subnet: %s", got)
	}
}

func (f *fixture) testPodIsTold(t *testing.T) {
	pod := newPod("lost", "nowhere")
	f.mustCreate(t, pod)
	clustertest.Eventually(t, "an event on the pod", func(ctx context.Context) error {
		var list eventsv1.EventList
		if err := f.Client.List(ctx, &list, client.InNamespace("demo")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.UID == pod.UID && e.Reason == "NotAttached" && strings.Contains(e.Note, `tombolo.io/subnet] "nowhere"`) {
				return nil
			}
		}
		return fmt.Errorf("%d events, none of them", len(list.Items))
	})
}

// versions are the resourceVersions of what the controller might write.
func (f *fixture) versions(t *testing.T) string {
	t.Helper()
	router, pod := localRouter("a"), newPod("p", "")
	for _, o := range []client.Object{router, pod} {
		if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
	}
	return router.ResourceVersion + " " + pod.ResourceVersion
}

func (f *fixture) testTombstoneRemoves(t *testing.T) {
	f.mustCreate(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "lives"}})
	r := localRouter("b")
	r.Finalizers = []string{local.GatewayFinalizer("lives"), local.GatewayFinalizer("died")}
	r.Spec.Subnets = nil
	f.mustCreate(t, r)
	f.eventuallyCondition(t, "demo.b", metav1.ConditionTrue, spokev1alpha1.ReasonProgrammed)
	if err := f.Client.Delete(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "only the living node to hold the router", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err
		}
		if !slices.Equal(r.Finalizers, []string{local.GatewayFinalizer("lives")}) {
			return fmt.Errorf("finalizers are %v", r.Finalizers)
		}
		return nil
	})
	if removed := f.db.last().Removed; !slices.Equal(removed, []string{"uid-b"}) {
		t.Errorf("OVN was asked to remove %v, want the owner uid-b", removed)
	}
	if err := f.Client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "lives"}}); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the router to go with its last node", func(ctx context.Context) error {
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(r), r); !apierrors.IsNotFound(err) {
			return fmt.Errorf("still there, or %w", err)
		}
		return nil
	})
}
