// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/neighbours"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

const (
	podLine = "fastpath pod tbp1 switch \"tbq1\" vni 100 10.0.0.2 0a:58:0a:00:00:02 router 0a:58:0a:00:00:01\n"
	sending = `fastpath underlay wan0 192.0.2.10:4789
fastpath cluster west [192.0.2.11]
fastpath port  demo/a remotes 1
` + podLine + `fastpath nodes [192.0.2.11 192.0.2.12]
slow path tbx4789
`
)

// change changes the world and wakes the controller.
func (f *fixture) change(how func(*world)) {
	f.world.mu.Lock()
	how(f.world)
	f.world.mu.Unlock()
	select {
	case f.world.woken <- struct{}{}:
	default:
	}
}

// attach writes what the controller role writes of a pod of router a.
func (f *fixture) attach(t *testing.T, pod *corev1.Pod, address string) {
	t.Helper()
	a := attachment.Attachment{
		Vpc: "demo/a", Subnet: "demo/net-a", Port: naming.PodPort(pod.UID), MAC: "0a:58:0a:00:00:02", MTU: 1400,
		Address: netip.MustParsePrefix(address), Gateway: netip.MustParseAddr("10.0.0.1"),
	}
	if err := f.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
		t.Fatal(err)
	}
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, networkv1alpha1.AnnotationNetwork, a.String())
	f.mustUpdate(t, pod)
}

// eventuallyHeld waits until this node holds router a, or does not.
func (f *fixture) eventuallyHeld(t *testing.T, held bool) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("finalizer of the node: %t", held), func(ctx context.Context) error {
		r := localRouter("a", 100)
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			return err
		}
		if slices.Contains(r.Finalizers, local.GatewayFinalizer("e1")) != held {
			return fmt.Errorf("finalizers are %v", r.Finalizers)
		}
		return nil
	})
}

// insideLong is long enough for a pod that does not answer to count as silent.
const insideLong = time.Minute

// eventuallyQuiet waits until this node answers echoes, or does not, and says which nodes' pods answer it.
func (f *fixture) eventuallyQuiet(t *testing.T, quiet bool) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("quiet: %t", quiet), func(ctx context.Context) error {
		own := interconnect("east", true)
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(own), own); err != nil {
			return err
		}
		i := slices.IndexFunc(own.Status.Gateways, func(g spokev1alpha1.GatewayNode) bool { return g.Node == "e1" })
		if i < 0 || slices.Contains(own.Status.Gateways[i].PodNodes, "e3") == quiet || f.world.isQuiet() != quiet {
			return fmt.Errorf("quiet: %t, gateways %+v", f.world.isQuiet(), own.Status.Gateways)
		}
		return nil
	})
}

func (w *world) isQuiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.config.Underlay.Quiet
}

// eventuallyAnnounced waits for what the node says of itself.
func (f *fixture) eventuallyAnnounced(t *testing.T, address string) {
	t.Helper()
	clustertest.Eventually(t, "the node's address "+address, func(ctx context.Context) error {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
			return err
		}
		if got := node.Annotations[local.AnnotationNodeEndpoint]; got != address {
			return fmt.Errorf("annotation is %q", got)
		}
		return nil
	})
}

// eventuallyMarked waits for where other nodes may send what is for a pod.
func (f *fixture) eventuallyMarked(t *testing.T, pod *corev1.Pod, address string) {
	t.Helper()
	clustertest.Eventually(t, "the mark of the pod: "+address, func(ctx context.Context) error {
		have := &corev1.Pod{}
		if err := f.Client.Get(ctx, client.ObjectKeyFromObject(pod), have); err != nil {
			return err
		}
		if got := have.Annotations[local.AnnotationDirectPath]; got != address {
			return fmt.Errorf("annotation is %q", got)
		}
		return nil
	})
}

// TestNode follows a node that gets a pod, becomes a gateway, is one no more, and loses the pod.
func TestNode(t *testing.T) {
	f := &fixture{Cluster: clustertest.Start(t, local.Namespace, "demo"), world: newWorld(), keys: t.TempDir()}
	f.Permissions(t)
	all := t
	own := interconnect("east", true, spokev1alpha1.GatewayEndpoint{Node: "e2", Address: "192.0.2.11", Index: 1})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p", Annotations: map[string]string{networkv1alpha1.AnnotationSubnet: "net-a"}},
		Spec:       corev1.PodSpec{NodeName: "e1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	f.mustCreate(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}, localRouter("a", 100), localRouter("b", 200), own, pod,
		interconnect("west", false, spokev1alpha1.GatewayEndpoint{Node: "w1", Address: "192.0.2.20"}))
	f.world.nodes = nil
	f.agent(all)
	f.attach(t, pod, "10.0.0.2/24")
	f.change(func(w *world) {
		w.aliases["tbp1"], w.aliases["tbp2"] = naming.PodPort(pod.UID), "pod-of-nobody"
		w.seconds = []string{"tbq1"}
	})

	t.Run("NotBeforeOtherNodesAreKnown", func(t *testing.T) {
		clustertest.Eventually(t, "the controller to look", func(context.Context) error {
			if f.world.lookCount() == 0 {
				return fmt.Errorf("not yet")
			}
			return nil
		})
		f.eventuallyWorld(t, "a list that has not come is not an empty one", "")
		f.change(func(w *world) {
			w.nodes = map[string]netip.Addr{"e2": netip.MustParseAddr("192.0.2.11"), "e3": netip.MustParseAddr("192.0.2.12")}
		})
		f.eventuallyWorld(t, "the pod sends by itself, by the own gateway", sending)
		f.eventuallyHeld(t, true)
		f.eventuallyAnnounced(t, "192.0.2.10")
		f.eventuallyMarked(t, pod, "192.0.2.10")
	})
	t.Run("ForgedAddress", func(t *testing.T) {
		f.attach(t, pod, "172.31.0.2/24")
		f.eventuallyWorld(t, "an address outside of the pod's Subnet is for OVN to judge, and without another pod there are no programs", "")
		f.eventuallyHeld(t, false)
		f.eventuallyMarked(t, pod, "")
		f.attach(t, pod, "10.0.0.2/24")
		f.eventuallyWorld(t, "as before", sending)
	})
	t.Run("BecomesGateway", func(t *testing.T) {
		f.change(func(w *world) {
			w.pods = []neighbours.Pod{{NodeName: "e3", Node: netip.MustParseAddr("192.0.2.12"), Vpc: "demo/a", Address: netip.MustParseAddr("10.0.0.3")}}
		})
		f.label(t, "true")
		own.Spec.Endpoints = append(own.Spec.Endpoints, spokev1alpha1.GatewayEndpoint{Node: "e1", Address: "192.0.2.10"})
		f.mustUpdate(t, own)
		clustertest.Eventually(t, "ports, pod and host", func(context.Context) error {
			got := f.world.String()
			for _, want := range []string{"fastpath port tbg100", "fastpath port tbg200", podLine, "fastpath host vni 100 10.0.0.3 at 192.0.2.12\n", "fastpath relay vni 900 east to west\n", "fastpath cluster west [192.0.2.20]"} {
				if !strings.Contains(got, want) {
					return fmt.Errorf("no %q in\n%s", want, got)
				}
			}
			return nil
		})
	})
	t.Run("ReachesNoPods", func(t *testing.T) {
		clustertest.Eventually(t, "another gateway's word", func(ctx context.Context) error { // the agent writes the same status
			fresh := interconnect("east", true)
			if err := f.Client.Get(ctx, client.ObjectKeyFromObject(fresh), fresh); err != nil {
				return err
			}
			fresh.Status.Gateways = append(fresh.Status.Gateways, spokev1alpha1.GatewayNode{Node: "e2", PodNodes: []string{"e3"}})
			return f.Client.Status().Update(ctx, fresh)
		})
		f.change(func(w *world) {
			w.measured = []tunnelprobe.Result{{Target: tunnelprobe.Target{Cluster: "east", Node: "e2"}, Reachable: true}}
			w.results["pods of node e3"] = probe.Result{Key: "pods of node e3", Since: time.Now().Add(-insideLong)}
		})
		f.eventuallyQuiet(t, true)
		f.eventuallyEvent(t, "Warning NoWayToPods Gateway node e1: No pod of another node answers this node through OVN, and of node e3 one answers gateway node e2.")
		f.change(func(w *world) {
			w.results["pods of node e3"] = probe.Result{Key: "pods of node e3", Reachable: true, Since: time.Now()}
		})
		f.eventuallyQuiet(t, false)
	})
	t.Run("IsNoGatewayAnyMore", func(t *testing.T) {
		own.Spec.Endpoints = own.Spec.Endpoints[:1]
		f.mustUpdate(t, own)
		f.eventuallyWorld(t, "what only gateways have goes, and the pod goes on", sending)
		f.eventuallyHeld(t, true)
		f.eventuallyStatus(t, "demo.a", spokev1alpha1.LocalRouterStatus{})
	})
	t.Run("LosesThePod", func(t *testing.T) {
		f.change(func(w *world) { delete(w.aliases, "tbp1") })
		f.eventuallyWorld(t, "no pod, no programs", "")
		f.eventuallyMarked(t, pod, "")
		f.eventuallyHeld(t, false)
	})
}
