// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
)

// TestHeartbeat: the agent renews what the hub has made, and only while it is what it says.
func TestHeartbeat(t *testing.T) {
	hub := clustertest.Start(t, "east")
	works := error(nil)
	h := &heartbeat{hub: hub.Client, claim: &claim{hub: hub.Client, cluster: "east", id: "id-east"}, works: func() error { return works }, log: logr.Discard()}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: spokev1alpha1.LeaseName}}
	renewed := func(ctx context.Context) *metav1.MicroTime {
		if err := hub.Client.Get(ctx, client.ObjectKeyFromObject(lease), lease); err != nil {
			t.Fatal(err)
		}
		return lease.Spec.RenewTime
	}
	report := func(id string) {
		gateway := hubGateway("east")
		if err := hub.Client.Get(t.Context(), client.ObjectKeyFromObject(gateway), gateway); err != nil {
			t.Fatal(err)
		}
		gateway.Status.ClusterID = id
		if err := hub.Client.Status().Update(t.Context(), gateway); err != nil {
			t.Fatal(err)
		}
	}

	if err := h.beat(t.Context()); err == nil {
		t.Error("a cluster that the hub does not know has no error")
	}
	if err := hub.Client.Create(t.Context(), hubGateway("east")); err != nil {
		t.Fatal(err)
	}
	report("id-east")
	if err := h.beat(t.Context()); err != nil {
		t.Errorf("a hub of an earlier version, without a Lease: %v", err)
	}
	if err := hub.Client.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	report("id-other")
	if err := h.beat(t.Context()); err == nil || renewed(t.Context()) != nil {
		t.Errorf("a cluster whose name another one has renews: %v", err)
	}
	report("id-east")
	works = errors.New("the cache has stopped")
	if err := h.beat(t.Context()); err == nil || renewed(t.Context()) != nil {
		t.Errorf("an agent that does not work renews: %v", err)
	}
	works = nil
	if err := h.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := renewed(t.Context())
	if first == nil || time.Since(first.Time).Abs() > time.Minute || *lease.Spec.HolderIdentity != "id-east" {
		t.Fatalf("the Lease is %+v", lease.Spec)
	}
	if err := h.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second := renewed(t.Context()); !second.After(first.Time) {
		t.Errorf("renewed at %s after %s", second, first)
	}
	hub.Cut()
	defer hub.Mend(t)
	away, err := client.New(hub.Config, client.Options{Scheme: clustertest.Scheme(t), Mapper: staticMapper()})
	if err != nil {
		t.Fatal(err)
	}
	h.hub = away
	if err := h.beat(t.Context()); err == nil {
		t.Error("a hub that is away is no error")
	}
}
