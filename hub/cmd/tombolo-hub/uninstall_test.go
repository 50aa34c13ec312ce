// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/uninstall"
)

// TestUninstall is what `helm uninstall tombolo-hub` runs, with the permissions of its hook alone: it refuses while the hub is needed,
// and else nothing that stays has a finalizer that nobody would take off.
func TestUninstall(t *testing.T) {
	newFleet(t, "east", "west")
	deployment := hubDeployment(t)
	h := startHub(t, "--leader-elect=true")
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	account := uninstaller(t)

	_, err := runUninstall(t, account)
	for _, want := range []string{"nothing was uninstalled", "Vpcs shop/front: delete them", "clusters with an agent east, west: let each leave", "LocalRouters east/shop.front, west/shop.front", "uninstall.force=true"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal does not say %q: %v", want, err)
		}
	}
	if replicas(t, deployment) != 2 {
		t.Error("the hub was stopped although it is needed")
	}

	for _, a := range []*agent{east, west} {
		if err := a.leaves(t.Context(), spokev1alpha1.ReasonLeft); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Delete(t.Context(), vpc("front")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Vpc is gone", func() error {
		_, err := get(t, &networkv1alpha1.Vpc{}, "shop", "front")
		return errors.Join(isGone(err), east.realize(t.Context()), west.realize(t.Context()))
	})
	held(t, "east")
	uninstallHub(t, h, deployment, account)
	released(t)
	for _, cluster := range []string{"east", "west"} {
		if err := admin.Delete(t.Context(), &clusterv1.ManagedCluster{ObjectMeta: name("", cluster)}); err != nil {
			t.Fatal(err)
		}
		_, err := get(t, &clusterv1.ManagedCluster{}, "", cluster)
		if err := isGone(err); err != nil {
			t.Errorf("ManagedCluster %s can't be deleted without the hub: %v", cluster, err)
		}
	}
}

// TestUninstallByForce gives all up as it is: what is there stays, and can be deleted.
func TestUninstallByForce(t *testing.T) {
	newFleet(t, "east", "west")
	deployment := hubDeployment(t)
	h := startHub(t, "--leader-elect=true")
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	held(t, "east")
	uninstallHub(t, h, deployment, uninstaller(t), "--force")
	released(t)
	for _, cluster := range []string{"east", "west"} {
		r, err := get(t, &spokev1alpha1.LocalRouter{}, cluster, "shop.front")
		if err != nil || r.DeletionTimestamp != nil || len(r.Spec.Remotes) != 1 {
			t.Errorf("%s lost its router: %v", cluster, err)
		}
	}
}

// uninstaller makes what helm makes before it uninstalls, and gives the kubeconfig of the Job's account.
func uninstaller(t *testing.T) string {
	t.Helper()
	objects, err := charts.PreDelete(charts.Hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, object := range objects {
		made[object.GetKind()] = true
		if object.GetKind() == "Job" {
			continue
		}
		create(t, object)
		t.Cleanup(func() {
			if err := admin.Delete(context.WithoutCancel(t.Context()), object); err != nil {
				t.Error(err)
			}
		})
	}
	if !made["Job"] || !made["ServiceAccount"] || !made["ClusterRole"] {
		t.Fatalf("helm makes %v before it uninstalls", made)
	}
	kubeconfig, err := user(t, "system:serviceaccount:"+systemNamespace+":tombolo-hub-uninstall", "system:serviceaccounts", "system:authenticated").KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func runUninstall(t *testing.T, kubeconfig string, flags ...string) (string, error) {
	t.Helper()
	command := uninstall.Command()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(append([]string{"--kubeconfig=" + kubeconfig}, flags...))
	err := command.ExecuteContext(t.Context())
	return out.String(), err
}

// hubDeployment is the chart's, which nobody runs here.
func hubDeployment(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	objects, err := charts.Render(charts.Hub, map[string]any{"crds": map[string]any{"install": false}})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			create(t, object)
			t.Cleanup(func() {
				if err := admin.Delete(context.WithoutCancel(t.Context()), object); err != nil {
					t.Error(err)
				}
			})
			return object
		}
	}
	t.Fatal("the chart has no Deployment")
	return nil
}

func replicas(t *testing.T, object client.Object) int32 {
	t.Helper()
	d, err := get(t, &appsv1.Deployment{}, object.GetNamespace(), object.GetName())
	if err != nil || d.Spec.Replicas == nil {
		t.Fatalf("read Deployment: %v", err)
	}
	return *d.Spec.Replicas
}

// uninstallHub ends the hub as the kubelet does when the Deployment is scaled to none.
func uninstallHub(t *testing.T, h *hub, deployment client.Object, kubeconfig string, flags ...string) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		out, err := runUninstall(t, kubeconfig, flags...)
		if err != nil {
			err = fmt.Errorf("uninstall: %w\n%s", err, out)
		}
		ended <- err
	}()
	eventually(t, "the hub is to stop", func() error {
		if n := replicas(t, deployment); n != 0 {
			return fmt.Errorf("%d replicas", n)
		}
		return h.process.Process.Signal(syscall.SIGTERM)
	})
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// released looks for finalizers of ours.
func released(t *testing.T) {
	t.Helper()
	for _, list := range []client.ObjectList{&clusterv1.ManagedClusterList{}, &networkv1alpha1.VpcList{}, &spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{}} {
		if err := admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, object := range items(t, list) {
			if f := object.GetFinalizers(); len(f) > 0 {
				t.Errorf("%T %s still has %v", object, client.ObjectKeyFromObject(object), f)
			}
		}
	}
}

func items(t *testing.T, list client.ObjectList) []client.Object {
	t.Helper()
	all, err := meta.ExtractList(list)
	if err != nil {
		t.Fatal(err)
	}
	objects := make([]client.Object, len(all))
	for i := range all {
		objects[i] = all[i].(client.Object)
	}
	return objects
}
