// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

const (
	// breath is how long a cluster gathers what is new.
	breath = 10 * time.Millisecond
	// slowest is how long it takes a cluster at most to take a copy away.
	slowest = 150 * time.Millisecond
)

// spoke answers for a cluster in the way of the agent (spoke-agent/internal/mirror): it has a copy of each LocalRouter that it has seen, and none of what
// it was asked to release; a copy goes by the tombstone of its object, the object after the copy; and what it holds it says in answer to the newest question,
// when nothing is left that might become a copy.
type spoke struct {
	cluster string
	cache   cache.Cache
	client  client.Client
	history *record.Log
	random  *rand.Rand
	changed chan struct{}
	// copies by UID of the LocalRouter.
	copies map[types.UID]*held
}

// held is a copy.
type held struct {
	hold  spokev1alpha1.Hold
	owner string
	// ends is when it is gone; zero before its object has a tombstone.
	ends time.Time
}

func newSpoke(ctx context.Context, s *server, cluster string, history *record.Log, seed uint64) (*spoke, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	own, err := cache.New(s.config, cache.Options{Scheme: scheme, DefaultNamespaces: map[string]cache.Config{cluster: {}}})
	if err != nil {
		return nil, fmt.Errorf("make cache of %s: %w", cluster, err)
	}
	p := &spoke{
		cluster: cluster, cache: own, client: s.admin, history: history, random: rand.New(rand.NewPCG(seed, uint64(len(cluster)))),
		changed: make(chan struct{}, 1), copies: map[types.UID]*held{},
	}
	wake := func() {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	notify := toolscache.ResourceEventHandlerFuncs{AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() }}
	go func() { _ = own.Start(ctx) }() // it ends with the context
	for _, kind := range []client.Object{&spokev1alpha1.LocalRouter{}, &spokev1alpha1.InterconnectGateway{}} {
		informer, err := own.GetInformer(ctx, kind)
		if err == nil {
			_, err = informer.AddEventHandler(notify)
		}
		if err != nil {
			return nil, fmt.Errorf("watch %T of %s: %w", kind, cluster, err)
		}
	}
	return p, nil
}

// run answers until the context ends.
func (p *spoke) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-p.changed:
		case <-time.After(slowest): // copies go with time
		case <-ctx.Done():
			return
		}
		time.Sleep(breath)
		_ = p.answer(ctx) // somebody else has written, too: once more
	}
}

func (p *spoke) answer(ctx context.Context) error {
	var routers spokev1alpha1.LocalRouterList
	gateway := &spokev1alpha1.InterconnectGateway{}
	if err := p.cache.Get(ctx, client.ObjectKey{Namespace: p.cluster, Name: p.cluster}, gateway); err != nil {
		return err
	}
	if err := p.cache.List(ctx, &routers); err != nil {
		return err
	}
	seen := map[string]bool{}
	var gone []*spokev1alpha1.LocalRouter
	for i := range routers.Items {
		r := &routers.Items[i]
		seen[r.Spec.VpcUID] = true
		if err := p.copy(r, gateway.Spec.ReleasedVpcs); err != nil {
			return err
		}
		if p.copies[r.UID] == nil && r.DeletionTimestamp != nil {
			gone = append(gone, r)
		}
	}
	if err := p.tell(ctx, gateway, seen); err != nil {
		return err
	}
	for _, r := range gone {
		before := r.DeepCopy()
		if controllerutil.RemoveFinalizer(r, spokev1alpha1.Finalizer) {
			if err := client.IgnoreNotFound(p.client.Patch(ctx, r, client.MergeFrom(before))); err != nil {
				return fmt.Errorf("let %s go: %w", r.Name, err)
			}
		}
	}
	return nil
}

// copy takes a copy of a router, or takes it away.
func (p *spoke) copy(r *spokev1alpha1.LocalRouter, released []string) error {
	c := p.copies[r.UID]
	switch {
	case c == nil && r.DeletionTimestamp == nil && !slices.Contains(released, r.Spec.VpcUID):
		c = &held{owner: "Vpc/" + r.Spec.Vpc.Namespace + "/" + r.Spec.Vpc.Name, hold: spokev1alpha1.Hold{VpcUID: r.Spec.VpcUID, VNI: r.Spec.Vpc.VNI, LinkCIDR: r.Spec.LinkCIDR}}
		if err := p.history.Write(record.Copied, c.owner); err != nil {
			return err
		}
		p.copies[r.UID] = c
	case c != nil && r.DeletionTimestamp != nil && c.ends.IsZero():
		c.ends = time.Now().Add(time.Duration(p.random.Int64N(int64(slowest))))
	case c != nil && !c.ends.IsZero() && time.Now().After(c.ends):
		delete(p.copies, r.UID)
		return p.history.Write(record.Dropped, c.owner)
	}
	return nil
}

// tell says what the cluster holds. Which question that answers it says when nothing that was seen may still become a copy.
func (p *spoke) tell(ctx context.Context, g *spokev1alpha1.InterconnectGateway, seen map[string]bool) error {
	before := g.DeepCopy()
	holds := make([]spokev1alpha1.Hold, 0, len(p.copies))
	for _, c := range p.copies {
		holds = append(holds, c.hold)
	}
	slices.SortFunc(holds, func(a, b spokev1alpha1.Hold) int { return cmp.Compare(a.VpcUID, b.VpcUID) })
	answered := !slices.ContainsFunc(g.Spec.ReleasedVpcs, func(uid string) bool { return seen[uid] })
	if answered {
		g.Status.HoldsGeneration = g.Generation
	}
	same := g.Status.Holds != nil && slices.Equal(*g.Status.Holds, holds)
	if same && g.Status.HoldsGeneration == before.Status.HoldsGeneration {
		return nil
	}
	g.Status.Holds, g.Status.ObservedGeneration = &holds, g.Generation
	if len(g.Status.Conditions) == 0 {
		g.Status.Conditions = []metav1.Condition{{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed", LastTransitionTime: metav1.Now()}}
	}
	if err := p.client.Status().Patch(ctx, g, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("tell what %s holds: %w", p.cluster, err)
	}
	return nil
}
