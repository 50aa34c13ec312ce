// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/evidence"
)

// TestOCMComesAndGoes: one process of the hub hears of the deletion of an add-on when Open Cluster Management was installed after it
// has started, and again after OCM was taken away and came back. That OCM is taken away is no cluster's leave.
func TestOCMComesAndGoes(t *testing.T) {
	newFleet(t, "east", "west")
	h := startHub(t, "--add-on=false")
	h.lacks = true
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)

	installOCM(t)
	t.Cleanup(h.kill) // before OCM goes
	t.Cleanup(func() { removeAddOn(t) })
	h.says("knows OCM's add-ons now", 1)
	disable(t)
	membership(t, "west", spokev1alpha1.MembershipDraining, "east")
	removeAddOn(t)
	membership(t, "west", spokev1alpha1.MembershipMember)
	meet(t, "east", "west", east, west)

	create(t, westAddOn())
	deleteCRD(t, evidence.AddOns)
	eventually(t, "the API server deletes the add-on, because its kind goes", func() error {
		return underDeletion(t, westAddOn())
	})
	h.says("The CRD is being deleted", 1)
	staysMember(h, "west")
	removeAddOn(t)
	noCRD(t, evidence.AddOns)
	h.says("knows OCM's add-ons no more", 1)
	staysMember(h, "west")

	installCRDs(t, ocmCRDs(t))
	h.says("knows OCM's add-ons now", 2)
	disable(t)
	membership(t, "west", spokev1alpha1.MembershipDraining, "east")
}

// TestManagedClustersGoWithTheirKind: nor does any cluster leave because somebody deletes the CRD of all of them.
func TestManagedClustersGoWithTheirKind(t *testing.T) {
	newFleet(t, "east", "west")
	h := startHub(t)
	create(t, vpc("front", "east", "west"))
	east, west := newAgent(t, "east"), newAgent(t, "west")
	meet(t, "east", "west", east, west)
	held(t, "east")
	held(t, "west")
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := admin.Get(t.Context(), client.ObjectKey{Name: evidence.ManagedClusters}, definition); err != nil {
		t.Fatal(err)
	}
	definition = &apiextensionsv1.CustomResourceDefinition{TypeMeta: definition.TypeMeta, ObjectMeta: name("", definition.Name), Spec: definition.Spec}
	t.Cleanup(func() {
		h.kill()
		release(t, "east", "west")
		noCRD(t, definition.Name)
		installCRDs(t, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{definition}})
	})

	deleteCRD(t, definition.Name)
	for _, cluster := range []string{"east", "west"} {
		eventually(t, "the API server deletes the ManagedCluster, because its kind goes", func() error {
			return underDeletion(t, &clusterv1.ManagedCluster{ObjectMeta: name("", cluster)})
		})
	}
	h.says("The CRD is being deleted", 2)
	staysMember(h, "east")
	staysMember(h, "west")

	if err := west.leaves(t.Context(), spokev1alpha1.ReasonUninstalling); err != nil {
		t.Fatal(err)
	}
	membership(t, "west", spokev1alpha1.MembershipDraining, "east") // the way out is the cluster's own
}

func westAddOn() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "addon.open-cluster-management.io/v1beta1", "kind": "ManagedClusterAddOn",
		"metadata": map[string]any{"namespace": "west", "name": "tombolo", "finalizers": []any{"test.tombolo.io/pre-delete"}},
		"spec":     map[string]any{},
	}}
}

// disable enables the add-on of west, and disables it.
func disable(t *testing.T) {
	t.Helper()
	create(t, westAddOn())
	if err := admin.Delete(t.Context(), westAddOn()); err != nil {
		t.Fatal(err)
	}
}

func deleteCRD(t *testing.T, name string) {
	t.Helper()
	definition := &apiextensionsv1.CustomResourceDefinition{}
	definition.Name = name
	if err := admin.Delete(t.Context(), definition); err != nil {
		t.Fatal(err)
	}
}

func underDeletion(t *testing.T, object client.Object) error {
	t.Helper()
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		return err
	}
	if object.GetDeletionTimestamp() == nil {
		return errors.New("it is not being deleted")
	}
	return nil
}

// staysMember lets the hub come to rest first.
func staysMember(h *hub, cluster string) {
	h.t.Helper()
	h.settle()
	if err := isMember(cluster, spokev1alpha1.MembershipMember); err != nil {
		h.t.Fatalf("%s was not asked to leave: %v", cluster, err)
	}
	var gateway spokev1alpha1.InterconnectGateway
	if err := admin.Get(h.t.Context(), client.ObjectKey{Namespace: cluster, Name: cluster}, &gateway); err != nil || gateway.Spec.Detached {
		h.t.Fatalf("%s is told that it was detached: %v", cluster, err)
	}
	if r, err := get(h.t, &spokev1alpha1.LocalRouter{}, cluster, "shop.front"); err != nil || r.DeletionTimestamp != nil || len(r.Spec.Remotes) != 1 {
		h.t.Fatalf("the router of %s is not as it was: %+v, %v", cluster, r.Spec.Remotes, err)
	}
}

// says waits until the log of the hub has the words as often.
func (h *hub) says(words string, times int) {
	h.t.Helper()
	eventually(h.t, "the hub says "+words, func() error {
		log, err := os.ReadFile(h.log)
		if n := strings.Count(string(log), words); err == nil && n < times {
			err = fmt.Errorf("%d times, want %d", n, times)
		}
		return err
	})
}

// release lets ManagedClusters go that nobody holds any more.
func release(t *testing.T, clusters ...string) {
	t.Helper()
	for _, cluster := range clusters {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		err := admin.Patch(context.WithoutCancel(t.Context()), &clusterv1.ManagedCluster{ObjectMeta: name("", cluster)}, patch)
		if client.IgnoreNotFound(err) != nil {
			t.Errorf("release ManagedCluster %s: %v", cluster, err)
		}
	}
}

func installCRDs(t *testing.T, definitions envtest.CRDInstallOptions) {
	t.Helper()
	if _, err := envtest.InstallCRDs(apiServer.Config, definitions); err != nil {
		t.Fatalf("install OCM's CRDs: %v", err)
	}
}

// opened waits until the API server has opened the storage of a kind, which it does when somebody first asks for an object. A kind whose CRD is deleted
// before, it asks for at intervals that double, and that takes many seconds on a busy machine.
func opened(t *testing.T, d *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	eventually(t, "the API server serves "+d.Name, func() error {
		var list unstructured.UnstructuredList
		list.SetAPIVersion(d.Spec.Group + "/" + d.Spec.Versions[0].Name)
		list.SetKind(d.Spec.Names.ListKind)
		err := admin.List(ctx, &list)
		if meta.IsNoMatchError(err) {
			return nil // the test has deleted it
		}
		return client.IgnoreNotFound(err)
	})
}

// noCRD waits until it is gone: its objects go first, and a busy API server takes its time for that.
func noCRD(t *testing.T, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	within(t, 3*time.Minute, "CRD "+name+" is gone", func() error {
		err := admin.Get(ctx, client.ObjectKey{Name: name}, &apiextensionsv1.CustomResourceDefinition{})
		if err == nil {
			return errors.New("it is there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
