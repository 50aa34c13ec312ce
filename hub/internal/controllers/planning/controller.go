// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package planning is the loop of the hub:
//
//	epoch ──▶ snapshot ──▶ federation.Plan ──▶ store ledgers ──▶ distribute ──▶ status ──▶ events
//
// A leader counts the Fleet's epoch up before it writes anything else. While the plan doubts that this is the hub that the clusters know, nothing is
// written but that.
//
// Planning is global, so everything that may change a plan maps to one key and the queue makes one plan of many
// changes. The order is what makes it safe to stop anywhere: nothing is distributed before the finalizers that remember
// it and the ledgers that it uses are stored, and every write is refused when its object has changed since the snapshot.
package planning

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/fleet"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

const (
	// maxWrites to clusters in a pass, and maxStatuses, as many as are under way at once. What is left is written by the next pass, after what has
	// changed meanwhile: a user's change waits for no more than that.
	maxWrites   = 100
	maxStatuses = parallel.Limit
	// lookTimeout is how long the cache may take to show what this process has written; usual are a few milliseconds.
	lookTimeout = 10 * time.Second
	// maxBlind is how often in a row it may take longer.
	maxBlind = 6
)

// Controller plans.
type Controller struct {
	client  client.Client
	reader  *snapshot.Reader
	ledgers *ledger.Store
	events  recorder.EventRecorder
	planner *federation.Planner
	fleet   *fleet.Keeper
	past    past
	granted map[string]bool
	offers  offers
	done    settled.Kinds
	blind   atomic.Int32
	// replaced: another leader has begun, and this process is still there.
	replaced atomic.Bool
}

// Reconcile looks, decides and writes, once.
func (c *Controller) Reconcile(ctx context.Context, _ Key) (reconcile.Result, error) {
	state, err := c.look(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	begun, err := c.fleet.Begin(ctx, &state.Snapshot, state.Fleet)
	if errors.Is(err, fleet.ErrReplaced) {
		c.replaced.Store(true)
		log.FromContext(ctx).Info("writing nothing any more", "because", err.Error())
		return reconcile.Result{}, nil
	}
	if err != nil {
		return again(ctx, false, err)
	}
	if begun {
		return reconcile.Result{RequeueAfter: holdOff}, nil // the next look shows it
	}
	c.fleet.Fill(&state.Snapshot, state.Fleet)
	now := time.Now()
	state.Snapshot.Brake = c.brake(state.Snapshot.Brake, &state.Snapshot, now)
	result, changes := c.decide(state)
	if result.Doubt != nil {
		accepted, err := c.doubt(ctx, state, &result)
		return again(ctx, accepted, err)
	}
	c.grant(result.Removal, state.Snapshot.Brake.Confirmed, &state.Snapshot, now)
	if err := c.store(ctx, state, &result); err != nil {
		return again(ctx, false, err)
	}
	more, err := c.tell(ctx, state, &result, changes)
	next, err := again(ctx, more, err)
	if held := result.Removal != nil && result.Removal.Held && result.Removal.Earlier > 0; held && err == nil && next.IsZero() {
		next.RequeueAfter = c.past.ends(time.Now()) // what went before may not count any more then, and nothing else would wake this
	}
	return next, err
}

// look waits for the cache to show what the pass before has written.
func (c *Controller) look(ctx context.Context) (*snapshot.State, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	state, err := c.reader.Read(ctx)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			c.blind.Add(1)
		}
		return nil, fmt.Errorf("look at the hub: %w", err)
	}
	c.blind.Store(0)
	return state, nil
}

// Alive is the liveness probe. An API server that was restored from a backup has forgotten writes of this process, and
// its cache would wait for them for ever: a new process does not. One that another leader has replaced has nothing to do but to begin anew.
func (c *Controller) Alive(*http.Request) error {
	if c.replaced.Load() {
		return fleet.ErrReplaced
	}
	if n := c.blind.Load(); n >= maxBlind {
		return fmt.Errorf("the cache has not shown this process's own writes, %d times in a row", n)
	}
	return nil
}

func (c *Controller) decide(state *snapshot.State) (federation.Result, federation.Changes) {
	start := time.Now()
	result, changes := c.planner.Plan(state.Snapshot)
	metrics.PlanSeconds.Observe(time.Since(start).Seconds())
	metrics.Plans.Inc()
	c.done.Unsettle(changes)
	count(state, &result)
	return result, changes
}

// store makes the decision last: the finalizers that will remember what was distributed, and the ledgers. Nothing may be
// distributed when one of them fails.
func (c *Controller) store(ctx context.Context, state *snapshot.State, result *federation.Result) error {
	held := make(chan error, 1)
	go func() { held <- distribute.Hold(ctx, c.client, state, result) }()
	news, err := c.ledgers.Write(ctx, &c.done.Pools, state.Pools, result.Pools)
	c.announce(news)
	return errors.Join(err, <-held)
}

// tell writes what follows from the decision; more is true when it was too much for one pass. What fails keeps nothing
// else from being written.
func (c *Controller) tell(ctx context.Context, state *snapshot.State, result *federation.Result, changes federation.Changes) (more bool, err error) {
	writes := distribute.Diff(&c.done, state, result)
	distribute.Urgent(writes, changes)
	if len(writes) > 0 {
		log.FromContext(ctx).Info("telling clusters", "objects", len(writes))
	}
	withdrawn, distributeErr := distribute.Apply(ctx, c.client, writes[:min(len(writes), maxWrites)])
	c.announce(withdrawn)
	releaseErr := distribute.Release(ctx, c.client, state, result.Released)

	more = len(writes) > maxWrites
	counted, countErr := c.ledgers.Report(ctx, &c.done.Pools, state.Pools, result.Pools)
	c.announce(counted)
	patches := c.answers(state, result, more)
	news, statusErr := status.Write(ctx, c.client, patches[:min(len(patches), maxStatuses)])
	c.announce(news)

	fleetErr := c.reportFleet(ctx, state, result)
	return more || len(patches) > maxStatuses, errors.Join(distributeErr, releaseErr, countErr, statusErr, fleetErr)
}

// answers are the statuses to write, first those of what nothing was said of yet. While clusters are still to be told, how far each object has come changes with
// every pass: then only those are written that a person waits for.
func (c *Controller) answers(state *snapshot.State, result *federation.Result, more bool) []status.Patch {
	now := metav1.Now()
	patches := status.Vpcs(&c.done.Vpcs, state.Vpcs, result.Vpcs, now)
	patches = append(patches, status.Subnets(&c.done.Subnets, state.Subnets, result.Subnets, now)...)
	patches = append(patches, status.Peerings(&c.done.Peerings, state.Peerings, result.Peerings, now)...)
	slices.SortStableFunc(patches, func(a, b status.Patch) int { return cmpTrueFirst(a.Answers, b.Answers) })
	if more {
		patches = slices.DeleteFunc(patches, func(p status.Patch) bool { return !p.Answers })
	}
	return patches
}

func cmpTrueFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// again decides what comes next. An outdated snapshot is cured by another look and is nobody's concern.
func again(ctx context.Context, more bool, err error) (reconcile.Result, error) {
	switch {
	case err != nil && stale.Only(err):
		log.FromContext(ctx).V(1).Info("looking again", "because", err.Error())
		return reconcile.Result{RequeueAfter: stale.RetrySoon}, nil
	case err == nil && more:
		return reconcile.Result{RequeueAfter: holdOff}, nil
	}
	return reconcile.Result{}, err
}
