// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

const (
	// single is how many changes are made one after the other.
	single = 20
	// changeTimeout bounds one change.
	changeTimeout = 2 * time.Minute
	// subnetShare is one in how many changes is a new Subnet; the others make and delete peerings.
	subnetShare = 10
)

// rest measures a hub that has nothing to do.
func (b *bench) rest(ctx context.Context, r *report) error {
	progress("rest for %v", b.idle)
	before, err := cpu(b.servers.hub)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.idle):
	}
	after, err := cpu(b.servers.hub)
	if err != nil {
		return err
	}
	r.HubIdleCPU = (after - before).Seconds() / b.idle.Seconds()
	return nil
}

// change is one, and what must come of it.
type change struct {
	do    func(context.Context) error
	keys  []string
	check func(string, *spokev1alpha1.LocalRouter) bool
	// done is told when all agents concerned have it. It may be nil.
	done func()
}

// changes gives changes of a steady mix, none of which waits for another one.
type changes struct {
	*bench
	random *rand.Rand
	mu     sync.Mutex
	// made are the peerings that all agents concerned have: only these are deleted, for what comes and goes unseen changes nothing.
	made []pair
}

func (b *bench) changes(seed uint64) *changes {
	return &changes{bench: b, random: rand.New(rand.NewPCG(seed, 0))}
}

// give is the next change: a Subnet, or a peering that is deleted or made.
func (c *changes) give() change {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.random.IntN(subnetShare) == 0:
		return c.newSubnet()
	case len(c.made) > 0 && c.random.IntN(2) == 0:
		p := c.made[0]
		c.made = c.made[1:]
		return c.unpeer(p)
	}
	p, found := c.unused()
	if !found { // all pairs were peered once
		return c.newSubnet()
	}
	next := c.peer(p)
	next.done = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.made = append(c.made, p)
	}
	return next
}

func (b *bench) peer(p pair) change {
	return change{
		do:   func(ctx context.Context) error { return b.servers.admin.Create(ctx, peering(p)) },
		keys: append(b.routersOf(p.a), b.routersOf(p.b)...),
		check: func(_ string, router *spokev1alpha1.LocalRouter) bool {
			have := neighbours(router)
			return have[vpcName(p.a)] || have[vpcName(p.b)]
		},
	}
}

func (b *bench) unpeer(p pair) change {
	return change{
		do:   func(ctx context.Context) error { return b.servers.admin.Delete(ctx, peering(p)) },
		keys: append(b.routersOf(p.a), b.routersOf(p.b)...),
		check: func(_ string, router *spokev1alpha1.LocalRouter) bool {
			have := neighbours(router)
			return !have[vpcName(p.a)] && !have[vpcName(p.b)]
		},
	}
}

func (c *changes) newSubnet() change {
	vpc := c.random.IntN(c.vpcs)
	for c.subnets[vpc] > 250 {
		vpc = (vpc + 1) % c.vpcs
	}
	subnet := c.subnet(vpc, c.clustersOf(vpc)[0])
	keys := c.routersOf(vpc)
	for _, peer := range c.peers[vpc] {
		keys = append(keys, c.routersOf(peer)...)
	}
	return change{
		do:   func(ctx context.Context) error { return c.servers.admin.Create(ctx, subnet) },
		keys: keys,
		check: func(_ string, router *spokev1alpha1.LocalRouter) bool {
			return hasPrefix(router, string(subnet.Spec.CIDRBlock))
		},
	}
}

// make carries a change out and gives the time until the last agent concerned had it.
func (b *bench) make(ctx context.Context, c change) (time.Duration, error) {
	e := b.expect(c.keys, c.check)
	begin := time.Now()
	if err := c.do(ctx); err != nil {
		return 0, err
	}
	at, err := b.await(ctx, e, changeTimeout)
	if err == nil && c.done != nil {
		c.done()
	}
	return at.Sub(begin), err
}

// oneByOne makes changes one after the other, and counts what the hub writes for them.
func (b *bench) oneByOne(ctx context.Context, r *report) error {
	progress("make %d changes, one after the other", single)
	all := b.changes(1)
	if _, err := b.observer.since(ctx); err != nil {
		return err
	}
	var took []time.Duration
	for range single {
		d, err := b.make(ctx, all.give())
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	if err := b.observer.quiet(ctx); err != nil {
		return err
	}
	w, err := b.observer.since(ctx)
	if err != nil {
		return err
	}
	r.UnloadedP50, r.UnloadedMax = percentile(took, 0.5), percentile(took, 1)
	r.ObjectsPerChange, r.BytesPerChange, r.StoredBytesPerChange = float64(total(w.kinds))/single, float64(total(w.sent))/single, float64(total(w.stored))/single
	progress("unloaded: median %.0f ms; the hub wrote %v", r.UnloadedP50, w.kinds)
	return nil
}

// steady makes changes at the rate that was asked for, whether or not earlier ones have arrived.
func (b *bench) steady(ctx context.Context, r *report) error {
	progress("make %.0f changes a second for %v", b.rate, b.duration)
	all := b.changes(2)
	server, err := b.servers.apiserver()
	if err != nil {
		return err
	}
	before, err := cpus(b.servers.hub, server)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	var group sync.WaitGroup
	ticker := time.NewTicker(time.Duration(float64(time.Second) / b.rate))
	defer ticker.Stop()
	for end := time.Now().Add(b.duration); time.Now().Before(end) && ctx.Err() == nil; <-ticker.C {
		next := all.give()
		group.Go(func() {
			d, err := b.make(ctx, next)
			mu.Lock()
			defer mu.Unlock()
			if took = append(took, d); err != nil {
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.Changes = len(took)
	r.PropagationP50, r.PropagationP99, r.PropagationMax = percentile(took, 0.5), percentile(took, 0.99), percentile(took, 1)
	progress("%d changes: p50 %.0f ms, p99 %.0f ms, max %.0f ms", r.Changes, r.PropagationP50, r.PropagationP99, r.PropagationMax)
	after, err := cpus(b.servers.hub, server)
	if err != nil {
		return err
	}
	r.HubCPU, r.APIServerCPU = perChange(after[0]-before[0], r.Changes), perChange(after[1]-before[1], r.Changes)
	r.HubRSS, err = rss(b.servers.hub)
	if err != nil {
		return err
	}
	r.APIServerRSS, err = rss(server)
	return err
}

// perChange is in milliseconds.
func perChange(spent time.Duration, changes int) float64 {
	return spent.Seconds() * 1000 / float64(max(1, changes))
}

func percentile(all []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}

// member measures one more cluster in a Vpc of twenty, and in a large one.
func (b *bench) member(ctx context.Context, r *report) (err error) {
	if b.spokes > fewMembers {
		if r.Membership, err = b.join(ctx, "few", fewMembers); err != nil {
			return err
		}
	}
	if b.large > 0 {
		r.Large, err = b.join(ctx, "large", b.large)
	}
	return err
}

// join makes a Vpc of n clusters, and adds one.
func (b *bench) join(ctx context.Context, name string, n int) (*membership, error) {
	progress("make a Vpc of %d clusters, and add one", n)
	vpc := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
	var keys []string
	for i := range n {
		vpc.Spec.Clusters.Names = append(vpc.Spec.Clusters.Names, networkv1alpha1.ClusterName(clusterName(i)))
		keys = append(keys, routerKey(clusterName(i), name))
	}
	reaches := func(clusters int) func(string, *spokev1alpha1.LocalRouter) bool {
		return func(_ string, router *spokev1alpha1.LocalRouter) bool { return len(router.Spec.Remotes) == clusters-1 }
	}
	all := b.expect(keys, reaches(n))
	err := errors.Join(b.servers.admin.Create(ctx, vpc), b.servers.admin.Create(ctx, &networkv1alpha1.Subnet{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}, Spec: networkv1alpha1.SubnetSpec{Vpc: name, FromPool: &networkv1alpha1.PoolRequest{Name: "subnets", PrefixLength: 28}},
	}))
	if err != nil {
		return nil, err
	}
	if _, err := b.await(ctx, all, setupTimeout); err != nil {
		return nil, err
	}
	if err := b.observer.quiet(ctx); err != nil {
		return nil, err
	}
	if _, err := b.observer.since(ctx); err != nil {
		return nil, err
	}
	before := vpc.DeepCopy()
	vpc.Spec.Clusters.Names = append(vpc.Spec.Clusters.Names, networkv1alpha1.ClusterName(clusterName(n)))
	took, err := b.make(ctx, change{
		do:    func(ctx context.Context) error { return b.servers.admin.Patch(ctx, vpc, client.MergeFrom(before)) },
		keys:  append(keys, routerKey(clusterName(n), name)),
		check: reaches(n + 1),
	})
	if err != nil {
		return nil, err
	}
	if err := b.observer.quiet(ctx); err != nil {
		return nil, err
	}
	w, err := b.observer.since(ctx)
	if err != nil {
		return nil, err
	}
	m := &membership{
		Clusters: n, Took: float64(took.Microseconds()) / 1000, Bytes: total(w.sent), Stored: total(w.stored), Objects: total(w.kinds),
		Kinds: w.kinds, StoredBy: w.stored, SentBy: w.sent,
	}
	progress("%.0f ms; the hub sent %d bytes for %d objects of %d bytes", m.Took, m.Bytes, m.Objects, m.Stored)
	return m, nil
}

// restart kills the apiserver and measures how all come back, and how a change of a user's fares meanwhile.
func (b *bench) restart(ctx context.Context, r *report) error {
	if !b.outage {
		return nil
	}
	progress("kill the apiserver")
	if err := b.servers.plane.Kill(kube.APIServer); err != nil {
		return err
	}
	begin := time.Now()
	if err := b.servers.plane.Start(ctx, kube.APIServer); err != nil {
		return err
	}
	ready := time.Now()
	result := &outage{ServerReady: ready.Sub(begin).Seconds()}
	all := b.changes(3)
	p := all.give()
	e := b.expect(p.keys, p.check)
	landed := make(chan error, 1)
	go func() {
		err := retry(ctx, setupTimeout, func() error { return p.do(ctx) })
		if err == nil {
			var at time.Time
			at, err = b.await(ctx, e, setupTimeout)
			result.UserChange = at.Sub(ready).Seconds()
		}
		landed <- err
	}()
	if err := b.watching(ctx, setupTimeout); err != nil {
		return err
	}
	result.AllBack = time.Since(ready).Seconds()
	if err := <-landed; err != nil {
		return err
	}
	server, err := b.servers.apiserver()
	if err != nil {
		return err
	}
	if result.APIPeakRSS, err = peak(server); err != nil {
		return fmt.Errorf("measure the apiserver: %w", err)
	}
	r.Outage = result
	progress("all agents watch again after %.1f s, the user's change arrived after %.1f s", result.AllBack, result.UserChange)
	return nil
}
