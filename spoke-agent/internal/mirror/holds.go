// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// answerRetry is when to look again whether a question can be answered.
const answerRetry = 500 * time.Millisecond

// keeper answers the hub's question whether anything is left of a Vpc. The hub gives the Vpc's addresses to others when the answer is no, so between
// the question and the end of time no copy of it may be made here: who makes a copy holds the lock for reading, who answers for writing, and both
// see the question in the same cache.
type keeper struct {
	copier
	cluster string
	mu      sync.RWMutex
}

// unlessReleased calls do, which makes a copy of a Vpc's router, unless the hub has released the Vpc here.
func (k *keeper) unlessReleased(ctx context.Context, vpcUID string, do func() error) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	own := &spokev1alpha1.InterconnectGateway{}
	if err := k.hub.Get(ctx, client.ObjectKey{Namespace: k.cluster, Name: k.cluster}, own); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the cluster's own InterconnectGateway: %w", err)
	}
	if slices.Contains(own.Spec.ReleasedVpcs, vpcUID) {
		return nil // the hub's question goes, and then its change brings us here again
	}
	return do()
}

// tell sets what the cluster holds, and which question that answers. again is true when the answer has to wait: the hub's question and the end of its
// object come by two watches, and what is still seen of the object may still become a copy.
func (k *keeper) tell(ctx context.Context, hub *spokev1alpha1.InterconnectGateway, cached []spokev1alpha1.LocalRouter) (again bool, err error) {
	if len(hub.Spec.ReleasedVpcs) == 0 && hub.Status.HoldsGeneration == hub.Generation {
		hub.Status.Holds = holdsOf(cached)
		return false, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var copies, seen spokev1alpha1.LocalRouterList
	if err := k.live.List(ctx, &copies, client.InNamespace(local.Namespace)); err != nil { // the cache may lack the newest copy
		return false, fmt.Errorf("list copies of LocalRouters: %w", err)
	}
	if err := k.hub.List(ctx, &seen, client.InNamespace(k.cluster)); err != nil {
		return false, fmt.Errorf("list LocalRouters of the hub: %w", err)
	}
	hub.Status.Holds = holdsOf(copies.Items)
	for i := range seen.Items {
		if slices.Contains(hub.Spec.ReleasedVpcs, seen.Items[i].Spec.VpcUID) {
			return true, nil
		}
	}
	hub.Status.HoldsGeneration = hub.Generation
	return false, nil
}

// holdsOf are the copies, in order of Vpc; nil when there are more than can be told.
func holdsOf(copies []spokev1alpha1.LocalRouter) *[]spokev1alpha1.Hold {
	if len(copies) > spokev1alpha1.MaxHolds {
		return nil
	}
	holds := make([]spokev1alpha1.Hold, 0, len(copies))
	for i := range copies {
		spec := &copies[i].Spec
		holds = append(holds, spokev1alpha1.Hold{VpcUID: spec.VpcUID, VNI: spec.Vpc.VNI, LinkCIDR: spec.LinkCIDR})
	}
	slices.SortFunc(holds, func(a, b spokev1alpha1.Hold) int {
		return cmp.Or(cmp.Compare(a.VpcUID, b.VpcUID), cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.LinkCIDR, b.LinkCIDR))
	})
	return &holds
}
