// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"math/bits"
	"net/netip"
)

// Numbers knows which numbers are taken. It is a Space whose addresses are the numbers, one each.
type Numbers struct {
	space *Space
}

// NewNumbers returns Numbers with nothing taken.
func NewNumbers() *Numbers {
	return &Numbers{space: NewSpace()}
}

// Reserve takes a number; like Space.Reserve it counts.
func (n *Numbers) Reserve(number uint32) { n.space.Reserve(single(number)) }

// Release gives one reservation of the number back.
func (n *Numbers) Release(number uint32) { n.space.Release(single(number)) }

// Find looks for the lowest free number from first to last, both included, and takes nothing.
func (n *Numbers) Find(first, last uint32) (uint32, bool) {
	p, ok := n.space.Find(Request{Bits: 32, From: Cover(first, last)})
	if !ok {
		return 0, false
	}
	return toUint(p.Addr()), true
}

// Allocate finds a number and takes it.
func (n *Numbers) Allocate(first, last uint32) (uint32, bool) {
	number, ok := n.Find(first, last)
	if ok {
		n.Reserve(number)
	}
	return number, ok
}

// Cover is the fewest prefixes that together are the addresses from first to last, as numbers, in order.
func Cover(first, last uint32) []netip.Prefix {
	var cover []netip.Prefix
	for next, end := uint64(first), uint64(last)+1; next < end; {
		// The widest block that begins here and does not go past the end.
		size := min(bits.TrailingZeros64(next|1<<32), bits.Len64(end-next)-1)
		cover = append(cover, netip.PrefixFrom(toAddr(uint32(next)), 32-size))
		next += 1 << size
	}
	return cover
}

func single(number uint32) netip.Prefix { return netip.PrefixFrom(toAddr(number), 32) }
