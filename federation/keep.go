// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"net/netip"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// openLedger brings the ledger to what is stored: without what the plan before handed out, and without the entries
// whose owner is gone and that everybody has let go of.
func (p *Planner) openLedger() {
	p.ledger.rollBack(0)
	for _, n := range p.pools.gone {
		p.exchange(n.applied, nil)
	}
	for _, n := range p.pools.sorted {
		p.exchange(n.applied, n.entries.value)
		n.applied = n.entries.value
	}
	p.exchange(p.applied, p.addressEntries.value)
	p.applied = p.addressEntries.value
	before := p.freed
	p.free(p.orphans())
	for e := range before {
		if !p.freed[e] {
			p.ledger.add(e)
		}
	}
	for e := range p.freed {
		if !before[e] {
			p.ledger.remove(e)
		}
	}
}

// exchange takes the entries of a pool for those that it had. Both are in order, so one walk finds the difference.
func (p *Planner) exchange(before, after *poolEntries) {
	if before == after {
		return
	}
	var old, now []*entry
	if before != nil {
		old = before.list
	}
	if after != nil {
		now = after.list
	}
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(old) > 0 && len(now) > 0 && old[0] == now[0]:
			old, now = old[1:], now[1:]
		case len(now) == 0 || len(old) > 0 && old[0].compare(now[0]) <= 0:
			if !p.freed[old[0]] {
				p.ledger.remove(old[0])
			}
			delete(p.freed, old[0])
			old = old[1:]
		default:
			p.ledger.add(now[0])
			now = now[1:]
		}
	}
}

// orphans are the entries whose owner is gone or going.
func (p *Planner) orphans() []*entry {
	inputs := []any{p.owners, p.fleet.value}
	for _, n := range p.pools.sorted {
		inputs = append(inputs, n.entries.value, n.view.value)
	}
	return p.orphaned.get(func() *poolEntries {
		all := &poolEntries{}
		for _, n := range p.pools.sorted {
			for _, e := range n.entries.value.list {
				if !p.alive(e) {
					all.list = append(all.list, e)
				}
			}
		}
		return all
	}, inputs...).list
}

// handedOut is true when something in a range of a pool is in its ledger.
func (p *Planner) handedOut(pool string, r netip.Prefix) bool {
	n := p.pools.byKey[Key(pool)]
	for _, e := range n.entries.value.list {
		if e.prefix.IsValid() && r.Overlaps(e.prefix) {
			return true
		}
	}
	return false
}

// linksInUse lists the links that pools have handed out and routers carry.
func (p *Planner) linksInUse() []holding {
	var all []holding
	for _, n := range p.pools.sorted {
		if n.obj.Spec.Purpose != networkv1alpha1.PurposeLink {
			continue
		}
		for _, e := range n.entries.value.list {
			if e.prefix.IsValid() {
				all = append(all, holding{prefix: e.prefix, holder: "a link of " + e.name})
			}
		}
	}
	for _, n := range p.routers.sorted {
		if n.linkPrefix.IsValid() {
			all = append(all, holding{prefix: n.linkPrefix, holder: "a link of LocalRouter " + string(n.key)})
		}
	}
	return all
}

// holdings lists what accepted Vpcs and Subnets use already.
func (p *Planner) holdings() []holding {
	var all []holding
	add := func(cidr, holder string) {
		if prefix, err := netip.ParsePrefix(cidr); err == nil {
			all = append(all, holding{prefix: prefix, holder: holder})
		}
	}
	for _, n := range p.vpcs.sorted {
		if !wasUsable(n.obj) {
			continue
		}
		for _, c := range n.obj.Spec.CIDRs {
			add(string(c), "Vpc "+string(n.key))
		}
		for _, c := range n.obj.Status.CIDRs {
			add(c, "Vpc "+string(n.key))
		}
	}
	for _, n := range p.subnets.sorted {
		for _, c := range n.obj.Status.Clusters {
			add(c.CIDR, "Subnet "+string(n.key))
		}
	}
	return all
}

// stockPools puts together the new ledgers.
func (p *Planner) stockPools() {
	fresh := map[string][]*entry{}
	for _, e := range p.ledger.fresh {
		fresh[e.pool] = append(fresh[e.pool], e)
	}
	for _, n := range p.pools.sorted {
		inputs := []any{n.entries.value}
		for _, e := range n.entries.value.list {
			if len(p.orphan) > 0 && p.orphan[e] {
				inputs = append(inputs, e, p.freed[e])
			}
		}
		for _, e := range fresh[n.obj.Name] {
			inputs = append(inputs, e)
		}
		n.stock.get(func() *stock { return newStock(n.entries.value, p.orphan, p.freed, fresh[n.obj.Name]) }, inputs...)
	}
}
