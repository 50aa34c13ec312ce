// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// fleet is a hub and the spoke "east", both real apiservers.
type fleet struct {
	hub, spoke *clustertest.Cluster
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{hub: clustertest.Start(t, "east", "west"), spoke: clustertest.Start(t, local.Namespace)}
	f.spoke.Permissions(t)
	return f
}

// agent runs the mirror with a manager of its own until stop is called.
func (f *fleet) agent(t *testing.T, kubeconfig string) (stop func()) {
	t.Helper()
	return f.agentThatIsTold(t, kubeconfig, nil)
}

// agentThatIsTold of changes of its kubeconfig need not look for them.
func (f *fleet) agentThatIsTold(t *testing.T, kubeconfig string, changed <-chan struct{}) (stop func()) {
	t.Helper()
	manager, err := ctrl.NewManager(f.spoke.Agent(t, "controller"), ctrl.Options{
		Cache:  clustertest.AgentCache(),
		Scheme: clustertest.Scheme(t), Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	mirror := &Mirror{Cluster: "east", Spoke: manager, HubKubeconfig: kubeconfig, Changed: changed, ReservedCIDRs: []string{"10.96.0.0/12"}, Log: manager.GetLogger(),
		Leave:  &leave.Reader{Client: manager.GetClient(), Live: manager.GetAPIReader()},
		Herald: &herald.Herald{Recorder: manager.GetEventRecorder("test"), Reader: manager.GetAPIReader(), Log: manager.GetLogger()}}
	if err := manager.Add(mirror); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func hubRouter(name string) *spokev1alpha1.LocalRouter {
	return &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "east", Name: "demo." + name, Finalizers: []string{spokev1alpha1.Finalizer},
			Labels: map[string]string{spokev1alpha1.LabelVpcNamespace: "demo", spokev1alpha1.LabelVpcName: name},
		},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: name, VNI: 100}, VpcUID: "uid-" + name, LinkCIDR: "169.254.128.0/29",
		},
	}
}

func hubGateway(cluster string, nodes ...string) *spokev1alpha1.InterconnectGateway {
	g := &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster, Name: cluster, Finalizers: []string{spokev1alpha1.Finalizer}},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: cluster, Encapsulation: "VXLAN", Port: 4789},
	}
	for i, node := range nodes {
		g.Spec.Endpoints = append(g.Spec.Endpoints, spokev1alpha1.GatewayEndpoint{Node: node, Address: fmt.Sprintf("192.0.2.%d", 10+i), Index: int32(i)})
	}
	return g
}

func (f *fleet) copyOf(ctx context.Context, name string) (*spokev1alpha1.LocalRouter, error) {
	r := &spokev1alpha1.LocalRouter{}
	return r, f.spoke.Client.Get(ctx, localKey(name), r)
}

func (f *fleet) mustCreate(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := f.hub.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fleet) eventuallyLink(t *testing.T, name, link string) {
	t.Helper()
	clustertest.Eventually(t, "copy of "+name+" with link "+link, func(ctx context.Context) error {
		c, err := f.copyOf(ctx, name)
		if err == nil && c.Spec.LinkCIDR != link {
			err = fmt.Errorf("link is %s", c.Spec.LinkCIDR)
		}
		return err
	})
}

// program plays the router controller and the gateway node e1: they have realized what the copy says.
func (f *fleet) program(t *testing.T, name string) {
	t.Helper()
	c, err := f.copyOf(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	c.Status.ObservedGeneration = local.HubGeneration(c)
	c.Status.Gateways = []spokev1alpha1.RouterGateway{{Node: "e1", ObservedGeneration: local.HubGeneration(c)}}
	meta.SetStatusCondition(&c.Status.Conditions, metav1.Condition{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed"})
	if err := f.spoke.Client.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func TestMirror(t *testing.T) {
	f := newFleet(t)
	kubeconfig := f.hub.Kubeconfig(t)
	f.mustCreate(t, hubGateway("east", "e1"), hubGateway("west", "w1"), hubRouter("vpc-1"))
	stop := f.agent(t, kubeconfig)

	t.Run("CopiesAppear", func(t *testing.T) {
		f.eventuallyLink(t, "demo.vpc-1", "169.254.128.0/29")
		clustertest.Eventually(t, "the directory", func(ctx context.Context) error {
			var list spokev1alpha1.InterconnectGatewayList
			if err := f.spoke.Client.List(ctx, &list, client.InNamespace(local.Namespace)); err != nil {
				return err
			}
			own := map[string]string{}
			for _, g := range list.Items {
				own[g.Name] = g.Labels[local.LabelOwn]
			}
			if diff := cmp.Diff(map[string]string{"east": "true", "west": ""}, own); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	})
	t.Run("NodesAreReported", func(t *testing.T) { f.testNodesAreReported(t) })
	t.Run("ConditionsGoUp", func(t *testing.T) { f.testConditionsGoUp(t) })
	t.Run("StatusGoesUp", func(t *testing.T) { f.testStatusGoesUp(t) })
	t.Run("TombstoneDeletes", func(t *testing.T) { f.testTombstoneDeletes(t) })
	t.Run("AbsenceDoesNotDelete", func(t *testing.T) { f.testAbsenceDoesNotDelete(t) })
	t.Run("Holds", func(t *testing.T) { f.testHolds(t) })
	t.Run("NothingLate", func(t *testing.T) { f.testNothingLate(t) })
	t.Run("OthersAreAsked", func(t *testing.T) { f.testOthersAreAsked(t) })
	t.Run("HubAwayAndBack", func(t *testing.T) { f.testHubAwayAndBack(t) })
	t.Run("HubWentBack", func(t *testing.T) { f.testHubWentBack(t) })
	t.Run("ForeignHub", func(t *testing.T) { f.testForeignHub(t) })
	t.Run("RestartWithoutHub", func(t *testing.T) {
		stop()
		f.hub.Cut()
		defer f.hub.Mend(t)
		restarted := f.agent(t, kubeconfig)
		time.Sleep(2 * time.Second) // long enough to have done harm
		if _, err := f.copyOf(t.Context(), "demo.vpc-1"); err != nil {
			t.Errorf("a restart without the hub lost the copy: %v", err)
		}
		restarted()
	})
	t.Run("SessionsLeaveNothing", func(t *testing.T) { f.testSessionsLeaveNothing(t, kubeconfig) })
	t.Run("KubeconfigComesLate", func(t *testing.T) {
		late := filepath.Join(t.TempDir(), "kubeconfig")
		f.agent(t, late)
		f.mustCreate(t, hubRouter("vpc-5"))
		raw, err := os.ReadFile(kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := os.WriteFile(late, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		f.eventuallyLink(t, "demo.vpc-5", "169.254.128.0/29")
	})
	t.Run("ForeignName", func(t *testing.T) { f.testForeignName(t) })
}

const publicKey = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="

func (f *fleet) testNodesAreReported(t *testing.T) {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: "e1", Labels: map[string]string{local.LabelGateway: "true"}, Annotations: map[string]string{
				local.AnnotationGatewayEndpoint: "192.0.2.10", local.AnnotationGatewayPublicKey: publicKey, local.AnnotationGatewayWireGuardPort: "51871",
			},
		},
		Spec: corev1.NodeSpec{PodCIDR: "10.42.0.0/24", PodCIDRs: []string{"10.42.0.0/24"}},
	}
	if err := f.spoke.Client.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	want := spokev1alpha1.InterconnectGatewayStatus{
		Endpoints:     []spokev1alpha1.ReportedEndpoint{{Node: "e1", Address: "192.0.2.10", PublicKey: publicKey, WireGuardPort: 51871}},
		ReservedCIDRs: []string{"10.42.0.0/24", "10.96.0.0/12"},
	}
	clustertest.Eventually(t, "the hub to know the gateway node", func(ctx context.Context) error {
		g := hubGateway("east")
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err
		}
		if diff := cmp.Diff(want.Endpoints, g.Status.Endpoints) + cmp.Diff(want.ReservedCIDRs, g.Status.ReservedCIDRs); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// testConditionsGoUp: what a gateway node can't do is on the hub, and nothing of a node that is none.
func (f *fleet) testConditionsGoUp(t *testing.T) {
	f.eventuallyDataPath(t, "Unknown NotReported gateway node e1 has not reported: is tombolo-agent node running there?", "")
	c := &spokev1alpha1.InterconnectGateway{}
	if err := f.spoke.Client.Get(t.Context(), localKey("east"), c); err != nil {
		t.Fatal(err)
	}
	condition := metav1.Condition{
		Type: spokev1alpha1.ConditionDataPathReady, Status: metav1.ConditionFalse, Reason: spokev1alpha1.ReasonKernelTooOld, Message: "tcx needs Linux 6.6",
		LastTransitionTime: metav1.Now(),
	}
	c.Status.Gateways = []spokev1alpha1.GatewayNode{
		{Node: "e1", Conditions: []metav1.Condition{condition}}, {Node: "gone", Conditions: []metav1.Condition{condition}},
	}
	if err := f.spoke.Client.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.eventuallyDataPath(t, "False KernelTooOld gateway node e1: DataPathReady: tcx needs Linux 6.6", "e1")
	clustertest.Eventually(t, "the copy to forget the node that is gone", func(ctx context.Context) error {
		if err := f.spoke.Client.Get(ctx, localKey("east"), c); err != nil || len(c.Status.Gateways) != 1 {
			return fmt.Errorf("status is %+v, %w", c.Status, err)
		}
		return nil
	})
}

// eventuallyDataPath waits for the hub's conditions of east, and the nodes that they are from.
func (f *fleet) eventuallyDataPath(t *testing.T, want, nodes string) {
	t.Helper()
	clustertest.Eventually(t, "DataPathReady on the hub: "+want, func(ctx context.Context) error {
		g := hubGateway("east")
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(g), g); err != nil {
			return err
		}
		c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionDataPathReady)
		if c == nil {
			return errors.New("there is no condition")
		}
		from := ""
		for _, n := range g.Status.Gateways {
			from += n.Node
		}
		if got := fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message); got != want || from != nodes {
			return fmt.Errorf("condition is %q, nodes are %q", got, from)
		}
		p := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionProgrammed)
		if c.Status == metav1.ConditionFalse && (p.Status != c.Status || p.Reason != c.Reason) {
			return fmt.Errorf("Programmed is %+v", p)
		}
		return nil
	})
}

func (f *fleet) testStatusGoesUp(t *testing.T) {
	f.program(t, "demo.vpc-1")
	clustertest.Eventually(t, "Programmed on the hub", func(ctx context.Context) error {
		r := hubRouter("vpc-1")
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(r.Status.Conditions, spokev1alpha1.ConditionProgrammed) || r.Status.ObservedGeneration != r.Generation {
			return fmt.Errorf("status is %+v", r.Status)
		}
		return nil
	})
}

func (f *fleet) testTombstoneDeletes(t *testing.T) {
	hub := hubRouter("vpc-2")
	f.mustCreate(t, hub)
	f.eventuallyLink(t, "demo.vpc-2", "169.254.128.0/29")
	c, err := f.copyOf(t.Context(), "demo.vpc-2")
	if err != nil {
		t.Fatal(err)
	}
	c.Finalizers = []string{local.RouterFinalizer}
	if err := f.spoke.Client.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := f.hub.Client.Delete(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the copy to be under deletion", func(ctx context.Context) error {
		c, err = f.copyOf(ctx, "demo.vpc-2")
		if err == nil && c.DeletionTimestamp == nil {
			err = errors.New("no deletionTimestamp")
		}
		return err
	})
	if err := f.hub.Client.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
		t.Fatalf("the hub's object went before the cluster was done with it: %v", err)
	}
	c.Finalizers = nil
	if err := f.spoke.Client.Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the hub's object to go", func(ctx context.Context) error {
		err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(hub), hub)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, or %w", err)
	})
}

func (f *fleet) testAbsenceDoesNotDelete(t *testing.T) {
	hub := hubRouter("vpc-3")
	hub.Finalizers = nil // so that it vanishes without a tombstone that anybody could see for long
	f.mustCreate(t, hub)
	f.eventuallyLink(t, "demo.vpc-3", "169.254.128.0/29")
	f.hub.Cut()
	if err := f.hub.Client.Delete(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	f.hub.Mend(t)
	f.mustCreate(t, hubRouter("vpc-4")) // when its copy is here, the mirror has listed anew and seen that vpc-3 is gone
	f.eventuallyLink(t, "demo.vpc-4", "169.254.128.0/29")
	if c, err := f.copyOf(t.Context(), "demo.vpc-3"); err != nil || c.DeletionTimestamp != nil {
		t.Errorf("a copy was deleted because the hub's object was not in a list: %v", err)
	}
}

func (f *fleet) testHubAwayAndBack(t *testing.T) {
	f.hub.Cut()
	hub := hubRouter("vpc-1")
	if err := f.hub.Client.Get(t.Context(), client.ObjectKeyFromObject(hub), hub); err != nil {
		t.Fatal(err)
	}
	hub.Spec.LinkCIDR = "169.254.128.8/29"
	if err := f.hub.Client.Update(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	f.program(t, "demo.vpc-1") // the cluster goes on
	f.hub.Mend(t)
	f.eventuallyLink(t, "demo.vpc-1", "169.254.128.8/29")
	f.program(t, "demo.vpc-1")
	clustertest.Eventually(t, "the new generation on the hub", func(ctx context.Context) error {
		if err := f.hub.Client.Get(ctx, client.ObjectKeyFromObject(hub), hub); err != nil {
			return err
		}
		if hub.Status.ObservedGeneration != hub.Generation {
			return fmt.Errorf("observed generation is %d of %d", hub.Status.ObservedGeneration, hub.Generation)
		}
		return nil
	})
}
