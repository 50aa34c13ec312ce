// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// world is a real hub with cluster east, and a clock that the test sets.
type world struct {
	api        client.WithWatch
	controller *Controller
	now        time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: `make test` builds kube-apiserver and etcd and sets it to their directory")
	}
	raw, err := crds.Files.ReadFile("spoke.tombolo.io_interconnectgateways.yaml")
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(raw, definition); err != nil {
		t.Fatal(err)
	}
	server := &envtest.Environment{CRDs: []*apiextensionsv1.CustomResourceDefinition{definition}}
	config, err := server.Start()
	if err != nil {
		t.Fatalf("start kube-apiserver: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Errorf("stop kube-apiserver: %v", err)
		}
	})
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	if w.api, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	gateway := &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: "east"},
		Spec:       spokev1alpha1.InterconnectGatewaySpec{Cluster: "east", Encapsulation: "VXLAN", Port: 4789},
	}
	for _, o := range []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "east"}}, gateway} {
		if err := w.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.restart(w.api)
	return w
}

// restart is another process of the hub.
func (w *world) restart(live client.Reader) {
	w.controller = New(w.api, live, func() time.Time { return w.now })
}

func (w *world) reconcile(t *testing.T) reconcile.Result {
	t.Helper()
	result, err := w.controller.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "east", Name: "east"}})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// beat is the agent's renewal, by a clock that is hours off.
func (w *world) beat(t *testing.T) {
	t.Helper()
	renewed, err := metav1.NewMicroTime(w.now.Add(-5 * time.Hour)).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: spokev1alpha1.LeaseName}}
	if err := w.api.Patch(t.Context(), lease, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"renewTime":`+string(renewed)+`}}`))); err != nil {
		t.Fatal(err)
	}
}

func (w *world) gateway(t *testing.T) *spokev1alpha1.InterconnectGateway {
	t.Helper()
	gateway := &spokev1alpha1.InterconnectGateway{}
	if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "east"}, gateway); err != nil {
		t.Fatal(err)
	}
	return gateway
}

// says compares the condition with a status; "" for none.
func (w *world) says(t *testing.T, want metav1.ConditionStatus, reason string) {
	t.Helper()
	got := metav1.ConditionStatus("")
	if c := meta.FindStatusCondition(w.gateway(t).Status.Conditions, spokev1alpha1.ConditionAgentAlive); c != nil {
		got = c.Status
	}
	if got != want {
		t.Errorf("AgentAlive is %q, want %q: %s", got, want, reason)
	}
}

func TestHeartbeat(t *testing.T) {
	w := newWorld(t)
	w.reconcile(t)
	w.now = w.now.Add(time.Hour)
	w.reconcile(t)
	w.says(t, "", "an agent of an earlier version renews nothing")

	w.beat(t)
	if next := w.reconcile(t).RequeueAfter; next != silentAfter {
		t.Errorf("the hub looks again after %s, want %s", next, silentAfter)
	}
	w.says(t, "", "a first look says nothing")
	w.now = w.now.Add(30 * time.Second)
	w.beat(t)
	w.reconcile(t)
	w.says(t, metav1.ConditionTrue, "it was renewed")
	version := w.gateway(t).ResourceVersion
	w.now = w.now.Add(30 * time.Second)
	w.beat(t)
	w.reconcile(t)
	if got := w.gateway(t).ResourceVersion; got != version {
		t.Error("a renewal that says nothing new is written to the InterconnectGateway")
	}

	w.now = w.now.Add(silentAfter)
	w.reconcile(t)
	w.says(t, metav1.ConditionUnknown, "it was not renewed for two minutes")
	w.restart(w.api)
	w.reconcile(t)
	w.says(t, metav1.ConditionUnknown, "a hub that restarts knows no better")
	w.now = w.now.Add(30 * time.Second)
	w.beat(t)
	w.reconcile(t)
	w.says(t, metav1.ConditionTrue, "it is back")

	t.Run("HubThatCannotLook", func(t *testing.T) {
		blind := interceptor.NewClient(w.api, interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no answer")
		}})
		w.restart(blind)
		w.reconcile(t)
		w.now = w.now.Add(silentAfter)
		if _, err := w.controller.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "east", Name: "east"}}); err == nil {
			t.Error("a hub that can't look has no error")
		}
		w.controller.live = w.api
		w.reconcile(t)
		w.says(t, metav1.ConditionTrue, "the API server did not answer: the agents could not renew either")
	})
	t.Run("ConditionIsLost", func(t *testing.T) {
		w.now = w.now.Add(time.Second)
		w.beat(t)
		w.reconcile(t)
		gateway := w.gateway(t)
		gateway.Status.Conditions = nil
		if err := w.api.Status().Update(t.Context(), gateway); err != nil {
			t.Fatal(err)
		}
		w.reconcile(t)
		w.says(t, metav1.ConditionTrue, "an agent's report took it away")
	})
	t.Run("Left", func(t *testing.T) {
		gateway := w.gateway(t)
		meta.SetStatusCondition(&gateway.Status.Conditions, metav1.Condition{Type: spokev1alpha1.ConditionLeaving, Status: metav1.ConditionTrue, Reason: spokev1alpha1.ReasonLeft})
		if err := w.api.Status().Update(t.Context(), gateway); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Hour)
		w.reconcile(t)
		w.says(t, metav1.ConditionTrue, "nobody is to be heard of a cluster that has left")
	})
}
