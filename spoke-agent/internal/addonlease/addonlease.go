// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package addonlease keeps the Lease `tombolo` of this cluster, by which OCM's agent here, where there is one, tells the
// hub that the add-on is Available. It says that an agent works: one that leads, and whose cache follows the cluster.
// Whether the hub is there does not matter to it, and what becomes of packets is said elsewhere, in conditions.
//
// addon-framework's pkg/lease is not used: it renews while the process lives, it looks for the first time and then only
// after a minute, and it is OCM's, which a spoke works without.
package addonlease

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// Name of the Lease, in local.Namespace. OCM looks for one that is called as the add-on.
const Name = "tombolo"

const (
	// duration is written into the Lease. OCM takes a minute for granted, and misses an agent after five.
	duration = time.Minute
	// interval between two renewals, and retry after one that failed.
	interval = 20 * time.Second
	retry    = 5 * time.Second
)

// Keeper renews the Lease while it leads.
type Keeper struct {
	// Client reads from the manager's cache and writes to the API server.
	Client client.Client
	// Identity of this agent among those of the cluster: the name of its pod.
	Identity string
	// Log of the keeper.
	Log logr.Logger

	renewed atomic.Pointer[time.Time]
}

// Works is an error while the Lease is not renewed: what the hub is told by a Lease of its own is the same as what OCM is told by this one.
func (k *Keeper) Works() error {
	if last := k.renewed.Load(); last == nil || time.Since(*last) > duration {
		return fmt.Errorf("the agent does not follow its own cluster: lease %s/%s is not renewed", local.Namespace, Name)
	}
	return nil
}

// NeedLeaderElection lets only the agent that speaks for the cluster renew.
func (k *Keeper) NeedLeaderElection() bool { return true }

// Start renews until ctx ends. A Lease that can't be renewed is no reason to stop anything else.
func (k *Keeper) Start(ctx context.Context) error {
	failing := false
	for {
		err := k.renew(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			k.Log.Info("The lease of the add-on is not renewed; Open Cluster Management calls the add-on unavailable after five minutes", "error", err.Error())
		}
		if failing = err != nil; failing {
			err = sleep(ctx, retry)
		} else {
			err = sleep(ctx, interval)
		}
		if err != nil {
			return nil //nolint:nilerr // the context has ended, which is no failure
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// renew updates the Lease as the cache has it. The API server refuses to change an older version: a cache that has
// stopped following the cluster keeps the Lease from being renewed.
func (k *Keeper) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, retry)
	defer cancel()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: Name}}
	err := k.Client.Get(ctx, client.ObjectKeyFromObject(lease), lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read lease %s: %w", Name, err)
	}
	missing := err != nil
	hold(&lease.Spec, k.Identity, metav1.NowMicro())
	if missing {
		err = k.Client.Create(ctx, lease)
	} else {
		err = k.Client.Update(ctx, lease)
	}
	if err != nil {
		return fmt.Errorf("renew lease %s: %w", Name, err)
	}
	k.renewed.Store(new(time.Now()))
	return nil
}

// hold makes the Lease the holder's from now on.
func hold(spec *coordinationv1.LeaseSpec, holder string, now metav1.MicroTime) {
	if spec.HolderIdentity == nil || *spec.HolderIdentity != holder {
		if spec.HolderIdentity != nil {
			spec.LeaseTransitions = new(deref(spec.LeaseTransitions) + 1)
		}
		spec.HolderIdentity, spec.AcquireTime = &holder, &now
	}
	spec.LeaseDurationSeconds, spec.RenewTime = new(int32(duration/time.Second)), &now
}

func deref(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}
