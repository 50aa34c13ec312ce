// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/addonlease"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

func start(t *testing.T, m ctrl.Manager, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the agent ended with: %v", err)
		}
	})
}

func common() options.Common {
	return options.Common{MetricsBindAddress: "0", HealthProbeBindAddress: "0", PodMTU: 1400}
}

// TestCluster follows a Vpc from the hub to OVN and back, with real apiservers and a real OVN, under the chart's roles.
func TestCluster(t *testing.T) {
	hub, spoke := clustertest.Start(t, "east"), clustertest.Start(t, local.Namespace, "demo")
	central := ovntest.StartCentral(t)
	spoke.Install(t)
	m, err := NewCluster(spoke.Agent(t, "controller"), options.Controller{
		Common: common(), ClusterName: "east", HubKubeconfig: hub.Kubeconfig(t), Northbound: central.NB.Endpoint, LeaderElect: true,
	}, logr.Discard())
	start(t, m, err)

	router := &spokev1alpha1.LocalRouter{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "demo.v", Finalizers: []string{spokev1alpha1.Finalizer}},
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "demo", Name: "v", VNI: 100}, VpcUID: "uid-v", LinkCIDR: "169.254.128.0/29",
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net", CIDR: "10.0.0.0/24", Gateway: "10.0.0.1"}},
		},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p", Annotations: map[string]string{networkv1alpha1.AnnotationSubnet: "net"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	if err := errors.Join(hub.Client.Create(t.Context(), router), spoke.Client.Create(t.Context(), pod)); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "an address from OVN on the pod", func(ctx context.Context) error {
		if err := spoke.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		a, err := attachment.Parse(pod.Annotations[networkv1alpha1.AnnotationNetwork])
		if err == nil && (a.Address.String() != "10.0.0.2/24" || a.Port != "pod-"+string(pod.UID)) {
			err = fmt.Errorf("annotation is %s", a)
		}
		return err
	})
	clustertest.Eventually(t, "a person's change of the annotation to be refused", func(ctx context.Context) error {
		forged := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"tombolo.io/network":"x","tombolo.io/direct-path":"192.0.2.1"}}}`))
		err := spoke.Client.Patch(ctx, pod.DeepCopy(), forged)
		if err == nil || !strings.Contains(err.Error(), "only Tombolo's agent changes the annotation tombolo.io/network") {
			return fmt.Errorf("answer is %w", err)
		}
		return nil
	})
	clustertest.Eventually(t, "any other change to be taken", func(ctx context.Context) error {
		return spoke.Client.Patch(ctx, pod, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/other":"x"}}}`)))
	})
	clustertest.Eventually(t, "Programmed on the hub", func(ctx context.Context) error {
		if err := hub.Client.Get(ctx, client.ObjectKeyFromObject(router), router); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(router.Status.Conditions, spokev1alpha1.ConditionProgrammed) || router.Status.ObservedGeneration != router.Generation {
			return fmt.Errorf("status is %+v", router.Status)
		}
		return nil
	})
	clustertest.Eventually(t, "the lease by which OCM's agent sees that this one works", func(ctx context.Context) error {
		return spoke.Client.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: addonlease.Name}, &coordinationv1.Lease{})
	})
	if err := hub.Client.Delete(t.Context(), router); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the router to go from hub, cluster and OVN", func(ctx context.Context) error {
		if err := hub.Client.Get(ctx, client.ObjectKeyFromObject(router), router); !apierrors.IsNotFound(err) {
			return fmt.Errorf("on the hub: still there, or %w", err)
		}
		return nil
	})
	if rows := central.NBCtl(t, "--bare", "--columns=name", "list", "Logical_Router"); strings.TrimSpace(rows) != "" {
		t.Errorf("the hub's object went before OVN's rows: %s", rows)
	}
}

// TestNode starts the node's role under the chart's roles: while OVS is away it still answers for pods of no Vpc.
func TestNode(t *testing.T) {
	spoke := clustertest.Start(t, local.Namespace, "demo")
	socket := filepath.Join(t.TempDir(), "cni.sock")
	spoke.Install(t)
	m, err := NewNode(spoke.Agent(t, "node"), options.Node{
		Common: common(), NodeName: "e1", OVS: "unix:" + filepath.Join(t.TempDir(), "none.sock"), IntegrationBridge: "br-int", CNISocket: socket, BPFFS: t.TempDir(), StateDir: t.TempDir(), WireGuardPort: 51871,
	}, logr.Discard())
	start(t, m, err)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "p"},
		Spec:       corev1.PodSpec{NodeName: "e1", Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	if err := spoke.Client.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the agent to delegate", func(ctx context.Context) error {
		response, err := cni.Call(ctx, socket, cni.Request{
			Command: cni.CommandAdd, ContainerID: "s", IfName: "eth0", PodNamespace: "demo", PodName: "p", PodUID: string(pod.UID),
		})
		if err == nil && !response.Delegate {
			err = fmt.Errorf("answer is %+v", response)
		}
		return err
	})
}
