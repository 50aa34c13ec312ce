// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet keeps the hub's one Fleet: the epoch of this leader, and what is held back until somebody confirms it.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// defaultPercent of what is distributed may go unasked.
const defaultPercent = 20

// maxFormer hubs are remembered; the API takes no more.
const maxFormer = 16

// Keeper keeps the Fleet for one leader. Its calls come one at a time.
type Keeper struct {
	client client.Client
	// live reads from the API server itself: an epoch is never counted from a cache.
	live client.Reader

	uid string
	// epoch of this leader; 0 before it has begun.
	epoch, restored int64
	former          []string
}

// New makes a Keeper that writes with c and reads from the API server itself with live.
func New(c client.Client, live client.Reader) *Keeper { return &Keeper{client: c, live: live} }

// ErrReplaced says that another leader has begun: this one writes nothing any more.
var ErrReplaced = errors.New("another leader has counted the Fleet's epoch up: this process is not the leader any more")

// Begin counts the epoch up, once in the life of a leader, and returns true when it has done so now: what was read before may be older than that. Nothing
// may be written before. cached is the Fleet that the cache has, nil for none. When the outcome of a write is not known, the next Begin reads and counts
// again: a number may be left out, and none is used twice.
func (k *Keeper) Begin(ctx context.Context, s *federation.Snapshot, cached *networkv1alpha1.Fleet) (begun bool, err error) {
	switch {
	case k.epoch == 0:
	case cached == nil: // deleted: it is made again
	case cached.Status.Epoch > k.epoch:
		return false, fmt.Errorf("epoch %d, %d by now: %w", k.epoch, cached.Status.Epoch, ErrReplaced)
	default:
		return false, nil
	}
	if err := k.identify(ctx); err != nil {
		return false, err
	}
	fleet, err := k.get(ctx)
	if err != nil {
		return false, err
	}
	if k.epoch != 0 && fleet.Status.Epoch >= k.epoch { // the cache is behind
		return false, nil
	}
	seen := lookAround(s)
	if told := federation.Told(s, fleet.Status.Epoch); fleet.Status.Epoch > 0 && told > fleet.Status.Epoch {
		// This hub has gone back in time. Counted up, its epoch might become one that the clusters know: it stays, and they stay witnesses.
		k.epoch, k.restored, k.former = fleet.Status.Epoch, fleet.Status.RestoredEpoch, fleet.Status.FormerHubUIDs
		return false, nil
	}
	next := max(fleet.Status.Epoch, seen.borne, k.epoch) + 1
	if fleet.Status.Epoch == 0 { // it was never there, or is lost: then what the clusters have seen was this hub's, too
		next = max(next, federation.Told(s, next)+1)
	}
	fleet.Status.Epoch = next
	fleet.Status.RestoredEpoch = max(fleet.Status.RestoredEpoch, seen.restored, k.restored)
	if fleet.Status.HubUID == "" {
		fleet.Status.HubUID = k.uid
	}
	if len(fleet.Status.FormerHubUIDs) == 0 {
		fleet.Status.FormerHubUIDs = k.former
	}
	if err := k.client.Status().Update(ctx, fleet); err != nil {
		return false, fmt.Errorf("count epoch of the Fleet up: %w", stale.Wrap(err))
	}
	k.epoch, k.restored, k.former = next, fleet.Status.RestoredEpoch, fleet.Status.FormerHubUIDs
	return true, nil
}

// identify finds the identity of the hub.
func (k *Keeper) identify(ctx context.Context) error {
	if k.uid != "" {
		return nil
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := k.live.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace); err != nil {
		return fmt.Errorf("read identity of the hub (UID of namespace %s): %w", metav1.NamespaceSystem, err)
	}
	k.uid = string(namespace.UID)
	return nil
}

// get reads the Fleet, and makes it when there is none.
func (k *Keeper) get(ctx context.Context) (*networkv1alpha1.Fleet, error) {
	fleet := &networkv1alpha1.Fleet{}
	err := k.live.Get(ctx, client.ObjectKey{Name: networkv1alpha1.FleetName}, fleet)
	if apierrors.IsNotFound(err) {
		fleet = &networkv1alpha1.Fleet{ObjectMeta: metav1.ObjectMeta{Name: networkv1alpha1.FleetName}, Spec: networkv1alpha1.FleetSpec{MaxRemovalPercent: defaultPercent}}
		err = stale.Wrap(k.client.Create(ctx, fleet))
	}
	if err != nil {
		return nil, fmt.Errorf("read or make the Fleet: %w", err)
	}
	return fleet, nil
}

// traces of earlier leaders.
type traces struct {
	// borne is the highest epoch that something distributed bears, restored the highest that a restore was confirmed in.
	borne, restored int64
}

func lookAround(s *federation.Snapshot) traces {
	var t traces
	for _, r := range s.Routers {
		if epoch, err := strconv.ParseInt(r.Annotations[spokev1alpha1.AnnotationHubEpoch], 10, 64); err == nil {
			t.borne = max(t.borne, epoch)
		}
	}
	for _, g := range s.Gateways {
		t.borne, t.restored = max(t.borne, g.Spec.Hub.Epoch), max(t.restored, g.Spec.Hub.RestoredEpoch)
	}
	return t
}

// Fill says in a Snapshot which hub plans, and what it may take away.
func (k *Keeper) Fill(s *federation.Snapshot, cached *networkv1alpha1.Fleet) {
	s.Hub = federation.Hub{UID: k.uid, RecordedUID: k.uid, FormerUIDs: k.former, Epoch: k.epoch, RestoredEpoch: k.restored, SeenEpoch: k.epoch}
	if cached == nil {
		return
	}
	s.Hub.RecordedUID, s.Hub.Epoch = cached.Status.HubUID, cached.Status.Epoch
	s.Brake.MaxRemovalPercent, s.Brake.Confirmed = cached.Spec.MaxRemovalPercent, cached.Spec.ConfirmedRemoval
}

// Accept makes a doubt that somebody has confirmed a thing of the past: from now on this hub's word counts.
func (k *Keeper) Accept(ctx context.Context, doubt *federation.Doubt) error {
	fleet, err := k.get(ctx)
	if err != nil {
		return err
	}
	if fleet.Spec.ConfirmedRemoval != doubt.Digest {
		return &stale.Error{Err: errors.New("the confirmation was taken back")}
	}
	fleet.Status.Epoch = max(fleet.Status.Epoch, doubt.Highest, k.epoch) + 1
	fleet.Status.RestoredEpoch, fleet.Status.HubUID = fleet.Status.Epoch, k.uid
	former := slices.Concat(fleet.Status.FormerHubUIDs, doubt.Foreign)
	fleet.Status.FormerHubUIDs = former[max(0, len(former)-maxFormer):]
	if err := k.client.Status().Update(ctx, fleet); err != nil {
		return fmt.Errorf("count epoch of the Fleet up: %w", stale.Wrap(err))
	}
	k.epoch, k.restored, k.former = fleet.Status.Epoch, fleet.Status.RestoredEpoch, fleet.Status.FormerHubUIDs
	return nil
}
