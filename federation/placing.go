// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/tombolo-io/tombolo/federation/ipam"
)

// How the planner places subnets: place.go decides, and here is what each decision depends on, so that only what changed is decided anew.

// settleSubnets reads the subnets and gives the accepted ones their places again.
func (p *Planner) settleSubnets() {
	links := p.links.value
	for _, n := range p.subnets.sorted {
		var a *admission
		if n.vpc != nil {
			a = n.vpc.admission.value
		}
		n.view.get(func() *subnetView { return readSubnet(n, a, links) }, n.obj, a, links)
	}
	for _, n := range p.vpcs.sorted {
		inputs := append(p.inputs[:0], n.admission.value, links)
		for _, s := range n.subnets {
			v := s.view.value
			inputs = append(inputs, v)
			if v.request == nil {
				continue
			}
			for _, need := range v.needs {
				inputs = append(inputs, p.ledger.prefix(need.owner))
			}
		}
		a := n.admission.value
		s := n.settled.get(func() *settledSubnets { return settle(n.views(), a, links, p.prefixOf) }, inputs...)
		n.claims = n.settledClaims.get(func() *ipam.Set { return claimsOf(a, s.set) }, a, s)
		n.pairs, p.inputs = n.pairs[:0], inputs
	}
}

// views of the Vpc's subnets, in order of age.
func (n *vpcNode) views() []*subnetView {
	views := make([]*subnetView, 0, len(n.subnets))
	for _, s := range n.subnets {
		views = append(views, s.view.value)
	}
	return views
}

// prefixOf is what a subnet has in a cluster.
func (p *Planner) prefixOf(v *subnetView, need linkNeed) (prefix netip.Prefix, found bool) {
	if v.request == nil {
		return v.prefix, true
	}
	if e := p.ledger.prefix(need.owner); e != nil {
		return e.prefix, true
	}
	return prefix, false
}

// placeSubnets places the new subnets and sums up where all subnets are.
func (p *Planner) placeSubnets(issuer *issuer) {
	b := &builder{
		issuer: issuer, links: p.links.value, reserved: p.reserved.value,
		added: map[*vpcNode][]placement{}, refused: map[*subnetView]*refusal{}, unallocated: map[*subnetView]*refusal{},
	}
	var pending []pendingSubnet
	for _, n := range p.vpcs.sorted {
		pending = append(pending, n.settled.value.pending...)
	}
	b.placeNew(pending)
	for _, n := range p.vpcs.sorted {
		added := &noPlacements
		if list := b.added[n]; len(list) > 0 {
			added = &placements{list: list}
		}
		added = n.added.set(added)
		t := n.territory.get(func() *territory {
			return newTerritory(n.admission.value, slices.Concat(n.settled.value.placed, added.list))
		}, n.admission.value, n.settled.value, added)
		n.claims = n.allClaims.get(func() *ipam.Set { return t.claims }, t.claims)
	}
	for _, n := range p.subnets.sorted {
		v := n.view.value
		inputs := append(p.inputs[:0], v, b.refused[v], b.unallocated[v])
		if n.vpc != nil {
			inputs = append(inputs, n.vpc.settled.value, n.vpc.territory.value)
		}
		n.verdict.get(func() *subnetVerdict { return b.verdict(n) }, inputs...)
		p.inputs = inputs
	}
}

// verdict sums up what was decided on a Subnet.
func (b *builder) verdict(n *subnetNode) *subnetVerdict {
	v := n.view.value
	verdict := &subnetVerdict{refused: cmp.Or(v.refused, b.refused[v]), unallocated: b.unallocated[v]}
	if n.vpc == nil {
		return verdict
	}
	verdict.refused = cmp.Or(verdict.refused, n.vpc.settled.value.refused[v])
	for _, placed := range n.vpc.territory.value.placed {
		if placed.view == v {
			verdict.placed = append(verdict.placed, placed)
		}
	}
	return verdict
}
