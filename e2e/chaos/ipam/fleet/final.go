// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/check"
	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

// final compares what the API server has in the end with what the history says.
type final struct {
	// holders by value: those of the history, and those of the API server.
	want, have map[string]string
	// leaks are what is kept for nobody, or miscounted; lost is what an owner relies on and is not in the ledger.
	leaks, lost []string
	// quarantined is how much is kept for a cluster that has not let go.
	quarantined int
}

func (s *server) final(ctx context.Context, lives []*check.Life, held map[string]bool) (*final, error) {
	f := &final{want: map[string]string{}, have: map[string]string{}}
	for _, l := range lives {
		if l.Held() {
			for _, v := range l.Values {
				f.want[v] = l.Owner
			}
		}
	}
	var pools networkv1alpha1.IPPoolList
	if err := s.admin.List(ctx, &pools); err != nil {
		return nil, fmt.Errorf("list pools: %w", err)
	}
	var addresses networkv1alpha1.IPAddressList
	if err := s.admin.List(ctx, &addresses); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for i := range pools.Items {
		single := int64(0)
		for _, a := range addresses.Items {
			if a.Spec.Pool == pools.Items[i].Name {
				single++
			}
		}
		f.pool(&pools.Items[i], single, held)
	}
	for _, a := range addresses.Items {
		f.entry(record.Value(a.Spec.Pool, string(a.Spec.Address)), a.Spec.Owner.Kind+"/"+a.Spec.Owner.Namespace+"/"+a.Spec.Owner.Name)
	}
	for value, owner := range f.want {
		if f.have[value] != owner {
			f.lost = append(f.lost, fmt.Sprintf("%s relies on %s, and %q has it", owner, value, f.have[value]))
		}
	}
	return f, nil
}

// pool looks at one ledger, of a pool that so many single addresses are handed out of. held are the UIDs of Vpcs that clusters have copies of.
func (f *final) pool(pool *networkv1alpha1.IPPool, sum int64, held map[string]bool) {
	for _, a := range pool.Status.Allocations {
		size := int64(1)
		if p, err := netip.ParsePrefix(a.Value); err == nil {
			size <<= 32 - p.Bits()
		}
		sum += size
		parts := strings.SplitN(a.Owner, "/", 4)
		switch {
		case parts[0] == "Import":
		case a.Released && held[a.UID]:
			f.quarantined++
		case a.Released:
			f.leaks = append(f.leaks, fmt.Sprintf("%s has %s in quarantine for %s, and no cluster holds anything of it", pool.Name, a.Value, a.Owner))
		default:
			f.entry(record.Value(pool.Name, a.Value), strings.Join(parts[:min(3, len(parts))], "/"))
		}
	}
	if pool.Status.Allocated != sum {
		f.leaks = append(f.leaks, fmt.Sprintf("%s says that %d are allocated, and its entries are %d", pool.Name, pool.Status.Allocated, sum))
	}
}

func (f *final) entry(value, owner string) {
	f.have[value] = owner
	if f.want[value] != owner {
		f.leaks = append(f.leaks, fmt.Sprintf("%s is kept for %s, who has nothing any more; %q relies on it", value, owner, f.want[value]))
	}
}
