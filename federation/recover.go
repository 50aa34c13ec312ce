// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"slices"
	"strconv"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// A ledger can be lost: a pool is deleted and made again, or restored from a backup without its status. What the
// clusters have been told is then the only record. So a VNI, a link or a subnet's CIDR that a distributed router carries
// is in use, whatever the ledger says: its owner gets it back, and nobody else gets it.

// recover takes what is in use and not in the ledger. It runs before anything new is handed out. Who has another value
// already, or carries what somebody else has, only keeps this one from others.
func (p *Planner) recover() {
	inputs := []any{p.carried, p.owners, p.admitted.value, p.holds.value, p.fleet.value}
	for _, n := range p.pools.sorted {
		inputs = append(inputs, n.entries.value)
	}
	for e := range p.orphan {
		if p.freed[e] {
			inputs = append(inputs, len(p.freed))
			break
		}
	}
	for _, stray := range p.astray.get(p.strays, inputs...).list {
		e := *stray
		if pool := p.poolOf(&e); pool != nil && e.name != "" && !p.hasOne(&e) && p.ledger.isFree(&e, p.insideOf(&e, pool)) {
			e.pool = pool.name
		}
		p.ledger.take(&e)
	}
}

// hasOne is true when the owner of a stray has something of its kind.
func (p *Planner) hasOne(e *entry) bool {
	return e.prefix.IsValid() && p.ledger.prefix(e.owner) != nil || e.number > 0 && p.ledger.vni(e.owner) != nil
}

// strays lists what routers carry and the ledger does not have for their owner.
func (p *Planner) strays() *poolEntries {
	found := &poolEntries{}
	values := map[owner][]string{}
	add := func(e *entry) {
		if !slices.Contains(values[e.owner], e.value) {
			values[e.owner] = append(values[e.owner], e.value)
			found.list = append(found.list, e)
		}
	}
	p.rangeStrays(add)
	for _, n := range p.routers.sorted {
		p.carriedBy(n, add)
	}
	for _, n := range p.subnets.sorted {
		if n.obj.Spec.FromPool != nil {
			p.carriedOf(n, add)
		}
	}
	p.heldStrays(add)
	return found
}

// carriedBy finds the VNI and the link of a router that the ledger does not have. The router remembers the entries that
// it was found in, because this goes through all routers whenever something is to be handed out.
func (p *Planner) carriedBy(n *routerNode, add func(*entry)) {
	if vni := n.spec.Vpc.VNI; vni > 0 && vni <= maxVNI && !(n.vni != nil && n.vni.counts && n.vni.number == uint32(vni)) {
		n.vni = p.seek(n, n.vpcOwner, &entry{value: strconv.Itoa(int(vni)), number: uint32(vni)}, add)
	}
	if link := n.spec.LinkCIDR; n.linkPrefix.IsValid() && !(n.link != nil && n.link.counts && n.link.value == link) {
		n.link = p.seek(n, n.linkOwner, &entry{value: link, prefix: n.linkPrefix}, add)
	}
}

// seek finds the entry of a value that a router carries, or adds one: it belongs to the Vpc that the router was made
// for, or to the one of that name which there is now.
func (p *Planner) seek(n *routerNode, name string, carried *entry, add func(*entry)) *entry {
	uid := n.spec.VpcUID
	if vpc := p.vpcs.byKey[n.vpcKey]; vpc != nil {
		uid = string(vpc.obj.UID)
	}
	for _, o := range []owner{{name, n.spec.VpcUID}, {name, uid}} {
		if e := first(p.ledger.byOwner[o], func(e *entry) bool { return e.value == carried.value }); e != nil {
			return e
		}
	}
	carried.owner = owner{name, uid}
	add(carried)
	return nil
}

// carriedOf finds the CIDRs of a subnet from a pool that routers carry and the ledger does not have.
func (p *Planner) carriedOf(n *subnetNode, add func(*entry)) {
	for _, r := range p.routersOf(n.vpcKey) {
		for _, s := range r.spec.Subnets {
			o := owner{"Subnet/" + string(n.key) + "/" + r.cluster, string(n.obj.UID)}
			if s.Name != n.obj.Name || first(p.ledger.byOwner[o], func(e *entry) bool { return e.value == s.CIDR }) != nil {
				continue
			}
			if prefix, err := ipam.ParsePrefix(s.CIDR); err == nil {
				add(&entry{owner: o, value: s.CIDR, prefix: prefix})
			}
		}
	}
}

// poolOf finds the innermost pool that a value is from; nil when no accepted pool has it.
func (p *Planner) poolOf(e *entry) (found *poolView) {
	for _, pool := range p.admitted.value.all {
		if pool.refused != nil || pool.domain != "" {
			continue
		}
		in := pool.purpose == networkv1alpha1.PurposeVNI && pool.first <= e.number && e.number <= pool.last
		if e.prefix.IsValid() {
			in = contains(pool.ranges, e.prefix)
		}
		if in && (found == nil || len(pool.inside) > len(found.inside)) {
			found = pool.poolView
		}
	}
	return found
}
