// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"net/netip"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// issuer hands out what is missing, from the pools that may.
type issuer struct {
	ledger *ledger
	pools  *pools
	links  []*poolView
	vnis   []*poolView
	// recover is called once, before anything is taken.
	recover func()
}

func newIssuer(l *ledger, p *pools, recover func()) *issuer {
	return &issuer{ledger: l, pools: p, links: p.open(networkv1alpha1.PurposeLink), vnis: p.open(networkv1alpha1.PurposeVNI), recover: recover}
}

// begin returns a mark to roll back to, for somebody who is about to take something.
func (i *issuer) begin() int {
	if i.recover != nil {
		i.recover()
		i.recover = nil
	}
	return len(i.ledger.fresh)
}

// stocked lists the needs and the entries that meet them, and whether all are met.
func (i *issuer) stocked(n *vpcNeeds, scratch []any) (inputs []any, complete bool) {
	vni := i.ledger.vni(n.vni)
	inputs, complete = append(scratch[:0], n, vni), vni != nil
	for _, need := range n.links {
		e := i.ledger.prefix(need.owner)
		inputs, complete = append(inputs, e), complete && e != nil
	}
	return inputs, complete
}

// vpc finds what a Vpc has, and takes what is missing if it may: all of it or nothing.
func (i *issuer) vpc(n *vpcNeeds, take bool) *vpcAddress {
	if !take {
		address, _ := i.tryVpc(n, false)
		return address
	}
	mark := i.begin()
	address, refused := i.tryVpc(n, true)
	if refused != nil {
		i.ledger.rollBack(mark)
		address, _ = i.tryVpc(n, false)
		address.refused = refused
	}
	return address
}

func (i *issuer) tryVpc(n *vpcNeeds, take bool) (*vpcAddress, *refusal) {
	a := &vpcAddress{}
	e := i.ledger.vni(n.vni)
	if e == nil && take {
		if e = i.ledger.takeVNI(i.vnis, n.vni); e == nil {
			return a, i.empty(networkv1alpha1.PurposeVNI, "a VNI")
		}
	}
	if e != nil {
		a.vni = int32(e.number)
	}
	for _, need := range n.links {
		e := i.ledger.prefix(need.owner)
		if e == nil && take {
			if e = i.ledger.takePrefix(i.links, need.owner, defaultLength, ipam.Request{}); e == nil {
				return a, i.empty(networkv1alpha1.PurposeLink, "a link in cluster "+need.cluster)
			}
		}
		if e != nil {
			a.links = append(a.links, link{cluster: need.cluster, prefix: e.prefix})
		}
	}
	return a, nil
}

func defaultLength(p *poolView) int { return int(p.lengths.Default) }

// empty says why no pool of a purpose had what was asked.
func (i *issuer) empty(purpose networkv1alpha1.IPPoolPurpose, asked string) *refusal {
	open := i.pools.open(purpose)
	if len(open) == 0 {
		return refuse(networkv1alpha1.ReasonPoolNotFound, "%s is needed, and no accepted IPPool has purpose %s: make one", asked, purpose)
	}
	cure := "add a range to its spec.cidrs"
	if purpose == networkv1alpha1.PurposeVNI {
		cure = "make another IPPool of this purpose"
	}
	last := open[len(open)-1].name
	return refuse(networkv1alpha1.ReasonPoolExhausted, "%s is needed, and IPPool %q has none left: %s", asked, last, i.ledger.cure(last, cure))
}

// peer finds the links between two routers in each of the clusters that both are in; it takes what is missing, all or nothing.
func (i *issuer) peer(needs []linkNeed) *peerAddress {
	if has := i.stored(needs); len(has) == len(needs) {
		return &peerAddress{links: has}
	}
	mark := i.begin()
	a := &peerAddress{}
	for _, need := range needs {
		e := i.ledger.prefix(need.owner)
		if e == nil && a.refused == nil {
			if e = i.ledger.takePrefix(i.links, need.owner, func(*poolView) int { return peerBits }, ipam.Request{}); e == nil {
				a.refused = i.empty(networkv1alpha1.PurposeLink, "a /30 between the two routers in cluster "+need.cluster)
			}
		}
		if e != nil {
			a.links = append(a.links, link{cluster: need.cluster, prefix: e.prefix})
		}
	}
	if a.refused != nil {
		i.ledger.rollBack(mark)
		a.links = i.stored(needs)
	}
	return a
}

// stored lists those of the needs that the ledger has.
func (i *issuer) stored(needs []linkNeed) links {
	var links links
	for _, need := range needs {
		if e := i.ledger.prefix(need.owner); e != nil {
			links = append(links, link{cluster: need.cluster, prefix: e.prefix})
		}
	}
	return links
}

// peerAddress is what a peering has from the ledgers: a link for each cluster that both Vpcs are in.
type peerAddress struct {
	links   links
	refused *refusal
}

// noPeerAddress is what a peering has that needs nothing.
var noPeerAddress peerAddress

// links are the links of a Vpc or of a peering, one in each cluster, in order of cluster.
type links []link

type link struct {
	cluster string
	prefix  netip.Prefix
}

// in finds the link in a cluster.
func (l links) in(cluster string) (netip.Prefix, bool) {
	for _, link := range l {
		if link.cluster == cluster {
			return link.prefix, true
		}
	}
	return netip.Prefix{}, false
}

// addressVpcs gives each Vpc its VNI and its links, the older one first.
func (p *Planner) addressVpcs(issuer *issuer) {
	for _, n := range p.vpcs.sorted {
		a := n.admission.value
		needs := n.needs.get(func() *vpcNeeds { return needsOf(a) }, a)
		if inputs, complete := issuer.stocked(needs, p.inputs); complete || !a.usable {
			n.address.get(func() *vpcAddress { return issuer.vpc(needs, false) }, inputs...)
			p.inputs = inputs
		} else {
			n.address.set(issuer.vpc(needs, true))
		}
	}
}
