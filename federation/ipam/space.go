// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
)

// Space knows which IPv4 prefixes are taken. It is a binary trie in which every node knows the widest free block below
// it, so a free prefix is found in one walk down. The zero Space is not ready: use NewSpace.
type Space struct {
	nodes []node
}

// node is a block of addresses; its place in the trie says which.
type node struct {
	// child is the index of the lower and upper half; 0 is none (the root is nobody's child).
	child [2]int32
	// taken counts the reservations of exactly this block.
	taken int32
	// free is the prefix length of the widest free block in here, noneFree when there is none.
	free int8
}

// noneFree is longer than any prefix.
const noneFree = 33

// NewSpace returns a Space with nothing taken.
func NewSpace() *Space {
	return &Space{nodes: make([]node, 1)}
}

// Request asks for a free prefix.
type Request struct {
	// Bits is the length of the prefix.
	Bits int
	// From are the ranges that may be handed out, tried in order.
	From []netip.Prefix
	// Within, when not empty, are prefixes of which one must contain the answer.
	Within Set
	// Avoid are prefixes that the answer may not overlap, besides what is taken.
	Avoid []Set
}

// Reserve takes a prefix. What is taken already can be taken once more: it is free again after as many Releases.
func (s *Space) Reserve(p netip.Prefix) {
	s.change(0, 0, toUint(p.Addr()), p.Bits(), 1)
}

// Release gives back one reservation of exactly this prefix; without one it does nothing and returns false.
func (s *Space) Release(p netip.Prefix) bool {
	i, found := s.at(p)
	if !found || s.nodes[i].taken == 0 {
		return false
	}
	s.change(0, 0, toUint(p.Addr()), p.Bits(), -1)
	return true
}

// Inside calls do as if the blocks were not taken themselves: what lies in them is looked for, and not what they lie in.
func (s *Space) Inside(blocks []netip.Prefix, do func()) {
	var lifted []netip.Prefix
	for _, b := range blocks {
		if s.Release(b) {
			lifted = append(lifted, b)
		}
	}
	do()
	for _, b := range lifted {
		s.Reserve(b)
	}
}

// at finds the node of exactly this prefix.
func (s *Space) at(p netip.Prefix) (i int32, found bool) {
	addr := toUint(p.Addr())
	for depth := range p.Bits() {
		if i = s.nodes[i].child[addr>>(31-depth)&1]; i == 0 {
			return 0, false
		}
	}
	return i, true
}

// Find looks for the first free prefix that meets the request, and takes nothing.
func (s *Space) Find(r Request) (netip.Prefix, bool) {
	for _, from := range r.From {
		if from.Bits() > r.Bits {
			continue
		}
		i, taken := s.descend(from)
		if taken {
			continue
		}
		if addr, ok := s.search(i, from.Bits(), toUint(from.Addr()), &r); ok {
			return netip.PrefixFrom(toAddr(addr), r.Bits), true
		}
	}
	return netip.Prefix{}, false
}

// Allocate finds a prefix and takes it.
func (s *Space) Allocate(r Request) (netip.Prefix, bool) {
	p, ok := s.Find(r)
	if ok {
		s.Reserve(p)
	}
	return p, ok
}

// change adds to the reservations of a block at or below node i, which stands at the given depth.
func (s *Space) change(i int32, depth int, addr uint32, bits int, by int32) {
	if depth == bits {
		s.nodes[i].taken = max(0, s.nodes[i].taken+by)
		s.refresh(i, depth)
		return
	}
	half := addr >> (31 - depth) & 1
	next := s.nodes[i].child[half]
	if next == 0 {
		if by < 0 {
			return
		}
		next = int32(len(s.nodes))
		s.nodes = append(s.nodes, node{free: int8(depth + 1)})
		s.nodes[i].child[half] = next
	}
	s.change(next, depth+1, addr, bits, by)
	s.refresh(i, depth)
}

// refresh computes what is free in a node from its halves.
func (s *Space) refresh(i int32, depth int) {
	n := &s.nodes[i]
	lower, upper := s.freeIn(n.child[0], depth+1), s.freeIn(n.child[1], depth+1)
	switch {
	case n.taken > 0:
		n.free = noneFree
	case int(lower) == depth+1 && int(upper) == depth+1:
		n.free = int8(depth)
	default:
		n.free = min(lower, upper)
	}
}

// freeIn is the free field of a child: a half that has no node is wholly free.
func (s *Space) freeIn(i int32, depth int) int8 {
	if i == 0 {
		return int8(depth)
	}
	return s.nodes[i].free
}

// descend goes to the node of a prefix: -1 when nothing in it was ever taken, and whether it is taken as a whole.
func (s *Space) descend(p netip.Prefix) (i int32, taken bool) {
	addr := toUint(p.Addr())
	for depth := range p.Bits() {
		if s.nodes[i].taken > 0 {
			return 0, true
		}
		if i = s.nodes[i].child[addr>>(31-depth)&1]; i == 0 {
			return -1, false
		}
	}
	return i, false
}

// search finds the lowest block of r.Bits in node i (-1: a block without a node), which is the block addr/depth.
func (s *Space) search(i int32, depth int, addr uint32, r *Request) (uint32, bool) {
	if i >= 0 && int(s.nodes[i].free) > r.Bits {
		return 0, false
	}
	block := netip.PrefixFrom(toAddr(addr), depth)
	if !r.mayHold(block) {
		return 0, false
	}
	if depth == r.Bits {
		wholly := i < 0 || int(s.nodes[i].free) == depth
		return addr, wholly && r.fits(block)
	}
	for half := range uint32(2) {
		child := int32(-1)
		if i >= 0 && s.nodes[i].child[half] != 0 {
			child = s.nodes[i].child[half]
		}
		if found, ok := s.search(child, depth+1, addr|half<<(31-depth), r); ok {
			return found, true
		}
	}
	return 0, false
}

// mayHold is false when no answer can lie in the block.
func (r *Request) mayHold(block netip.Prefix) bool {
	if r.Within.Len() > 0 {
		if _, ok := r.Within.Overlap(block); !ok {
			return false
		}
	}
	return !slices.ContainsFunc(r.Avoid, func(s Set) bool {
		_, covered := s.Around(block)
		return covered
	})
}

// fits is true when the block itself is an answer.
func (r *Request) fits(block netip.Prefix) bool {
	if r.Within.Len() > 0 {
		if _, ok := r.Within.Around(block); !ok {
			return false
		}
	}
	return !slices.ContainsFunc(r.Avoid, func(s Set) bool {
		_, overlaps := s.Overlap(block)
		return overlaps
	})
}
