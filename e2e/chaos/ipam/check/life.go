// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package check says whether a history of allocations kept what IPAM promises.
//
// An owner asks once, gets values of pools or is refused, and lets go once. In the time in between, which it knows of, nobody else may have any
// of it; and all that happened must be what one allocator could have done that does one thing after the other.
package check

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

// Forever is when something ends that has not ended.
const Forever = math.MaxInt64

// Life of an owner.
type Life struct {
	Owner string
	// Values that it has got.
	Values []string
	// Refused: it got nothing.
	Refused bool
	// Asked and Got, Let and Freed are the beginnings and ends of allocation and release; Forever when there was none.
	Asked, Got, Let, Freed int64
	// copied and dropped are when the first cluster took a copy, and when the last one had let go of it.
	copied, dropped int64
	copies          int
}

// Held is true when the owner has its values at the end of the history.
func (l *Life) Held() bool { return l.Got != Forever && !l.Refused && l.Let == Forever }

// from and until is the time in which the owner relies on its values: what it knows, and what clusters have.
func (l *Life) from() int64 { return min(l.Got, l.copied) }

func (l *Life) until() int64 {
	if l.Let == Forever || l.copies > 0 {
		return Forever
	}
	return max(l.Let, l.dropped)
}

// Lives joins the lines of all processes.
func Lives(lines []record.Line) []*Life {
	slices.SortStableFunc(lines, func(a, b record.Line) int { return cmp.Compare(a.Time, b.Time) })
	known := map[string]*Life{}
	var all []*Life
	for _, line := range lines {
		l := known[line.Owner]
		switch {
		case line.What == record.Began:
			continue
		case l == nil:
			l = &Life{Owner: line.Owner, Asked: Forever, Got: Forever, Let: Forever, Freed: Forever, copied: Forever}
			known[line.Owner] = l
			all = append(all, l)
		}
		l.add(&line)
	}
	return all
}

func (l *Life) add(line *record.Line) {
	switch line.What {
	case record.Allocate:
		l.Asked = min(l.Asked, line.Time)
	case record.Allocated:
		l.Values, l.Got = line.Values, min(l.Got, line.Time)
	case record.Refused:
		l.Refused, l.Got = true, min(l.Got, line.Time)
	case record.Release:
		l.Let = min(l.Let, line.Time)
	case record.Released:
		l.Freed = min(l.Freed, line.Time)
	case record.Copied:
		l.copied = min(l.copied, line.Time)
		l.copies++
	case record.Dropped:
		l.dropped = line.Time
		l.copies--
	}
}

// prefixOf is a value as a prefix; a number is one of a range of its own.
func prefixOf(value string) netip.Prefix {
	if p, err := netip.ParsePrefix(value); err == nil {
		return p
	}
	if a, err := netip.ParseAddr(value); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	var n uint32
	for _, digit := range []byte(value) {
		n = n*10 + uint32(digit-'0')
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), 32)
}

// held is that somebody relies on a value.
type held struct {
	life   *Life
	value  string
	prefix netip.Prefix
}

// byPool lists who had something of each pool.
func byPool(lives []*Life) map[string][]held {
	pools := map[string][]held{}
	for _, l := range lives {
		for _, v := range l.Values {
			pool, value := record.Split(v)
			pools[pool] = append(pools[pool], held{l, value, prefixOf(value)})
		}
	}
	return pools
}

// Resumed counts the operations of owners that had begun when their process was killed, and were ended by the next one.
func Resumed(lines []record.Line) int {
	began := map[string]int64{}   // of processes, by name
	pending := map[string]int64{} // of owners
	n := 0
	for _, line := range lines {
		process, _, _ := cutLast(line.Owner)
		switch line.What {
		case record.Began:
			began[line.Owner] = line.Time
		case record.Allocate, record.Release:
			pending[line.Owner] = line.Time
		case record.Allocated, record.Refused, record.Released:
			if at, found := pending[line.Owner]; found && at < began[process] {
				n++
			}
			delete(pending, line.Owner)
		}
	}
	return n
}

// cutLast finds the process of an owner: KIND/PROCESS/NAME.
func cutLast(owner string) (process, name string, found bool) {
	_, rest, _ := strings.Cut(owner, "/")
	return strings.Cut(rest, "/")
}
