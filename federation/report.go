// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"slices"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// report makes the statuses of what people wrote.
func (p *Planner) report() {
	for _, n := range p.pools.sorted {
		pool, s := p.admitted.value.named(n.obj.Name), n.stock.value
		room, singles := p.room(pool), p.singles(n.key)
		n.status.get(func() *networkv1alpha1.IPPoolStatus { return poolStatus(pool, s, singles, room) }, pool, s, singles, room)
	}
	for _, n := range p.vpcs.sorted {
		a, address, t, r, left := n.admission.value, n.address.value, n.territory.value, n.realization.value, n.leftovers.value
		f, e := n.footprint.value, p.encryption.value
		n.status.get(func() *networkv1alpha1.VpcStatus { return vpcStatus(a, address, t, r, left, f, e) }, a, address, t, r, left, f, e)
	}
	for _, n := range p.subnets.sorted {
		v, verdict, r := n.view.value, n.verdict.value, &nothingRealized
		if n.vpc != nil {
			r = n.vpc.realization.value
		}
		n.status.get(func() *networkv1alpha1.SubnetStatus { return subnetStatus(v, verdict, r) }, v, verdict, r)
	}
	for _, n := range p.peerings.sorted {
		p.inputs = n.report(p.encryption.value, p.inputs)
	}
}

// report makes the status of a peering.
func (n *peeringNode) report(e *encryption, scratch []any) []any {
	v, verdict, address, programmable := n.view.value, n.verdict.value, n.address.value, n.programmable != nil
	inputs := append(scratch[:0], v, verdict, address, programmable)
	var a, b end
	if verdict.active {
		a, b = end{n.vpc.footprint.value, n.vpc.realization.value}, end{n.peer.footprint.value, n.peer.realization.value}
		inputs = append(inputs, a.footprint, a.realization, b.footprint, b.realization, e)
	}
	n.status.get(func() *networkv1alpha1.VpcPeeringStatus {
		return peeringStatus(v, verdict, address, programmable, a, b, e)
	}, inputs...)
	return inputs
}

// singles is how many addresses of a pool are handed out singly.
func (p *Planner) singles(pool Key) (n int64) {
	for _, e := range p.addressEntries.value.list {
		if e.object == pool {
			n++
		}
	}
	return n
}

// room is true when a pool has at least one more of what it hands out by default.
func (p *Planner) room(pool *admittedPool) bool {
	if pool.purpose == networkv1alpha1.PurposeVNI {
		_, ok := p.ledger.findVNI(pool.poolView)
		return ok
	}
	_, ok := p.ledger.find(pool.poolView, ipam.Request{Bits: int(pool.lengths.Default)})
	return ok
}

// hand puts the Result together, and what has changed in it.
func (p *Planner) hand(deletions []Deletion) (Result, Changes) {
	shelve(&p.out.pools, p.pools.sorted, p.pools.gone, func(n *poolNode) (Key, *networkv1alpha1.IPPoolStatus, **networkv1alpha1.IPPoolStatus) {
		return n.key, n.status.value, &n.shelved
	})
	shelve(&p.out.vpcs, p.vpcs.sorted, p.vpcs.gone, func(n *vpcNode) (Key, *networkv1alpha1.VpcStatus, **networkv1alpha1.VpcStatus) {
		return n.key, n.status.value, &n.shelved
	})
	shelve(&p.out.subnets, p.subnets.sorted, p.subnets.gone, func(n *subnetNode) (Key, *networkv1alpha1.SubnetStatus, **networkv1alpha1.SubnetStatus) {
		return n.key, n.status.value, &n.shelved
	})
	shelve(&p.out.peerings, p.peerings.sorted, p.peerings.gone, func(n *peeringNode) (Key, *networkv1alpha1.VpcPeeringStatus, **networkv1alpha1.VpcPeeringStatus) {
		return n.key, n.status.value, &n.shelved
	})
	p.shelveRouters()
	p.shelveGateways()
	r, c := Result{Deletions: deletions, Released: p.forgotten()}, Changes{}
	r.Pools, c.Pools = p.out.pools.hand()
	r.Routers, c.Routers = p.out.routers.hand()
	r.Gateways, c.Gateways = p.out.gateways.hand()
	r.Vpcs, c.Vpcs = p.out.vpcs.hand()
	r.Subnets, c.Subnets = p.out.subnets.hand()
	r.Peerings, c.Peerings = p.out.peerings.hand()
	return r, c
}

// shelve puts on a shelf what is new on nodes, and takes off what is gone. of returns the key of a node, its value,
// and where the node notes which value is on the shelf.
func shelve[N, V any](s *shelf[V], nodes, gone []N, of func(N) (Key, *V, **V)) {
	for _, n := range gone {
		key, _, _ := of(n)
		s.drop(key)
	}
	for _, n := range nodes {
		if key, value, shelved := of(n); *shelved != value {
			s.put(key, *value)
			*shelved = value
		}
	}
}

// shelveRouters does the same for routers, of which a Vpc has several.
func (p *Planner) shelveRouters() {
	for _, n := range p.vpcs.gone {
		p.exchangeRouters(n.distributed, &routerSet{})
	}
	for _, n := range p.vpcs.sorted {
		p.exchangeRouters(n.distributed, n.routers.value)
		n.distributed = n.routers.value
	}
}

func (p *Planner) exchangeRouters(before, after *routerSet) {
	if before == after {
		return
	}
	if before != nil {
		for _, r := range before.list {
			if !slices.ContainsFunc(after.list, func(s *spokev1alpha1.LocalRouter) bool { return s.Namespace == r.Namespace }) {
				p.out.routers.drop(joinKey(r.Namespace, r.Name))
			}
		}
	}
	for _, r := range after.list {
		if before == nil || !slices.Contains(before.list, r) {
			p.out.routers.put(joinKey(r.Namespace, r.Name), r)
		}
	}
}

// shelveGateways does the same for gateways.
func (p *Planner) shelveGateways() {
	before, after := p.sentTo, p.gateway.value
	if before == after {
		return
	}
	if before != nil {
		for _, g := range before.list {
			if !slices.ContainsFunc(after.list, func(h *spokev1alpha1.InterconnectGateway) bool { return h.Name == g.Name }) {
				p.out.gateways.drop(joinKey(g.Namespace, g.Name))
			}
		}
	}
	for _, g := range after.list {
		if before == nil || !slices.Contains(before.list, g) {
			p.out.gateways.put(joinKey(g.Namespace, g.Name), g)
		}
	}
	p.sentTo = after
}
