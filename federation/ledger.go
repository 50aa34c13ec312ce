// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// owner is who an entry of a ledger belongs to.
type owner struct {
	// name is kind/namespace/name[/cluster].
	name string
	uid  string
}

// entry is one line of a pool's ledger.
type entry struct {
	owner
	pool  string
	value string
	// prefix is valid for entries of CIDRs.
	prefix netip.Prefix
	// number is the VNI; 0 is none.
	number uint32
	// domain is where the prefix is routed: no two entries of one domain overlap, unless one lies in the other by design.
	domain string
	// released is what was stored: the owner was gone already.
	released bool
	// kind, object and cluster are the parts of the owner's name. Only stored entries have them.
	kind    string
	object  Key
	cluster string
	// counts is true while the entry is in the Planner's ledger, for its owner.
	counts bool
}

// maxLedgerBytes is how large a pool's ledger may become by what is handed out: etcd takes no object of more than 1.5 MiB, and a write costs more the
// larger it is. What was handed out before, and what clusters say that they have, is kept beyond it.
const maxLedgerBytes = 1 << 20

// bytes of the entry in the object of its pool: its texts, and the names of the fields.
func (e *entry) bytes() int {
	return len(`{"owner":"","uid":"","value":""},`) + len(e.name) + len(e.uid) + len(e.value) + len(`"released":true,`)
}

// poolEntries is the ledger of one pool as it was stored, in order of value.
type poolEntries struct {
	list []*entry
}

// readEntries reads a ledger. Lines that stay as they were keep their entry.
func readEntries(pool *networkv1alpha1.IPPool, before *poolEntries) *poolEntries {
	var known []*entry
	if before != nil {
		known = before.list
	}
	read := &poolEntries{list: make([]*entry, 0, len(pool.Status.Allocations))}
	next := 0
	for _, a := range pool.Status.Allocations {
		if next == len(known) || known[next].allocation() != a {
			e := newEntry(pool, a)
			i, found := slices.BinarySearchFunc(known, e, (*entry).compare)
			if !found {
				read.list = append(read.list, e)
				continue
			}
			next = i
		}
		read.list = append(read.list, known[next])
		next++
	}
	slices.SortFunc(read.list, (*entry).compare)
	read.list = slices.CompactFunc(read.list, func(a, b *entry) bool { return a.compare(b) == 0 })
	return read
}

func newEntry(pool *networkv1alpha1.IPPool, a networkv1alpha1.Allocation) *entry {
	e := &entry{owner: owner{name: a.Owner, uid: a.UID}, pool: pool.Name, domain: domainOf(&pool.Spec), value: a.Value, released: a.Released}
	if p, err := ipam.ParsePrefix(a.Value); err == nil {
		e.prefix = p
	} else if n, err := strconv.ParseUint(a.Value, 10, 24); err == nil {
		e.number = uint32(n)
	}
	switch parts := strings.SplitN(a.Owner, "/", 4); len(parts) {
	case 2:
		e.kind, e.object = parts[0], Key(parts[1])
	case 3:
		e.kind, e.object = parts[0], joinKey(parts[1], parts[2])
	case 4:
		e.kind, e.object, e.cluster = parts[0], joinKey(parts[1], parts[2]), parts[3]
	}
	return e
}

func (e *entry) allocation() networkv1alpha1.Allocation {
	return networkv1alpha1.Allocation{Value: e.value, Owner: e.name, UID: e.uid, Released: e.released}
}

// compare orders by value; what can't be read comes first.
func (e *entry) compare(f *entry) int {
	return cmp.Or(ipam.Compare(e.prefix, f.prefix), cmp.Compare(e.number, f.number),
		cmp.Compare(e.value, f.value), cmp.Compare(e.name, f.name), cmp.Compare(e.uid, f.uid))
}

// size of the entry in what its pool counts.
func (e *entry) size() int64 {
	switch {
	case e.prefix.IsValid():
		return ipam.Size(e.prefix)
	case e.number > 0:
		return 1
	}
	return 0
}

// ledger is the entries of all pools: those that were stored and stay, and those of this plan.
type ledger struct {
	byOwner map[owner][]*entry
	// spaces by routing domain; "" is that of Vpcs and links.
	spaces  map[string]*ipam.Space
	numbers *ipam.Numbers
	// bytes of each pool's entries.
	bytes map[string]int
	// fresh are the entries of this plan.
	fresh []*entry
}

func newLedger() *ledger {
	return &ledger{byOwner: map[owner][]*entry{}, spaces: map[string]*ipam.Space{}, numbers: ipam.NewNumbers(), bytes: map[string]int{}}
}

// space of a routing domain.
func (l *ledger) space(domain string) *ipam.Space {
	if l.spaces[domain] == nil {
		l.spaces[domain] = ipam.NewSpace()
	}
	return l.spaces[domain]
}

// prefix finds the prefix of an owner. Of several, which only a hand can have made, it is always the same.
func (l *ledger) prefix(o owner) *entry {
	return first(l.byOwner[o], func(e *entry) bool { return e.prefix.IsValid() })
}

// vni finds the VNI of an owner.
func (l *ledger) vni(o owner) *entry {
	return first(l.byOwner[o], func(e *entry) bool { return e.number > 0 })
}

func first(entries []*entry, match func(*entry) bool) *entry {
	if i := slices.IndexFunc(entries, match); i >= 0 {
		return entries[i]
	}
	return nil
}

// isFree is true when nobody has an entry's value, but for the blocks that it is to lie in.
func (l *ledger) isFree(e *entry, inside []netip.Prefix) (free bool) {
	if e.prefix.IsValid() {
		space := l.space(e.domain)
		space.Inside(inside, func() {
			_, free = space.Find(ipam.Request{Bits: e.prefix.Bits(), From: []netip.Prefix{e.prefix}})
		})
		return free
	}
	_, free = l.numbers.Find(e.number, e.number)
	return free
}

// full is true when a pool's ledger takes no further entry, however much of its ranges is left.
func (l *ledger) full(pool string) bool { return l.bytes[pool] >= maxLedgerBytes }

// find looks for a prefix of a pool that nobody has.
func (l *ledger) find(pool *poolView, r ipam.Request) (p netip.Prefix, found bool) {
	if l.full(pool.name) {
		return p, false
	}
	r.From = pool.ranges
	if pool.exclude.Len() > 0 {
		r.Avoid = append(slices.Clone(r.Avoid), pool.exclude)
	}
	space := l.space(pool.domain)
	space.Inside(pool.inside, func() { p, found = space.Find(r) })
	return p, found
}

// add takes an entry's value. An entry of no pool only keeps its value from others.
func (l *ledger) add(e *entry) {
	if e.pool != "" {
		l.byOwner[e.owner] = append(l.byOwner[e.owner], e)
		if entries := l.byOwner[e.owner]; len(entries) > 1 {
			slices.SortFunc(entries, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.pool, b.pool), a.compare(b)) })
		}
		e.counts = true
		l.bytes[e.pool] += e.bytes()
	}
	if e.prefix.IsValid() {
		l.space(e.domain).Reserve(e.prefix)
	} else if e.number > 0 {
		l.numbers.Reserve(e.number)
	}
}

// remove gives an entry's value back.
func (l *ledger) remove(e *entry) {
	e.counts = false
	if e.pool != "" {
		l.bytes[e.pool] -= e.bytes()
	}
	entries := slices.DeleteFunc(l.byOwner[e.owner], func(f *entry) bool { return f == e })
	if len(entries) == 0 {
		delete(l.byOwner, e.owner)
	} else {
		l.byOwner[e.owner] = entries
	}
	if e.prefix.IsValid() {
		l.space(e.domain).Release(e.prefix)
	} else if e.number > 0 {
		l.numbers.Release(e.number)
	}
}

// rollBack takes back what this plan handed out after the mark.
func (l *ledger) rollBack(mark int) {
	for _, e := range l.fresh[mark:] {
		l.remove(e)
	}
	l.fresh = l.fresh[:mark]
}

// takePrefix hands out a prefix from the first pool that has one. nil: none has.
func (l *ledger) takePrefix(from []*poolView, o owner, bits func(*poolView) int, r ipam.Request) *entry {
	for _, pool := range from {
		r.Bits = bits(pool)
		if p, ok := l.find(pool, r); ok {
			return l.take(&entry{owner: o, pool: pool.name, domain: pool.domain, value: p.String(), prefix: p})
		}
	}
	return nil
}

// takeVNI hands out a VNI from the first pool that has one. nil: none has.
func (l *ledger) takeVNI(from []*poolView, o owner) *entry {
	for _, pool := range from {
		if n, ok := l.findVNI(pool); ok {
			return l.take(&entry{owner: o, pool: pool.name, value: strconv.FormatUint(uint64(n), 10), number: n})
		}
	}
	return nil
}

// findVNI looks for a VNI of a pool that nobody has.
func (l *ledger) findVNI(pool *poolView) (uint32, bool) {
	if l.full(pool.name) {
		return 0, false
	}
	return l.numbers.Find(pool.first, pool.last)
}

// cure says what helps when a pool has nothing left.
func (l *ledger) cure(pool, otherwise string) string {
	if l.full(pool) {
		return "its ledger is full, whatever is left of its ranges: take another IPPool, or one nested in it"
	}
	return otherwise
}

func (l *ledger) take(e *entry) *entry {
	l.add(e)
	l.fresh = append(l.fresh, e)
	return e
}

// stock is what of a pool's entries counts in this plan.
type stock struct {
	list []*entry
	// allocated is how much of the pool they are: what lies in another one counts once.
	allocated int64
	// bytes of the entries.
	bytes int
}

// stock is the stored entries without the freed ones and with the fresh ones, in order of value. What orphans have is marked.
func newStock(stored *poolEntries, orphaned, freed map[*entry]bool, fresh []*entry) *stock {
	s := &stock{list: make([]*entry, 0, len(stored.list)+len(fresh))}
	for _, e := range stored.list {
		if freed[e] {
			continue
		}
		if e.released != orphaned[e] {
			e = new(*e)
			e.released, e.counts = !e.released, false
		}
		s.list = append(s.list, e)
	}
	s.list = append(s.list, fresh...)
	slices.SortFunc(s.list, (*entry).compare)
	var around netip.Prefix
	for _, e := range s.list {
		s.bytes += e.bytes()
		if e.prefix.IsValid() && around.IsValid() && around.Overlaps(e.prefix) {
			continue // a wider prefix comes before those in it
		}
		s.allocated += e.size()
		around = e.prefix
	}
	return s
}
