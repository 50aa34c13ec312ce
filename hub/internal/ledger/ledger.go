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
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	// doubted: the cache can't be trusted to be at least as new as what this process must know. True at first, because
	// another leader may have written a moment ago, and after every write that did not clearly succeed.
	doubted bool
	// newest are the pools that this process has written or read live; the cache may be behind them.
	newest map[string]*networkv1alpha1.IPPool
}

// New makes a Store that writes with c and reads from the API server itself with live.
func New(c client.Client, live client.Reader) *Store {
	return &Store{client: c, live: live, doubted: true, newest: map[string]*networkv1alpha1.IPPool{}}
}

// Newest replaces each cached pool that is older than what this process has written or read, by the newer one.
func (s *Store) Newest(ctx context.Context, cached []*networkv1alpha1.IPPool) ([]*networkv1alpha1.IPPool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubted {
		if err := s.reread(ctx, cached); err != nil {
			return nil, err
		}
		s.doubted = false
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

func (s *Store) reread(ctx context.Context, cached []*networkv1alpha1.IPPool) error {
	for _, pool := range cached {
		var read networkv1alpha1.IPPool
		switch err := s.live.Get(ctx, client.ObjectKeyFromObject(pool), &read); {
		case apierrors.IsNotFound(err):
			delete(s.newest, pool.Name)
		case err != nil:
			return fmt.Errorf("read ledger of IPPool %s: %w", pool.Name, err)
		default:
			s.newest[pool.Name] = &read
		}
	}
	return nil
}

// Wrote is true when this version of the pool is what this process wrote or read last: no news.
func (s *Store) Wrote(pool *networkv1alpha1.IPPool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.newest[pool.Name]
	return ok && known.UID == pool.UID && known.ResourceVersion == pool.ResourceVersion
}

// Write stores the ledgers that have changed and returns the news of it. The pools are those that
// the decision was made from: their resourceVersion is the one compared.
func (s *Store) Write(ctx context.Context, done *settled.Set, pools map[federation.Key]*networkv1alpha1.IPPool, decided map[federation.Key]networkv1alpha1.IPPoolStatus) ([]status.Transition, error) {
	var news []status.Transition
	patches := status.Pools(done, pools, decided, metav1.Now())
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
		s.doubted = true
		return fmt.Errorf("store ledger of IPPool %s: %w", pool.Name, stale.Wrap(err))
	}
	s.newest[pool.Name] = pool
	return nil
}
