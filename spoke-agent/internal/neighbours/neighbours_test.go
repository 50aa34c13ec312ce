// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package neighbours_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/neighbours"
)

var addr = netip.MustParseAddr

func TestWatch(t *testing.T) {
	cluster := clustertest.Start(t, local.Namespace, "demo")
	cluster.Permissions(t)
	changes := make(chan struct{}, 1)
	w, err := neighbours.New(cluster.Agent(t, "node"), func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if nodes, known := w.Nodes(); known || len(nodes) > 0 {
		t.Errorf("before the first list %v are known", nodes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventuallyNodes(t, w, map[string]netip.Addr{})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Annotations: map[string]string{local.AnnotationNodeEndpoint: "192.0.2.1"}}}
	mute := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n2"}}
	create(t, cluster.Client, node, mute)
	eventuallyNodes(t, w, map[string]netip.Addr{"n1": addr("192.0.2.1")})

	p, host, plain, unknown := pod("p", false), pod("host", true), pod("plain", false), pod("unknown", false)
	create(t, cluster.Client, p, host, plain, unknown)
	attach(t, cluster.Client, p, p, "10.0.0.2/24")
	attach(t, cluster.Client, plain, p, "10.0.0.9/24") // another pod's
	attach(t, cluster.Client, unknown, unknown, "10.0.0.8/24")
	delete(unknown.Annotations, local.AnnotationDirectPath) // its node's programs do not know it
	if err := cluster.Client.Update(t.Context(), unknown); err != nil {
		t.Fatal(err)
	}
	eventuallyPods(t, w, []neighbours.Pod{{NodeName: "n1", Node: addr("192.0.2.1"), Vpc: "demo/v", Address: addr("10.0.0.2")}, {NodeName: "n1", Vpc: "demo/v", Address: addr("10.0.0.8")}})
	if err := cluster.Client.Delete(t.Context(), unknown, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	eventuallyPods(t, w, []neighbours.Pod{{NodeName: "n1", Node: addr("192.0.2.1"), Vpc: "demo/v", Address: addr("10.0.0.2")}})

	<-changes // of the first list
	attach(t, cluster.Client, p, p, "10.0.0.3/24")
	<-changes
	eventuallyPods(t, w, []neighbours.Pod{{NodeName: "n1", Node: addr("192.0.2.1"), Vpc: "demo/v", Address: addr("10.0.0.3")}})
	p.Status.Phase = corev1.PodSucceeded
	if err := cluster.Client.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	eventuallyPods(t, w, nil)
	if err := cluster.Client.Delete(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	eventuallyNodes(t, w, map[string]netip.Addr{})
}

func pod(name string, hostNetwork bool) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name},
		Spec:       corev1.PodSpec{NodeName: "n1", HostNetwork: hostNetwork, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// attach writes the annotation of a pod with the port of another one, or of itself.
func attach(t *testing.T, c client.Client, p, port *corev1.Pod, address string) {
	t.Helper()
	a := attachment.Attachment{
		Vpc: "demo/v", Subnet: "demo/net", Port: naming.PodPort(port.UID), MAC: "0a:58:0a:00:00:02", MTU: 1400,
		Address: netip.MustParsePrefix(address), Gateway: addr("10.0.0.1"),
	}
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, networkv1alpha1.AnnotationNetwork, a.String())
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, local.AnnotationDirectPath, "192.0.2.1")
	if err := c.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func eventuallyNodes(t *testing.T, w *neighbours.Watch, want map[string]netip.Addr) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("nodes %v", want), func(context.Context) error {
		nodes, known := w.Nodes()
		if diff := cmp.Diff(want, nodes, cmpopts.EquateComparable(netip.Addr{})); diff != "" || !known {
			return errors.New("(-want +got) " + diff)
		}
		return nil
	})
}

// inOrder: there is none among pods.
var inOrder = cmpopts.SortSlices(func(a, b neighbours.Pod) bool { return a.Address.Less(b.Address) })

func eventuallyPods(t *testing.T, w *neighbours.Watch, want []neighbours.Pod) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("pods %v", want), func(context.Context) error {
		pods, known := w.Pods()
		if diff := cmp.Diff(want, pods, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), inOrder); diff != "" || !known {
			return errors.New("(-want +got) " + diff)
		}
		return nil
	})
}
