// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// A subnet is placed in two steps. What the hub had accepted before keeps its place (settle); then active peerings
// are known, and new subnets must fit around all of that (placeNew). So a new subnet never displaces one that has
// pods in it, nor breaks a peering that works.

// placement is a subnet in a cluster.
type placement struct {
	view    *subnetView
	cluster string
	prefix  netip.Prefix
	gateway netip.Addr
}

type placements struct {
	list []placement
}

var noPlacements placements

// settledSubnets are the subnets of a Vpc that keep their place.
type settledSubnets struct {
	placed []placement
	set    ipam.Set
	// pending are the subnets that want a place in further clusters.
	pending []pendingSubnet
	refused map[*subnetView]*refusal
}

type pendingSubnet struct {
	view  *subnetView
	needs []linkNeed
}

// subnetVerdict is what was decided on a Subnet.
type subnetVerdict struct {
	refused *refusal
	// unallocated is why the pool gave nothing.
	unallocated *refusal
	placed      []placement
}

// territory is where the subnets of a Vpc are, and which prefixes are the Vpc's.
type territory struct {
	// placed in order of cluster and name.
	placed []placement
	// claims are the declared CIDRs, or else all subnets.
	claims *ipam.Set
}

// settle gives a Vpc's accepted subnets their places again. entryOf finds the entry of a subnet from a pool.
func settle(views []*subnetView, a *admission, links *linkRanges, prefixOf func(*subnetView, linkNeed) (netip.Prefix, bool)) *settledSubnets {
	s := &settledSubnets{refused: map[*subnetView]*refusal{}}
	for _, v := range views {
		if v.refused != nil {
			continue
		}
		var placed []placement
		var pending []linkNeed
		for _, need := range v.needs {
			p, has := prefixOf(v, need)
			if !has || !v.settledIn(need.cluster, p) {
				pending = append(pending, need)
				continue
			}
			if refused := cmp.Or(v.fits(p, a, links), v.overlaps(p, append(s.placed, placed...))); refused != nil {
				s.refused[v] = refused
				break
			}
			placed = append(placed, v.at(need.cluster, p))
		}
		if s.refused[v] != nil {
			continue
		}
		s.placed = append(s.placed, placed...)
		if len(pending) > 0 {
			s.pending = append(s.pending, pendingSubnet{view: v, needs: pending})
		}
	}
	s.set = ipam.NewSet(prefixesOf(s.placed)...)
	return s
}

// at places a subnet in a cluster.
func (v *subnetView) at(cluster string, p netip.Prefix) placement {
	gateway := v.gateway
	if !gateway.IsValid() {
		gateway = ipam.Nth(p, 1)
	}
	return placement{view: v, cluster: cluster, prefix: p, gateway: gateway}
}

// fits holds the prefix of a subnet from a pool against its surroundings; readBlock has done so for a cidrBlock.
func (v *subnetView) fits(p netip.Prefix, a *admission, links *linkRanges) *refusal {
	if v.request == nil {
		return nil
	}
	if p.Bits() > smallestSubnetBits {
		return refuse(networkv1alpha1.ReasonInvalid, "%s %s has no room for pods: use a /%d or larger", v.field(), p, smallestSubnetBits)
	}
	if refused := keepsClear(v.field(), p, a, links); refused != nil {
		return refused
	}
	for _, r := range v.exclude {
		if first, last, err := ipam.ParseRange(r); err != nil || !p.Contains(first) || !p.Contains(last) {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.excludeIps %q is not inside %s, %s: remove it", r, p, v.field())
		}
	}
	return nil
}

// field is where the subnet's CIDR comes from.
func (v *subnetView) field() string {
	if v.request == nil {
		return "spec.cidrBlock"
	}
	return "the CIDR from spec.fromPool"
}

// overlaps holds a prefix against other subnets of the Vpc.
func (v *subnetView) overlaps(p netip.Prefix, others []placement) *refusal {
	for _, other := range others {
		if other.prefix.Overlaps(p) {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s %s overlaps %s of Subnet %q in cluster %q: choose another CIDR", v.field(), p, other.prefix, other.view.name, other.cluster)
		}
	}
	return nil
}

// builder places the new subnets of all Vpcs, one after the other.
type builder struct {
	issuer   *issuer
	links    *linkRanges
	reserved *reservedRanges
	// added are the new placements by Vpc, refused and unallocated the subnets that got none.
	added       map[*vpcNode][]placement
	refused     map[*subnetView]*refusal
	unallocated map[*subnetView]*refusal
}

// placeNew places the new subnets: those that name their CIDR before those that take one, older before younger.
func (b *builder) placeNew(pending []pendingSubnet) {
	slices.SortFunc(pending, func(x, y pendingSubnet) int {
		return cmp.Or(cmpTrueFirst(x.view.request == nil, y.view.request == nil), x.view.node.older(&y.view.node.tracked))
	})
	for _, s := range pending {
		mark := b.issuer.begin()
		placed, verdict := b.place(s)
		if verdict.refused != nil || verdict.unallocated != nil {
			b.issuer.ledger.rollBack(mark)
			placed = nil
		}
		b.refused[s.view], b.unallocated[s.view] = verdict.refused, cmp.Or(verdict.unallocated, verdict.crowded)
		n := s.view.node.vpc
		b.added[n] = append(b.added[n], placed...)
	}
}

// misfit is why a subnet has no place in some cluster: what is wrong with the subnet, what no pool had, or that the cluster has reserved the
// range for itself. Only in the last case the subnet gets its places in the other clusters: no cluster decides for another one.
type misfit struct {
	refused, unallocated, crowded *refusal
}

// place finds places for a subnet in all clusters that it lacks, or says why one of them has none.
func (b *builder) place(s pendingSubnet) (placed []placement, why misfit) {
	v, n := s.view, s.view.node.vpc
	for _, need := range s.needs {
		p, not := b.prefix(v, need, placed)
		if not.crowded != nil {
			why.crowded = cmp.Or(why.crowded, not.crowded)
			continue
		}
		if not != (misfit{}) {
			return nil, not
		}
		others := slices.Concat(n.settled.value.placed, b.added[n], placed)
		if refused := cmp.Or(v.fits(p, n.admission.value, b.links), v.overlaps(p, others), b.disturbs(v, p)); refused != nil {
			return nil, misfit{refused: refused}
		}
		placed = append(placed, v.at(need.cluster, p))
	}
	return placed, why
}

// prefix is the subnet's CIDR in a cluster: its own, the one that it has in a ledger, or a new one.
func (b *builder) prefix(v *subnetView, need linkNeed, placed []placement) (p netip.Prefix, why misfit) {
	if v.request == nil {
		return v.prefix, misfit{refused: b.reserved.keepsOut(v.field(), v.prefix, need.cluster)}
	}
	if e := b.issuer.ledger.prefix(need.owner); e != nil {
		return e.prefix, misfit{crowded: b.reserved.keepsOut(v.field(), e.prefix, need.cluster)}
	}
	pool := b.issuer.pools.named(v.request.Name)
	if refused := pool.serves(v.request, "spec.fromPool.name", "spec.fromPool.prefixLength"); refused != nil {
		return p, misfit{refused: refused}
	}
	bits := int(cmp.Or(v.request.PrefixLength, pool.lengths.Default))
	n := v.node.vpc
	request := ipam.Request{Within: n.admission.value.cidrSet, Avoid: []ipam.Set{
		n.settled.value.set, ipam.NewSet(prefixesOf(b.added[n])...), ipam.NewSet(prefixesOf(placed)...),
		b.links.set,
	}}
	for _, m := range n.neighbours() {
		request.Avoid = append(request.Avoid, *m.claims, ipam.NewSet(prefixesOf(b.added[m])...))
	}
	take := func(r ipam.Request) *entry {
		return b.issuer.ledger.takePrefix([]*poolView{n.ranged.value.within(pool.poolView)}, need.owner, func(*poolView) int { return bits }, r)
	}
	around := request
	around.Avoid = append(slices.Clone(request.Avoid), b.reserved.byCluster[need.cluster])
	e := take(around)
	if mark := len(b.issuer.ledger.fresh); e == nil && take(request) != nil {
		b.issuer.ledger.rollBack(mark)
		return p, misfit{crowded: refuse(networkv1alpha1.ReasonOverlappingCIDRs, "a /%d in cluster %q is asked of IPPool %q, and all that is left there overlaps what cluster %q uses for its own pods, services or nodes: add another range to its spec.cidrs", bits, need.cluster, v.request.Name, need.cluster)}
	}
	if e == nil {
		within := ""
		if len(n.admission.value.cidrs) > 0 {
			within = " inside the Vpc's " + n.admission.value.field + " " + strings.Join(texts(n.admission.value.cidrs), ", ")
		}
		return p, misfit{unallocated: refuse(networkv1alpha1.ReasonPoolExhausted, "a /%d in cluster %q is asked of IPPool %q, which has none left%s: %s", bits, need.cluster, v.request.Name, within,
			b.issuer.ledger.cure(v.request.Name, "add a range to its spec.cidrs, or ask for less"))}
	}
	return e.prefix, misfit{}
}

// serves says why a pool can't be asked.
func (p *admittedPool) serves(r *networkv1alpha1.PoolRequest, field, length string) *refusal {
	switch {
	case p == nil:
		return refuse(networkv1alpha1.ReasonPoolNotFound, "%s %q does not exist: make this IPPool, or name another", field, r.Name)
	case p.purpose != networkv1alpha1.PurposeVpc:
		return refuse(networkv1alpha1.ReasonPoolNotFound, "%s %q is an IPPool for %s: name one of purpose Vpc", field, r.Name, p.purpose)
	case p.deleting:
		return refuse(networkv1alpha1.ReasonPoolNotFound, "%s %q is being deleted: name another IPPool", field, r.Name)
	case p.refused != nil:
		return refuse(networkv1alpha1.ReasonPoolNotFound, "%s %q is not accepted: %s", field, r.Name, p.refused.message)
	}
	bits := cmp.Or(r.PrefixLength, p.lengths.Default)
	if longest := min(p.lengths.Max, smallestSubnetBits); bits < p.lengths.Min || bits > longest {
		return refuse(networkv1alpha1.ReasonInvalid, "%s %d is not handed out by IPPool %q: choose %d to %d", length, bits, r.Name, p.lengths.Min, longest)
	}
	return nil
}

// neighbours are the active peers of a Vpc, and their peers: they see the Vpc's routes or stand beside them. A Vpc
// that declares its CIDRs has none here, because its peerings were held against the CIDRs already.
func (n *vpcNode) neighbours() []*vpcNode {
	if len(n.admission.value.cidrs) > 0 {
		return nil
	}
	var near []*vpcNode
	for _, pair := range n.pairs {
		if !pair.active {
			continue
		}
		near = append(near, pair.other)
		for _, beyond := range pair.other.pairs {
			if beyond.active && beyond.other != n {
				near = append(near, beyond.other)
			}
		}
	}
	return near
}

// disturbs holds a new prefix against the Vpc's neighbours.
func (b *builder) disturbs(v *subnetView, p netip.Prefix) *refusal {
	for _, m := range v.node.vpc.neighbours() {
		q, found := m.claims.Overlap(p)
		if !found {
			if i := slices.IndexFunc(b.added[m], func(o placement) bool { return len(m.admission.value.cidrs) == 0 && o.prefix.Overlaps(p) }); i >= 0 {
				q, found = b.added[m][i].prefix, true
			}
		}
		if found {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s %s overlaps %s of Vpc %s, which is peered with this Vpc or with a peer of it: choose another CIDR, or delete the VpcPeering", v.field(), p, q, m.key)
		}
	}
	return nil
}

func prefixesOf(list []placement) []netip.Prefix {
	var all []netip.Prefix
	for _, p := range list {
		all = append(all, p.prefix)
	}
	return all
}

// newTerritory sums up a Vpc's subnets.
func newTerritory(a *admission, placed []placement) *territory {
	slices.SortFunc(placed, func(x, y placement) int {
		return cmp.Or(cmp.Compare(x.cluster, y.cluster), cmp.Compare(x.view.name, y.view.name))
	})
	claims := claimsOf(a, ipam.NewSet(prefixesOf(placed)...))
	return &territory{placed: placed, claims: claims}
}

// claimsOf are the prefixes that nobody who peers with the Vpc may have.
func claimsOf(a *admission, subnets ipam.Set) *ipam.Set {
	if a.cidrSet.Len() > 0 {
		return &a.cidrSet
	}
	return &subnets
}
