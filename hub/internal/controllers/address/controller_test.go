// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package address

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// leaders is a real kube-apiserver, and two leaders at once that both give addresses away. One in four answers to what they write is lost.
func leaders(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: run `make test-hub`, which builds kube-apiserver and etcd and sets it")
	}
	log.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), networkv1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "..", "..", "apis", "crds")}, ErrorIfCRDPathMissing: true, Scheme: scheme, ControlPlaneStartTimeout: 3 * time.Minute}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("start kube-apiserver: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop kube-apiserver: %v", err)
		}
	})
	config.QPS, config.Burst = -1, -1
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		mgr, err := ctrl.NewManager(config, ctrl.Options{
			Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, NewClient: forgetful, Controller: unnamed(),
		})
		if err == nil {
			err = Add(mgr)
		}
		if err != nil {
			t.Fatal(err)
		}
		go func(m manager.Manager) { ended <- m.Start(ctx) }(mgr)
	}
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Errorf("a leader ended with: %v", err)
			}
		}
	})
	admin, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}); err != nil {
		t.Fatal(err)
	}
	return admin
}

// eventually waits for something, for as long as a slow machine may need.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("wait for %s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func newEIP(name, wanted string) *networkv1alpha1.ElasticIP {
	return &networkv1alpha1.ElasticIP{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: networkv1alpha1.ElasticIPSpec{Pool: "public", Address: networkv1alpha1.IPv4(wanted)}}
}

// says waits for the condition of an ElasticIP, and returns its address.
func says(t *testing.T, admin client.Client, name, reason, message string) (address string) {
	t.Helper()
	eventually(t, name+" to say "+reason, func(ctx context.Context) error {
		eip := newEIP(name, "")
		if err := admin.Get(ctx, client.ObjectKeyFromObject(eip), eip); err != nil {
			return err
		}
		c := meta.FindStatusCondition(eip.Status.Conditions, networkv1alpha1.ConditionAllocated)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, message) {
			return fmt.Errorf("condition %+v", c)
		}
		address = eip.Status.Address
		return nil
	})
	return address
}

// TestTwoLeaders: thirty ElasticIPs of a pool with fewer addresses, two leaders at once, and answers that are lost. Nobody has an address twice, nobody
// two, and what is given back is somebody else's.
func TestTwoLeaders(t *testing.T) {
	admin := leaders(t)
	pool := &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "public"}, Spec: networkv1alpha1.IPPoolSpec{
		Purpose: networkv1alpha1.PurposeExternal, CIDRs: []networkv1alpha1.CIDR{"203.0.113.0/27"}, Exclude: []networkv1alpha1.IPRange{"203.0.113.0..203.0.113.3"},
	}}
	create(t, admin, newEIP("early", ""))
	says(t, admin, "early", networkv1alpha1.ReasonPoolNotFound, `spec.pool "public" does not exist`)
	create(t, admin, pool)
	pool.Status = networkv1alpha1.IPPoolStatus{
		CIDRs: []string{"203.0.113.0/27"}, Allocations: []networkv1alpha1.Allocation{{Value: "203.0.113.4/30", Owner: "Import/firewall"}},
		Conditions: []metav1.Condition{{Type: networkv1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Accepted", ObservedGeneration: pool.Generation, LastTransitionTime: metav1.Now()}},
	}
	if err := admin.Status().Update(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	create(t, admin, newEIP("wanted", "203.0.113.9"))
	if got := says(t, admin, "wanted", networkv1alpha1.ReasonAllocated, ""); got != "203.0.113.9" {
		t.Errorf("got %s", got)
	}
	create(t, admin, newEIP("taken", "203.0.113.9"), newEIP("imported", "203.0.113.5"), newEIP("outside", "203.0.113.40"))
	says(t, admin, "taken", networkv1alpha1.ReasonInUse, "spec.address 203.0.113.9 is ElasticIP shop/wanted's")
	says(t, admin, "imported", networkv1alpha1.ReasonOutsidePool, "Import/firewall has 203.0.113.4/30")
	says(t, admin, "outside", networkv1alpha1.ReasonOutsidePool, "it is outside of 203.0.113.0/27")

	for i := range 30 { // 24 addresses are to be had, and two are given away
		create(t, admin, newEIP(fmt.Sprintf("eip-%d", i), ""))
	}
	holders := settled(t, admin, 24)
	for name, holder := range holders {
		if name == "external.203-0-113-9" || holder == "early" {
			continue
		}
		if err := admin.Delete(t.Context(), newEIP(holder, "")); err != nil {
			t.Fatal(err)
		}
		eventually(t, holder+" to go", func(ctx context.Context) error {
			err := admin.Get(ctx, client.ObjectKey{Namespace: "shop", Name: holder}, &networkv1alpha1.ElasticIP{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w", err)
		})
	}
	settled(t, admin, 10) // all 30 less 22, and the two

	used := newEIP("wanted", "")
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(used), used); err != nil {
		t.Fatal(err)
	}
	used.Status.UsedBy = "NatGateway/shop/out"
	if err := errors.Join(admin.Status().Update(t.Context(), used), admin.Delete(t.Context(), used)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // long enough to have done harm
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "external.203-0-113-9"}, &networkv1alpha1.IPAddress{}); err != nil {
		t.Errorf("an address that is used was given back: %v", err)
	}
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(used), used); err != nil {
		t.Fatal(err)
	}
	used.Status.UsedBy = ""
	if err := admin.Status().Update(t.Context(), used); err != nil {
		t.Fatal(err)
	}
	says(t, admin, "taken", networkv1alpha1.ReasonAllocated, "")
}

func create(t *testing.T, admin client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// settled waits until so many addresses are handed out and each ElasticIP has the one that is its own, and returns the holder of each.
func settled(t *testing.T, admin client.Client, want int) (holders map[string]string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d addresses to be handed out", want), func(ctx context.Context) error {
		var addresses networkv1alpha1.IPAddressList
		var eips networkv1alpha1.ElasticIPList
		if err := errors.Join(admin.List(ctx, &addresses), admin.List(ctx, &eips)); err != nil {
			return err
		}
		holders = map[string]string{}
		owned := map[string]string{}
		for _, a := range addresses.Items {
			holders[a.Name] = a.Spec.Owner.Name
			if other := owned[a.Spec.Owner.UID]; other != "" {
				return fmt.Errorf("%s has %s and %s", a.Spec.Owner.Name, other, a.Spec.Address)
			}
			owned[a.Spec.Owner.UID] = string(a.Spec.Address)
		}
		for _, e := range eips.Items {
			if e.Status.Address != owned[string(e.UID)] {
				return fmt.Errorf("%s says %q and has %q", e.Name, e.Status.Address, owned[string(e.UID)])
			}
		}
		if len(holders) != want {
			return fmt.Errorf("%d are", len(holders))
		}
		return nil
	})
	return holders
}
