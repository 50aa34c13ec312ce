// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

const (
	// holdOff is that of the hub (planning).
	holdOff = 10 * time.Millisecond
	// maxDoublings of stale.RetrySoon: the hub has one leader, or two for a moment, and needs none.
	maxDoublings = 4
	// lookTimeout is how long the cache may take.
	lookTimeout = 10 * time.Second
	// quietPasses in a row, quietFor apart, that find nothing new are the end.
	quietPasses = 5
	quietFor    = 200 * time.Millisecond
)

// wish is what an owner waits for.
type wish struct {
	// owner is as ledgers name it: Vpc/NAMESPACE/NAME.
	owner string
	// values is how many it gets; 0 waits until it has none.
	values int
	done   chan answer
}

type answer struct {
	values  []string
	refused bool
}

// planner looks, decides and writes as the hub does (controllers/planning), for as long as somebody of this process waits for it.
type planner struct {
	// name is the namespace of its Vpcs.
	name    string
	client  client.Client
	reader  *snapshot.Reader
	ledgers *ledger.Store
	plan    *federation.Planner
	done    settled.Kinds
	// changed is filled when the hub has changed.
	changed chan struct{}

	mu     sync.Mutex
	wishes map[*wish]bool
}

func newPlanner(ctx context.Context, mgr manager.Manager, name string) (*planner, error) {
	ledgers := ledger.New(mgr.GetClient(), mgr.GetAPIReader())
	p := &planner{
		name: name, client: mgr.GetClient(), ledgers: ledgers, plan: federation.NewPlanner(),
		reader:  &snapshot.Reader{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Ledgers: ledgers, AddOns: func() bool { return false }},
		changed: make(chan struct{}, 1), wishes: map[*wish]bool{},
	}
	notify := toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { p.wake() }, UpdateFunc: func(any, any) { p.wake() }, DeleteFunc: func(any) { p.wake() },
	}
	for _, kind := range []client.Object{&networkv1alpha1.IPPool{}, &networkv1alpha1.Vpc{}, &spokev1alpha1.LocalRouter{}, &spokev1alpha1.InterconnectGateway{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
		if _, err := informer.AddEventHandler(notify); err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
	}
	return p, nil
}

func (p *planner) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// wait waits until a ledger that is known to be stored has what an owner asked for.
func (p *planner) wait(ctx context.Context, owner string, values int) (answer, error) {
	w := &wish{owner: owner, values: values, done: make(chan answer, 1)}
	p.mu.Lock()
	p.wishes[w] = true
	p.mu.Unlock()
	p.wake()
	select {
	case a := <-w.done:
		return a, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// run plans again and again.
func (p *planner) run(ctx context.Context) error {
	for {
		select {
		case <-p.changed:
		case <-ctx.Done():
			return nil
		}
		if !sleep(ctx, rand.N(2*holdOff)) {
			return nil
		}
		for tries := 0; p.waited(); tries++ {
			err := p.pass(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				break
			}
			if !stale.Only(err) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			if !sleep(ctx, rand.N(stale.RetrySoon<<min(tries, maxDoublings))) { // of eight that write one ledger, seven are refused
				return nil
			}
		}
	}
}

// settle plans until nothing has changed for a while.
func (p *planner) settle(ctx context.Context) error {
	for quiet := 0; quiet < quietPasses; quiet++ {
		err := p.pass(ctx)
		if err != nil && !stale.Only(err) {
			return err
		}
		select {
		case <-p.changed:
			quiet = 0
		default:
		}
		if err != nil {
			quiet = 0
		}
		if !sleep(ctx, quietFor) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *planner) waited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.wishes) > 0
}

// pass is one pass of the hub, in the order of the hub.
func (p *planner) pass(ctx context.Context) error {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	state, err := p.reader.Read(look)
	if err != nil {
		return err
	}
	state.Snapshot.Brake.MaxRemovalPercent = 100 // deletions are what this is about
	result, changes := p.plan.Plan(state.Snapshot)
	p.done.Unsettle(changes)
	own := p.own(&result)
	if err := distribute.Hold(ctx, p.client, state, own); err != nil {
		return err
	}
	if _, err := p.ledgers.Write(ctx, &p.done.Pools, state.Pools, result.Pools); err != nil {
		return err
	}
	p.answer(&result)
	writes := slices.DeleteFunc(distribute.Diff(&p.done, state, &result), func(w distribute.Write) bool {
		router, ok := w.Object.(*spokev1alpha1.LocalRouter)
		return ok && router.Spec.Vpc.Namespace != p.name
	})
	_, told := distribute.Apply(ctx, p.client, writes)
	_, counted := p.ledgers.Report(ctx, &p.done.Pools, state.Pools, result.Pools)
	return errors.Join(told, counted, distribute.Release(ctx, p.client, state, own.Released))
}

// own is what of a plan concerns the Vpcs of this process. Each tells clusters of its own alone, or eight would write each object; ledgers, and questions to
// clusters, are everybody's.
func (p *planner) own(result *federation.Result) *federation.Result {
	mine := func(key federation.Key) bool { return strings.HasPrefix(string(key), p.name+"/") }
	own := &federation.Result{Vpcs: maps.Clone(result.Vpcs)}
	maps.DeleteFunc(own.Vpcs, func(key federation.Key, _ networkv1alpha1.VpcStatus) bool { return !mine(key) })
	own.Released = slices.DeleteFunc(slices.Clone(result.Released), func(ref federation.ObjectRef) bool { return !mine(ref.Key) })
	return own
}

// answer tells those who wait what the ledgers say, which are stored.
func (p *planner) answer(result *federation.Result) {
	held := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(result.Pools)) {
		for _, a := range result.Pools[name].Allocations {
			owner := a.Owner
			if parts := strings.SplitN(owner, "/", 4); len(parts) == 4 {
				owner = strings.Join(parts[:3], "/")
			}
			held[owner] = append(held[owner], record.Value(string(name), a.Value))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.wishes {
		values := held[w.owner]
		refused := w.values > 0 && refusedFor(result, w.owner)
		if w.values > 0 && len(values) >= w.values || len(values) == w.values || refused {
			w.done <- answer{values, refused}
			delete(p.wishes, w)
		}
	}
}

// refusedFor is true when a Vpc is told that a pool has none left.
func refusedFor(result *federation.Result, owner string) bool {
	status := result.Vpcs[federation.Key(strings.TrimPrefix(owner, "Vpc/"))]
	c := meta.FindStatusCondition(status.Conditions, networkv1alpha1.ConditionAccepted)
	return c != nil && c.Reason == networkv1alpha1.ReasonPoolExhausted
}
