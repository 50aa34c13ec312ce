// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

const (
	// lookAgain is how soon OCM's add-ons are looked for again.
	lookAgain = 2 * time.Second
	// firstLook is how long their first list may take.
	firstLook = 30 * time.Second
)

// addOns follows OCM's add-ons, by whose deletion clusters leave: the API server may come to know them after the hub has started,
// and forget them again.
type addOns struct {
	server discovery.ServerResourcesInterface
	cache  cache.Cache
	log    logr.Logger
	watch  func() error
	// read is true while plans read them.
	read atomic.Bool
}

// newAddOns looks for the first time: the first plan must not miss that a cluster is leaving.
func newAddOns(mgr manager.Manager) (*addOns, error) {
	server, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make discovery client: %w", err)
	}
	a := &addOns{server: server, cache: mgr.GetCache(), log: mgr.GetLogger().WithName("planning")}
	served, err := snapshot.ServesAddOns(server)
	a.read.Store(served)
	return a, err
}

// add lets the controller watch them when they are there.
func (a *addOns) add(mgr manager.Manager, c controller.TypedController[Key]) error {
	a.watch = func() error {

		return c.Watch(on(a.cache, addOnKind(), func(old, updated *metav1.PartialObjectMetadata) bool {
			return snapshot.OurAddOn(updated) && leaving(old, updated)
		}))
	}
	if a.read.Load() {
		if err := a.watch(); err != nil {
			return fmt.Errorf("watch OCM's add-ons: %w", err)
		}
	} else {
		a.log.Info("The API server knows none of OCM's add-ons: a cluster leaves when its ManagedCluster is deleted, or its agent says so")
	}
	return mgr.Add(a)
}

// NeedLeaderElection is false: those who wait to lead have a cache, too.
func (a *addOns) NeedLeaderElection() bool { return false }

// Start looks again and again until the context ends.
func (a *addOns) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := a.follow(ctx); err != nil && ctx.Err() == nil {
			a.log.Info("OCM's add-ons will be looked for again", "because", err.Error())
		}
	}, lookAgain)
	return nil
}

// follow does what the API server's answer has changed. An error changes nothing.
func (a *addOns) follow(ctx context.Context) error {
	served, err := snapshot.ServesAddOns(a.server)
	if err != nil || served == a.read.Load() {
		return err
	}
	if served {
		return a.begin(ctx)
	}
	a.read.Store(false)
	a.log.Info("The API server knows OCM's add-ons no more: no cluster leaves by that")
	return a.cache.RemoveInformer(ctx, addOnKind())
}

// begin fills the cache, and then plans: what the watch finds makes the next plan.
func (a *addOns) begin(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	if _, err := a.cache.GetInformer(first, addOnKind()); err != nil {
		// Without it, the cache would go on trying behind our back.
		return fmt.Errorf("read OCM's add-ons: %w", errors.Join(err, a.cache.RemoveInformer(ctx, addOnKind())))
	}
	a.read.Store(true)
	if err := a.watch(); err != nil {
		a.read.Store(false)
		return fmt.Errorf("watch OCM's add-ons: %w", errors.Join(err, a.cache.RemoveInformer(ctx, addOnKind())))
	}
	a.log.Info("The API server knows OCM's add-ons now: a cluster leaves when its own is deleted, too")
	return nil
}

func addOnKind() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(snapshot.AddOnKind)
	return object
}
