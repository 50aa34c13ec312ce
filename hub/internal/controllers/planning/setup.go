// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/fleet"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

const (
	// Failed plans are tried again after backoffFirst, then after twice that, up to backoffMax: after a long outage the
	// hub is back at work within half a minute.
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 30 * time.Second
	// timeout of one pass, enough for the first one of a large fleet.
	timeout = 2 * time.Minute
)

// Add registers the controller and its liveness probe.
func Add(mgr manager.Manager) error {
	ledgers := ledger.New(mgr.GetClient(), mgr.GetAPIReader())
	addOns, err := newAddOns(mgr)
	if err != nil {
		return err
	}
	planning := &Controller{
		client:  mgr.GetClient(),
		reader:  &snapshot.Reader{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Ledgers: ledgers, AddOns: addOns.read.Load},
		ledgers: ledgers,
		events:  mgr.GetEventRecorder("tombolo-hub"),
		planner: federation.NewPlanner(),
		fleet:   fleet.New(mgr.GetClient(), mgr.GetAPIReader()),
	}
	if err := mgr.AddHealthzCheck("planning", planning.Alive); err != nil {
		return fmt.Errorf("add liveness probe: %w", err)
	}
	c, err := controller.NewTyped("planning", mgr, controller.TypedOptions[Key]{
		Reconciler:            planning,
		RateLimiter:           workqueue.NewTypedItemExponentialFailureRateLimiter[Key](backoffFirst, backoffMax),
		LogConstructor:        func(*Key) logr.Logger { return mgr.GetLogger().WithName("planning") },
		EnableWarmup:          new(true),
		ReconciliationTimeout: timeout,
	})
	if err != nil {
		return fmt.Errorf("make controller: %w", err)
	}
	for _, source := range sources(mgr.GetCache(), ledgers) {
		if err := c.Watch(source); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	return addOns.add(mgr, c)
}
