// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"slices"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// vpcRange is what spec.cidr of a Vpc got.
type vpcRange struct {
	prefix  netip.Prefix
	pool    string
	refused *refusal
}

// noRange is that of a Vpc that asks for none.
var noRange vpcRange

// rangeVpcs gives each Vpc that asks for one its range, the older one first. It comes before all else: what a Vpc may have is held against it.
func (p *Planner) rangeVpcs(issuer *issuer) {
	for _, n := range p.vpcs.sorted {
		if n.obj.DeletionTimestamp != nil { // what was lost of it is kept from others for as long as it is known
			issuer.begin()
		}
		if n.obj.Spec.CIDR == nil {
			n.ranged.set(&noRange)
			continue
		}
		n.ranged.set(p.rangeOf(issuer, n))
	}
}

func (p *Planner) rangeOf(issuer *issuer, n *vpcNode) *vpcRange {
	own := owner{name: "Vpc/" + string(n.key), uid: string(n.obj.UID)}
	e := p.ledger.prefix(own)
	if e == nil && n.obj.DeletionTimestamp == nil {
		issuer.begin() // which may bring back what was lost
		if e = p.ledger.prefix(own); e == nil {
			taken, refused := p.takeRange(n, own)
			if refused != nil {
				return &vpcRange{refused: refused}
			}
			e = taken
		}
	}
	if e == nil {
		return &noRange
	}
	return &vpcRange{prefix: e.prefix, pool: e.pool}
}

func (p *Planner) takeRange(n *vpcNode, own owner) (*entry, *refusal) {
	request := &networkv1alpha1.PoolRequest{Name: n.obj.Spec.CIDR.FromPool, PrefixLength: n.obj.Spec.CIDR.PrefixLength}
	pool := p.admitted.value.named(request.Name)
	if refused := pool.serves(request, "spec.cidr.fromPool", "spec.cidr.prefixLength"); refused != nil {
		return nil, refused
	}
	bits := int(cmp.Or(request.PrefixLength, pool.lengths.Default))
	e := p.ledger.takePrefix([]*poolView{pool.poolView}, own, func(*poolView) int { return bits }, ipam.Request{Avoid: []ipam.Set{p.links.value.set}})
	if e == nil {
		return nil, refuse(networkv1alpha1.ReasonPoolExhausted, "a /%d is asked of IPPool %q, which has none left: %s", bits, request.Name,
			p.ledger.cure(request.Name, "add a range to its spec.cidrs, or ask for less"))
	}
	return e, nil
}

// within is the part of a pool that a Vpc's subnets are cut from: the Vpc's own range, when that is from the same pool.
func (r *vpcRange) within(pool *poolView) *poolView {
	if !r.prefix.IsValid() || r.pool != pool.name {
		return pool
	}
	inner := new(*pool)
	inner.ranges = []netip.Prefix{r.prefix}
	inner.inside = append(slices.Clone(pool.inside), r.prefix)
	return inner
}

// rangeStrays lists the ranges of Vpcs that the ledger does not have. They come before what lies in them.
func (p *Planner) rangeStrays(add func(*entry)) {
	for _, n := range p.vpcs.sorted {
		if n.obj.Spec.CIDR == nil {
			continue
		}
		for _, cidr := range n.obj.Status.CIDRs {
			p.stray(owner{"Vpc/" + string(n.key), string(n.obj.UID)}, prefixEntry(cidr), add)
		}
	}
}
