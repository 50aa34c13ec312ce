// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// judge decides on the pools one after the other: parents before what is nested in them, what the hub had accepted before what is new. What a
// pool takes out of its parent, and what it imports, is in the ledger when it is accepted, and not at all when it is not.
type judge struct {
	ledger *ledger
	// entries of a pool as they are stored, without those that are free.
	entries func(pool string) []*entry
	// addresses that are handed out singly.
	addresses []*entry
	views     map[string]*poolView
	judging   map[string]bool
	verdicts  map[string]*admittedPool
	// taken is what accepted Vpcs and Subnets use.
	taken func() []holding
	out   *pools
}

// domainOf is the routing domain of a pool; "" for Vpcs and links.
func domainOf(spec *networkv1alpha1.IPPoolSpec) string {
	if spec.Purpose == networkv1alpha1.PurposeExternal || spec.Purpose == networkv1alpha1.PurposeServiceVIP {
		return cmp.Or(spec.RoutingDomain, networkv1alpha1.DefaultRoutingDomain)
	}
	return ""
}

// judgePools decides on all pools.
func (p *Planner) judgePools() *pools {
	j := &judge{
		ledger: p.ledger, entries: p.standing, taken: p.holdings, addresses: p.addressEntries.value.list,
		views: map[string]*poolView{}, judging: map[string]bool{}, verdicts: map[string]*admittedPool{}, out: &pools{},
	}
	var order []*poolView
	for _, n := range p.pools.sorted {
		order, j.views[n.obj.Name] = append(order, n.view.value), n.view.value
	}
	slices.SortStableFunc(order, func(a, b *poolView) int {
		return cmp.Or(cmpTrueFirst(a.settled, b.settled), cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	for _, v := range order {
		j.pool(v)
	}
	return j.out
}

// standing lists the stored entries of a pool that are not free.
func (p *Planner) standing(pool string) []*entry {
	n := p.pools.byKey[Key(pool)]
	if n == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.entries.value.list), func(e *entry) bool { return p.freed[e] })
}

// pool decides on one pool.
func (j *judge) pool(v *poolView) *admittedPool {
	if a := j.verdicts[v.name]; a != nil {
		return a
	}
	j.judging[v.name] = true
	mark := len(j.ledger.fresh)
	a := &admittedPool{poolView: v, refused: v.invalid}
	if a.refused == nil && v.parent != "" {
		a.refused = j.nest(a)
	}
	for i, check := range []func(*admittedPool) *refusal{j.overlapsPools, j.overlapsHoldings, j.shrinks, j.imports} {
		if a.refused == nil {
			a.refused = check(a)
			a.keeps = i >= 2
		}
	}
	a.keeps = a.keeps && a.refused != nil
	if a.refused != nil {
		j.ledger.rollBack(mark)
	}
	for _, e := range j.ledger.fresh[mark:] {
		grant := *e
		grant.counts = false
		j.out.grants = append(j.out.grants, grant)
	}
	j.out.all = append(j.out.all, *a)
	j.verdicts[v.name] = a
	return a
}

// nest takes a pool's ranges out of its parent.
func (j *judge) nest(a *admittedPool) *refusal {
	parentView := j.views[a.parent]
	if parentView == nil {
		return refuse(networkv1alpha1.ReasonPoolNotFound, "spec.parent.name %q does not exist: make this IPPool, or name another in a new one", a.parent)
	}
	if j.judging[a.parent] && j.verdicts[a.parent] == nil {
		return refuse(networkv1alpha1.ReasonInvalid, "spec.parent.name %q is nested in this IPPool: make one of them anew without a parent", a.parent)
	}
	parent := j.pool(parentView)
	switch {
	case parent.purpose != a.purpose || parent.domain != a.domain:
		return refuse(networkv1alpha1.ReasonInvalid, "spec.parent.name %q is an IPPool for %s: name one of purpose %s and of the same routing domain", a.parent, parent.describe(), a.describe())
	case parent.refused != nil && !parent.keeps:
		return refuse(networkv1alpha1.ReasonPoolNotFound, "spec.parent.name %q is not accepted: %s", a.parent, parent.refused.message)
	}
	v := new(*a.poolView)
	a.poolView = v
	own := owner{name: "IPPool/" + v.name, uid: v.uid}
	if v.cut > 0 {
		e := j.ledger.prefix(own)
		if e == nil && parent.mayGive() {
			e = j.ledger.takePrefix([]*poolView{parent.poolView}, own, func(*poolView) int { return v.cut }, ipam.Request{})
		}
		if e == nil {
			return refuse(networkv1alpha1.ReasonPoolExhausted, "a /%d is asked of IPPool %q, which has none left: %s", v.cut, a.parent,
				j.ledger.cure(a.parent, "add a range to its spec.cidrs, or ask for less"))
		}
		v.ranges = []netip.Prefix{e.prefix}
	}
	v.inside = slices.Concat(v.ranges, parent.inside)
	for _, r := range v.ranges {
		if refused := j.claim(a, parent, own, r); refused != nil {
			return refused
		}
	}
	return nil
}

// claim takes one range of a nested pool out of its parent, unless it has it.
func (j *judge) claim(a, parent *admittedPool, own owner, r netip.Prefix) *refusal {
	if slices.ContainsFunc(j.ledger.byOwner[own], func(e *entry) bool { return e.prefix == r && e.pool == parent.name }) {
		return nil
	}
	if !contains(parent.ranges, r) {
		return refuse(networkv1alpha1.ReasonOutsidePool, "spec.cidrs %s is outside of %s of IPPool %q, its parent: choose a range inside", r, strings.Join(texts(parent.ranges), ", "), parent.name)
	}
	if e := j.holder(parent.poolView, r); e != nil {
		return refuse(networkv1alpha1.ReasonInUse, "spec.cidrs %s overlaps %s of IPPool %q, which %s has: choose another range", r, e.value, parent.name, e.name)
	}
	if !parent.mayGive() {
		return refuse(networkv1alpha1.ReasonPoolNotFound, "IPPool %q, the parent, hands out nothing now: look at its conditions", parent.name)
	}
	j.ledger.take(&entry{owner: own, pool: parent.name, domain: a.domain, value: r.String(), prefix: r})
	return nil
}

// mayGive is true for a pool that may hand out.
func (p *admittedPool) mayGive() bool { return p.refused == nil && !p.deleting }

// holder finds who has something of a range in the ledger of a pool. What is nested in the pool is there as a whole.
func (j *judge) holder(v *poolView, r netip.Prefix) *entry {
	overlaps := func(e *entry) bool { return e.prefix.IsValid() && e.prefix.Overlaps(r) }
	if e := first(j.entries(v.name), overlaps); e != nil {
		return e
	}
	if e := first(j.ledger.fresh, func(e *entry) bool { return e.pool == v.name && overlaps(e) }); e != nil {
		return e
	}
	return first(j.addresses, func(e *entry) bool { return e.object == Key(v.name) && overlaps(e) })
}

// overlapsPools compares a pool with those before it, and with itself.
func (j *judge) overlapsPools(a *admittedPool) *refusal {
	if p, q, found := ipam.OwnOverlap(a.ranges); found {
		return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "spec.cidrs %s and %s overlap: remove one of them", p, q)
	}
	set := ipam.NewSet(a.ranges...)
	for i := range j.out.all {
		other := &j.out.all[i]
		if other.refused != nil && !other.keeps || j.nested(a.poolView, other.poolView) || j.nested(other.poolView, a.poolView) {
			continue
		}
		if a.purpose == networkv1alpha1.PurposeVNI && other.purpose == a.purpose && a.first <= other.last && other.first <= a.last {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "spec.vnis %d to %d overlaps %d to %d of IPPool %q: choose another range", a.first, a.last, other.first, other.last, other.name)
		}
		if !a.meets(other.poolView) {
			continue
		}
		if p, q, found := ipam.FirstOverlap(set, ipam.NewSet(other.ranges...)); found {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "spec.cidrs %s overlaps %s of IPPool %q: choose another range", p, q, other.name)
		}
	}
	return nil
}

// meets is true when addresses of two pools may meet: those of one routing domain, and links everywhere.
func (v *poolView) meets(other *poolView) bool {
	return v.domain == other.domain || v.purpose == networkv1alpha1.PurposeLink || other.purpose == networkv1alpha1.PurposeLink
}

// nested is true when a pool lies in another one.
func (j *judge) nested(inner, outer *poolView) bool {
	for range len(j.views) {
		if inner == nil || inner.parent == "" {
			return false
		}
		if inner.parent == outer.name {
			return true
		}
		inner = j.views[inner.parent]
	}
	return false
}

// overlapsHoldings keeps a new link range away from what is in use already: otherwise one pool could switch off a fleet.
func (j *judge) overlapsHoldings(a *admittedPool) *refusal {
	if a.purpose != networkv1alpha1.PurposeLink || a.settled {
		return nil
	}
	ranges := ipam.NewSet(a.ranges...)
	for _, h := range j.taken() {
		if q, found := ranges.Overlap(h.prefix); found {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "spec.cidrs %s overlaps %s of %s: choose another range", q, h.prefix, h.holder)
		}
	}
	return nil
}

// shrinks finds what was taken out of a pool while somebody has it.
func (j *judge) shrinks(a *admittedPool) *refusal {
	field := "spec.cidrs"
	lost := func(e *entry) bool { return e.prefix.IsValid() && !contains(a.ranges, e.prefix) }
	if a.purpose == networkv1alpha1.PurposeVNI {
		field, lost = "spec.vnis", func(e *entry) bool { return e.number > 0 && (e.number < a.first || a.last < e.number) }
	}
	e := first(j.entries(a.name), func(e *entry) bool { return lost(e) && e.kind != "Import" })
	if e == nil {
		e = first(j.addresses, func(e *entry) bool { return e.object == Key(a.name) && lost(e) })
	}
	if e == nil {
		return nil
	}
	return refuse(networkv1alpha1.ReasonInUse, "%s does not have %s any more, which %s has: put it back, or delete that first; until then it stays handed out, and nothing else is", field, e.value, e.name)
}

// imports enters what somebody outside of Tombolo uses: all of it or nothing.
func (j *judge) imports(a *admittedPool) *refusal {
	for i, im := range a.imports {
		own := owner{name: "Import/" + im.Holder}
		e := &entry{owner: own, pool: a.name, domain: a.domain, value: im.Value, kind: "Import"}
		if refused := e.read(a.poolView); refused != nil {
			return refused
		}
		for _, other := range a.imports[:i] {
			if p, err := ipam.ParsePrefix(other.Value); err == nil && e.prefix.IsValid() && p.Overlaps(e.prefix) {
				return refuse(networkv1alpha1.ReasonInUse, "spec.imports %s of %q overlaps %s of %q: remove one of them", im.Value, im.Holder, other.Value, other.Holder)
			}
		}
		if slices.ContainsFunc(j.ledger.byOwner[own], func(have *entry) bool { return have.pool == a.name && have.value == im.Value }) {
			continue
		}
		if have := j.importedOver(a.poolView, e); have != nil {
			return refuse(networkv1alpha1.ReasonInUse, "spec.imports %s of %q overlaps %s, which %s has: delete one of them", im.Value, im.Holder, have.value, have.name)
		}
		j.ledger.take(e)
	}
	return nil
}

// importedOver finds who has what an import names.
func (j *judge) importedOver(v *poolView, e *entry) *entry {
	if e.prefix.IsValid() {
		return j.holder(v, e.prefix)
	}
	for _, list := range [][]*entry{j.entries(v.name), j.ledger.fresh} {
		if have := first(list, func(have *entry) bool { return have.number == e.number }); have != nil {
			return have
		}
	}
	return nil
}

// read reads the value of an import against its pool.
func (e *entry) read(v *poolView) *refusal {
	if v.purpose == networkv1alpha1.PurposeVNI {
		n, err := strconv.ParseUint(e.value, 10, 24)
		if err != nil || n == 0 {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.imports: %q is no VNI: write a number such as 4097", e.value)
		}
		if e.number = uint32(n); e.number < v.first || v.last < e.number {
			return refuse(networkv1alpha1.ReasonOutsidePool, "spec.imports %s is outside of spec.vnis %d to %d: remove it", e.value, v.first, v.last)
		}
		return nil
	}
	p, err := ipam.ParsePrefix(e.value)
	if err != nil {
		return refuse(networkv1alpha1.ReasonInvalid, "spec.imports: %v", err)
	}
	if !contains(v.ranges, p) {
		return refuse(networkv1alpha1.ReasonOutsidePool, "spec.imports %s is outside of the pool's %s: remove it, or add its range", e.value, strings.Join(texts(v.ranges), ", "))
	}
	e.prefix = p
	return nil
}

// contains is true when a prefix lies in one of the ranges.
func contains(ranges []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) })
}

// describe says what a pool is for.
func (v *poolView) describe() string {
	if v.domain == "" {
		return string(v.purpose)
	}
	return fmt.Sprintf("%s in routing domain %s", v.purpose, v.domain)
}
