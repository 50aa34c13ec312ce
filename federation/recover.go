// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"net/netip"
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
	inputs := []any{p.carried, p.owners, p.admitted.value}
	for _, n := range p.pools.sorted {
		inputs = append(inputs, n.entries.value)
	}
	for _, stray := range p.astray.get(p.strays, inputs...).list {
		e := *stray
		if len(p.ledger.byOwner[e.owner]) == 0 && p.ledger.isFree(&e) {
			e.pool = p.poolOf(&e)
		}
		p.ledger.take(&e)
	}
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
	for _, n := range p.routers.sorted {
		p.carriedBy(n, add)
	}
	return found
}

// carriedBy finds what a router carries and the ledger does not have.
func (p *Planner) carriedBy(n *routerNode, add func(*entry)) {
	uid := n.spec.VpcUID
	if vpc := p.vpcs.byKey[n.vpcKey]; vpc != nil {
		uid = string(vpc.obj.UID)
	}
	isVNI := func(e *entry) bool { return int64(e.number) == int64(n.spec.Vpc.VNI) }
	if vni := n.spec.Vpc.VNI; vni > 0 && vni <= maxVNI && !p.ledger.has(owner{n.vpcOwner, uid}, isVNI) && !p.ledger.has(owner{n.vpcOwner, n.spec.VpcUID}, isVNI) {
		add(&entry{owner: owner{n.vpcOwner, uid}, value: strconv.Itoa(int(vni)), number: uint32(vni)})
	}
	if !p.ledger.has(owner{n.linkOwner, n.spec.VpcUID}, func(e *entry) bool { return e.value == n.spec.LinkCIDR }) {
		p.addPrefix(owner{n.linkOwner, uid}, n.spec.LinkCIDR, add)
	}
	for _, s := range n.spec.Subnets {
		subnet := p.subnets.byKey[joinKey(n.spec.Vpc.Namespace, s.Name)]
		if subnet != nil && subnet.obj.Spec.FromPool != nil && subnet.vpcKey == n.vpcKey {
			p.addPrefix(owner{name: "Subnet/" + string(subnet.key) + "/" + n.cluster, uid: string(subnet.obj.UID)}, s.CIDR, add)
		}
	}
}

// addPrefix adds a CIDR that the ledger does not have for its owner.
func (p *Planner) addPrefix(o owner, cidr string, add func(*entry)) {
	if p.ledger.has(o, func(e *entry) bool { return e.value == cidr }) {
		return
	}
	if prefix, err := ipam.ParsePrefix(cidr); err == nil {
		add(&entry{owner: o, value: cidr, prefix: prefix})
	}
}

// poolOf finds the pool that a value is from; empty when no accepted pool has it.
func (p *Planner) poolOf(e *entry) string {
	for _, pool := range p.admitted.value.all {
		if pool.refused != nil {
			continue
		}
		in := pool.purpose == networkv1alpha1.PurposeVNI && pool.first <= e.number && e.number <= pool.last
		if e.prefix.IsValid() {
			in = slices.ContainsFunc(pool.ranges, func(r netip.Prefix) bool { return r.Bits() <= e.prefix.Bits() && r.Contains(e.prefix.Addr()) })
		}
		if in {
			return pool.name
		}
	}
	return ""
}
