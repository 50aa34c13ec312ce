// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// Refusal is why something can't be: reason and message of a condition.
type Refusal struct {
	Reason, Message string
}

func refusal1(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// PickAddress chooses an address of a pool for an ElasticIP: the one that it wants, or the first that nobody has. holder says who has an
// address, and is empty for nobody. Who then creates the IPAddress of that name has it.
func PickAddress(pool *networkv1alpha1.IPPool, name string, wanted networkv1alpha1.IPv4, holder func(netip.Addr) string) (netip.Addr, *Refusal) {
	v, refused := readSingles(pool, name)
	if refused != nil {
		return netip.Addr{}, refused
	}
	if wanted != "" {
		addr, err := ipam.ParseAddr(string(wanted))
		if err != nil {
			return addr, refusal1(networkv1alpha1.ReasonInvalid, "spec.address: %v", err)
		}
		if who := MayHave(pool, addr); who != "" {
			return addr, refusal1(networkv1alpha1.ReasonOutsidePool, "spec.address %s can't be had: %s: make an ElasticIP that wants another", addr, who)
		}
		if who := holder(addr); who != "" {
			return addr, refusal1(networkv1alpha1.ReasonInUse, "spec.address %s is %s's: make an ElasticIP that wants another", addr, who)
		}
		return addr, nil
	}
	for _, r := range v.ranges {
		for addr, last := r.Addr(), ipam.Last(r); ; addr = addr.Next() {
			if !v.keeps(addr) && holder(addr) == "" {
				return addr, nil
			}
			if addr == last {
				break
			}
		}
	}
	return netip.Addr{}, refusal1(networkv1alpha1.ReasonPoolExhausted, "IPPool %q has no address left: add a range to its spec.cidrs, or take another pool", name)
}

// MayHave says why an address of a pool is nobody's to have; empty when it may be handed out.
func MayHave(pool *networkv1alpha1.IPPool, addr netip.Addr) string {
	v, refused := readSingles(pool, pool.Name)
	if refused != nil {
		return refused.Message
	}
	if !contains(v.ranges, netip.PrefixFrom(addr, 32)) {
		return fmt.Sprintf("it is outside of %s of IPPool %q", strings.Join(texts(v.ranges), ", "), pool.Name)
	}
	if _, found := v.exclude.Overlap(netip.PrefixFrom(addr, 32)); found {
		return fmt.Sprintf("IPPool %q excludes it", pool.Name)
	}
	if e := v.holder(addr); e != nil {
		return fmt.Sprintf("%s has %s of IPPool %q", e.name, e.value, pool.Name)
	}
	return ""
}

// singles is a pool of single addresses as the hub has accepted it.
type singles struct {
	*poolView
	entries []*entry
}

// readSingles reads a pool that ElasticIPs may have addresses of.
func readSingles(pool *networkv1alpha1.IPPool, name string) (*singles, *Refusal) {
	switch {
	case pool == nil:
		return nil, refusal1(networkv1alpha1.ReasonPoolNotFound, "spec.pool %q does not exist: make this IPPool, or an ElasticIP of another", name)
	case pool.Spec.Purpose != networkv1alpha1.PurposeExternal:
		return nil, refusal1(networkv1alpha1.ReasonPoolNotFound, "spec.pool %q is an IPPool for %s: make an ElasticIP of one of purpose External", name, pool.Spec.Purpose)
	case pool.DeletionTimestamp != nil:
		return nil, refusal1(networkv1alpha1.ReasonPoolNotFound, "spec.pool %q is being deleted: make an ElasticIP of another", name)
	case !isTrue(pool.Status.Conditions, networkv1alpha1.ConditionAccepted, pool.Generation):
		return nil, refusal1(networkv1alpha1.ReasonPoolNotFound, "spec.pool %q is not accepted: look at its conditions", name)
	}
	s := &singles{poolView: readPool(pool), entries: readEntries(pool, nil).list}
	s.ranges = nil
	for _, c := range pool.Status.CIDRs {
		if p, err := ipam.ParsePrefix(c); err == nil {
			s.ranges = append(s.ranges, p)
		}
	}
	return s, nil
}

// keeps is true for an address that is not handed out: excluded, imported, or in a nested pool.
func (s *singles) keeps(addr netip.Addr) bool {
	_, excluded := s.exclude.Overlap(netip.PrefixFrom(addr, 32))
	return excluded || s.holder(addr) != nil
}

func (s *singles) holder(addr netip.Addr) *entry {
	if i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.prefix.IsValid() && e.prefix.Contains(addr) }); i >= 0 {
		return s.entries[i]
	}
	return nil
}
