// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
)

// missing is an owner that a ledger names and the cache does not show.
type missing struct {
	kind string
	key  federation.Key
	uid  types.UID
}

// readOwners looks up, on the API server itself, each owner that a ledger names and the cache does not show. Ledgers and owners come by several watches,
// and ledgers are read live: an entry of another leader may be seen before its owner is, and would be handed out again as if its owner were gone. What the cache has shown
// and shows no more is gone, and so is for ever what was looked up and not there.
func (r *Reader) readOwners(ctx context.Context, state *State) error {
	gone, live := map[types.UID]bool{}, map[types.UID]bool{}
	var lookUp []missing
	noted := map[missing]bool{}
	for _, pool := range state.Snapshot.Pools {
		for i := range pool.Status.Allocations {
			m, ok := state.missing(&pool.Status.Allocations[i])
			switch {
			case !ok:
			case r.gone[m.uid], r.hasShown(m):
				gone[m.uid] = true
			case !noted[m]:
				noted[m], lookUp = true, append(lookUp, m)
			}
		}
	}
	var mu sync.Mutex
	err := parallel.Do(lookUp, func(m missing) error {
		object, err := r.find(ctx, m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if object == nil {
			gone[m.uid] = true
		} else {
			live[m.uid] = true
			state.show(m.key, object)
		}
		return nil
	})
	r.gone = gone // also after an error: the next look begins with what is left
	if err == nil {
		r.live, r.last = live, &State{Vpcs: maps.Clone(state.Vpcs), Subnets: maps.Clone(state.Subnets), Peerings: maps.Clone(state.Peerings)}
	}
	return err
}

// hasShown is true for an owner that the cache had when it was last read.
func (r *Reader) hasShown(m missing) bool {
	return r.last != nil && r.last.has(m) && !r.live[m.uid]
}

// missing is the owner of an entry when it is of a kind that people write and is not in the State.
func (s *State) missing(a *networkv1alpha1.Allocation) (m missing, ok bool) {
	parts := strings.SplitN(a.Owner, "/", 4)
	if len(parts) < 3 {
		return m, false
	}
	m = missing{parts[0], federation.Key(parts[1] + "/" + parts[2]), types.UID(a.UID)}
	return m, slices.Contains([]string{"Vpc", "Subnet", "VpcPeering"}, m.kind) && !s.has(m)
}

func (s *State) has(m missing) bool {
	switch m.kind {
	case "Vpc":
		o, found := s.Vpcs[m.key]
		return found && o.UID == m.uid
	case "Subnet":
		o, found := s.Subnets[m.key]
		return found && o.UID == m.uid
	default:
		o, found := s.Peerings[m.key]
		return found && o.UID == m.uid
	}
}

// find looks an owner up; nil when it is gone.
func (r *Reader) find(ctx context.Context, m missing) (client.Object, error) {
	object := map[string]client.Object{
		"Vpc": &networkv1alpha1.Vpc{}, "Subnet": &networkv1alpha1.Subnet{}, "VpcPeering": &networkv1alpha1.VpcPeering{},
	}[m.kind]
	namespace, name, _ := strings.Cut(string(m.key), "/")
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	switch {
	case apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse): // that there is no such kind says nothing of the object
		return nil, fmt.Errorf("look up %s %s, which a ledger names: %w", m.kind, m.key, err)
	case apierrors.IsNotFound(err), err == nil && object.GetUID() != m.uid:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up %s %s, which a ledger names: %w", m.kind, m.key, err)
	}
	return object, nil
}

// show puts an object in the place of what the cache had of that name.
func (s *State) show(key federation.Key, object client.Object) {
	switch o := object.(type) {
	case *networkv1alpha1.Vpc:
		s.Snapshot.Vpcs = replace(s.Snapshot.Vpcs, s.Vpcs, key, o)
	case *networkv1alpha1.Subnet:
		s.Snapshot.Subnets = replace(s.Snapshot.Subnets, s.Subnets, key, o)
	case *networkv1alpha1.VpcPeering:
		s.Snapshot.Peerings = replace(s.Snapshot.Peerings, s.Peerings, key, o)
	}
}

func replace[O client.Object](list []O, known map[federation.Key]O, key federation.Key, object O) []O {
	list = slices.DeleteFunc(list, func(o O) bool { return KeyOf(o) == key })
	known[key] = object
	return append(list, object)
}
