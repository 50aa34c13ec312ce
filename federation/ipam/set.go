// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
)

// Set is an immutable set of IPv4 prefixes, which may lie inside each other. The zero Set is empty.
type Set struct {
	// sorted by Compare, so a prefix stands before all that lie inside it.
	prefixes []netip.Prefix
	// lengths has bit n set when some prefix has n bits.
	lengths uint64
}

// fewPrefixes is up to where a scan beats searching.
const fewPrefixes = 8

// NewSet makes a set. It keeps no reference to its arguments.
func NewSet(prefixes ...netip.Prefix) Set {
	s := Set{prefixes: slices.Clone(prefixes)}
	slices.SortFunc(s.prefixes, Compare)
	s.prefixes = slices.Compact(s.prefixes)
	for _, p := range s.prefixes {
		s.lengths |= 1 << p.Bits()
	}
	return s
}

// Prefixes of the set in order of address. Callers may not change them.
func (s Set) Prefixes() []netip.Prefix { return s.prefixes }

// Len is how many prefixes the set has.
func (s Set) Len() int { return len(s.prefixes) }

// Equal is true when both sets have the same prefixes.
func (s Set) Equal(t Set) bool { return slices.Equal(s.prefixes, t.prefixes) }

// Overlap finds a prefix of the set that overlaps p: the widest one around p, or else the first one inside it.
func (s Set) Overlap(p netip.Prefix) (netip.Prefix, bool) {
	if len(s.prefixes) <= fewPrefixes {
		for _, q := range s.prefixes {
			if q.Overlaps(p) {
				return q, true
			}
		}
		return netip.Prefix{}, false
	}
	if q, ok := s.Around(p); ok {
		return q, true
	}
	if i, _ := slices.BinarySearchFunc(s.prefixes, p, Compare); i < len(s.prefixes) && contains(p, s.prefixes[i]) {
		return s.prefixes[i], true
	}
	return netip.Prefix{}, false
}

// Around finds the widest prefix of the set that p lies wholly in.
func (s Set) Around(p netip.Prefix) (netip.Prefix, bool) {
	for bits := 0; bits <= p.Bits(); bits++ {
		if s.lengths&(1<<bits) == 0 {
			continue
		}
		q := netip.PrefixFrom(p.Addr(), bits).Masked()
		if _, found := slices.BinarySearchFunc(s.prefixes, q, Compare); found {
			return q, true
		}
	}
	return netip.Prefix{}, false
}

// FirstOverlap finds a prefix of a and one of b that overlap, the lowest ones.
//
// It walks both sets once. Prefixes are nested or apart, never crossing, and a wider one comes first: of two that
// are apart, the one that ends first can overlap nothing that follows in the other set.
func FirstOverlap(a, b Set) (inA, inB netip.Prefix, found bool) {
	i, j := 0, 0
	for i < len(a.prefixes) && j < len(b.prefixes) {
		p, q := a.prefixes[i], b.prefixes[j]
		switch {
		case p.Overlaps(q):
			return p, q, true
		case p.Addr().Less(q.Addr()):
			i++
		default:
			j++
		}
	}
	return netip.Prefix{}, netip.Prefix{}, false
}

// OwnOverlap finds two of the prefixes that overlap each other, equal ones included.
func OwnOverlap(prefixes []netip.Prefix) (first, second netip.Prefix, found bool) {
	sorted := slices.SortedFunc(slices.Values(prefixes), Compare)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Overlaps(sorted[i]) {
			return sorted[i-1], sorted[i], true
		}
	}
	return netip.Prefix{}, netip.Prefix{}, false
}
