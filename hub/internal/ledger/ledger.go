// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ledger stores what the pools have handed out, so that nothing is handed out twice.
//
// A ledger is the status of an IPPool. It is written by compare-and-swap on resourceVersion alone, so of two writers
// that have decided from the same ledger one is refused: two leaders can't hand out one VNI. Nothing that uses an
// allocation is distributed before its ledger is stored. A write whose outcome is unknown is neither assumed done nor
// undone: the ledgers are read again from the API server itself.
package ledger

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/delta"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/settled"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

// Store reads and writes ledgers.
type Store struct {
	client client.Client
	live   client.Reader

	mu sync.Mutex
	// looked is true when every ledger has been read live once: before, another leader may have written a moment ago.
	looked bool
	// doubted are the pools of which the cache can't be trusted to be at least as new as what this process must know: those of writes that did not
	// clearly succeed.
	doubted map[string]bool
	// newest are the pools that this process has written or read live; the cache may be behind them.
	newest map[string]*networkv1alpha1.IPPool
}

// New makes a Store that writes with c and reads from the API server itself with live.
func New(c client.Client, live client.Reader) *Store {
	return &Store{client: c, live: live, doubted: map[string]bool{}, newest: map[string]*networkv1alpha1.IPPool{}}
}

// Newest replaces each cached pool that is older than what this process has written or read, by the newer one.
func (s *Store) Newest(ctx context.Context, cached []*networkv1alpha1.IPPool) ([]*networkv1alpha1.IPPool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reread(ctx, cached); err != nil {
		return nil, err
	}
	for i, pool := range cached {
		known, ok := s.newest[pool.Name]
		if !ok || known.UID != pool.UID {
			continue
		}
		order, err := resourceversion.CompareResourceVersion(known.ResourceVersion, pool.ResourceVersion)
		if err != nil {
			return nil, fmt.Errorf("compare versions of IPPool %s: %w", pool.Name, err)
		}
		if order > 0 {
			cached[i] = known
		}
	}
	return cached, nil
}

// reread reads the doubted ledgers from the API server itself.
func (s *Store) reread(ctx context.Context, cached []*networkv1alpha1.IPPool) error {
	var mu sync.Mutex
	doubted := slices.DeleteFunc(slices.Clone(cached), func(pool *networkv1alpha1.IPPool) bool { return s.looked && !s.doubted[pool.Name] })
	err := parallel.Do(doubted, func(pool *networkv1alpha1.IPPool) error {
		read := &networkv1alpha1.IPPool{}
		err := s.live.Get(ctx, client.ObjectKeyFromObject(pool), read)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read ledger of IPPool %s: %w", pool.Name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			delete(s.newest, pool.Name)
		} else {
			s.newest[pool.Name] = read
		}
		delete(s.doubted, pool.Name)
		return nil
	})
	s.looked = s.looked || err == nil
	return err
}

// Wrote is true when this version of the pool is what this process wrote or read last: no news.
func (s *Store) Wrote(pool *networkv1alpha1.IPPool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[pool.Name]
	return ok && known.UID == pool.UID && known.ResourceVersion == pool.ResourceVersion
}

// Write stores the ledgers that have other entries, ranges or verdicts, and returns the news of it. The pools are those that
// the decision was made from: their resourceVersion is the one compared.
func (s *Store) Write(ctx context.Context, done *settled.Set, pools map[federation.Key]*networkv1alpha1.IPPool, decided map[federation.Key]networkv1alpha1.IPPoolStatus) ([]status.Transition, error) {
	return s.write(ctx, done, pools, decided, func(old, updated *networkv1alpha1.IPPool) bool { return !handsOutTheSame(old, updated) })
}

// Report writes what else pools say: how much of them is handed out, and whether that is nearly all. Nothing that is distributed waits for that.
func (s *Store) Report(ctx context.Context, done *settled.Set, pools map[federation.Key]*networkv1alpha1.IPPool, decided map[federation.Key]networkv1alpha1.IPPoolStatus) ([]status.Transition, error) {
	return s.write(ctx, done, pools, decided, handsOutTheSame)
}

// handsOutTheSame is true when two versions of a pool differ at most in what they tell people.
func handsOutTheSame(old, updated *networkv1alpha1.IPPool) bool {
	accepted := func(p *networkv1alpha1.IPPool) *metav1.Condition {
		return meta.FindStatusCondition(p.Status.Conditions, networkv1alpha1.ConditionAccepted)
	}
	return slices.Equal(old.Status.Allocations, updated.Status.Allocations) && slices.Equal(old.Status.CIDRs, updated.Status.CIDRs) &&
		equality.Semantic.DeepEqual(accepted(old), accepted(updated))
}

func (s *Store) write(ctx context.Context, done *settled.Set, pools map[federation.Key]*networkv1alpha1.IPPool, decided map[federation.Key]networkv1alpha1.IPPoolStatus, matters func(old, updated *networkv1alpha1.IPPool) bool) ([]status.Transition, error) {
	var news []status.Transition
	patches := slices.DeleteFunc(status.Pools(done, pools, decided, metav1.Now()), func(patch status.Patch) bool {
		return !matters(patch.Old.(*networkv1alpha1.IPPool), patch.New.(*networkv1alpha1.IPPool))
	})
	for _, patch := range patches {
		news = append(news, patch.News...)
	}
	err := parallel.Do(patches, func(patch status.Patch) error { return s.swap(ctx, patch.Old, patch.New.(*networkv1alpha1.IPPool)) })
	if err != nil {
		return nil, err // what was stored nevertheless is told by the pool itself
	}
	return news, nil
}

func (s *Store) swap(ctx context.Context, old client.Object, pool *networkv1alpha1.IPPool) error {
	err := delta.WriteStatus(ctx, s.client, old, pool)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.doubted[pool.Name] = true
		return fmt.Errorf("store ledger of IPPool %s: %w", pool.Name, stale.Wrap(err))
	}
	s.newest[pool.Name] = pool
	return nil
}
