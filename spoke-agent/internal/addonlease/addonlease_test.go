// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addonlease

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// TestRenew keeps the lease of a real apiserver.
func TestRenew(t *testing.T) {
	c := clustertest.Start(t, local.Namespace)
	cached, stop := cachedClient(t, c)
	one := &Keeper{Client: cached, Identity: "one", Log: logr.Discard()}
	if one.Works() == nil {
		t.Error("an agent that has renewed nothing says that it works")
	}
	renew(t, one)
	if err := one.Works(); err != nil {
		t.Errorf("an agent that has just renewed: %v", err)
	}
	one.renewed.Store(new(time.Now().Add(-duration - time.Second)))
	if one.Works() == nil {
		t.Error("an agent that has not renewed for longer than the Lease holds says that it works")
	}
	first := read(t, c)
	if got := *first.Spec.HolderIdentity; got != "one" || *first.Spec.LeaseDurationSeconds != 60 || first.Spec.LeaseTransitions != nil || time.Since(first.Spec.RenewTime.Time) > time.Minute {
		t.Errorf("the first lease is %+v", first.Spec)
	}
	renew(t, one)
	second := read(t, c)
	if !second.Spec.RenewTime.After(first.Spec.RenewTime.Time) || !second.Spec.AcquireTime.Equal(first.Spec.AcquireTime) {
		t.Errorf("renewed, the lease is %+v after %+v", second.Spec, first.Spec)
	}
	two := &Keeper{Client: cached, Identity: "two", Log: logr.Discard()}
	renew(t, two)
	third := read(t, c)
	if *third.Spec.HolderIdentity != "two" || *third.Spec.LeaseTransitions != 1 || !third.Spec.AcquireTime.After(second.Spec.AcquireTime.Time) {
		t.Errorf("of another agent, the lease is %+v", third.Spec)
	}

	// The cache stops, the process lives on.
	clustertest.Eventually(t, "the cache has the last renewal", func(ctx context.Context) error {
		var lease coordinationv1.Lease
		if err := cached.Get(ctx, client.ObjectKeyFromObject(third), &lease); err != nil || !lease.Spec.RenewTime.Equal(third.Spec.RenewTime) {
			return fmt.Errorf("it has %+v: %w", lease.Spec, err)
		}
		return nil
	})
	stop()
	_ = two.renew(t.Context()) // the cache had the newest until now
	if err := two.renew(t.Context()); !apierrors.IsConflict(err) {
		t.Errorf("with a cache that has stopped, renewing gives %v, want a conflict", err)
	}
}

// renew retries what a cache that is a moment behind refuses.
func renew(t *testing.T, k *Keeper) {
	t.Helper()
	clustertest.Eventually(t, "renewal by "+k.Identity, k.renew)
}

func read(t *testing.T, c *clustertest.Cluster) *coordinationv1.Lease {
	t.Helper()
	lease := &coordinationv1.Lease{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: local.Namespace, Name: Name}, lease); err != nil {
		t.Fatal(err)
	}
	return lease
}

// cachedClient reads from a cache, as the manager's client does, until it is stopped.
func cachedClient(t *testing.T, c *clustertest.Cluster) (client.Client, func()) {
	t.Helper()
	all, err := cache.New(c.Config, cache.Options{Scheme: clustertest.Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- all.Start(ctx) }()
	stop := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the cache ended with: %v", err)
		}
	}
	cached, err := client.New(c.Config, client.Options{Scheme: clustertest.Scheme(t), Cache: &client.CacheOptions{Reader: all}})
	if err != nil {
		t.Fatal(err)
	}
	return cached, stop
}
