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

type vpcNode struct {
	tracked[*networkv1alpha1.Vpc]
	ranged    cell[vpcRange]
	view      cell[vpcView]
	taken     cell[refusal]
	admission cell[admission]
	needs     cell[vpcNeeds]
	address   cell[vpcAddress]

	// subnets of the Vpc, in order of age.
	subnets       []*subnetNode
	settled       cell[settledSubnets]
	settledClaims cell[ipam.Set]
	allClaims     cell[ipam.Set]
	added         cell[placements]
	territory     cell[territory]
	// claims is what counts at this point of the plan: of the settled subnets first, of all subnets later.
	claims *ipam.Set
	// pairs are the peerings that hold the Vpc's end of a pair at this point of the plan.
	pairs []pair

	footprint   cell[footprint]
	routers     cell[routerSet]
	realization cell[realization]
	status      cell[networkv1alpha1.VpcStatus]
	shelved     *networkv1alpha1.VpcStatus
	distributed *routerSet
	leftovers   cell[leftovers]
}

// vpcView is what a Vpc says, read once against the fleet.
type vpcView struct {
	namespace, name string
	uid             string
	generation      int64
	deleting        bool
	// settled is true when the hub had accepted the Vpc before.
	settled bool
	// field is where the CIDRs come from; fromPool is true when that is a pool.
	field      string
	fromPool   bool
	cidrs      []netip.Prefix
	cidrSet    ipam.Set
	namespaces []string
	decisions  []networkv1alpha1.PeeringDecision
	selection  selection
	refused    *refusal
}

func (v *vpcView) key() Key { return joinKey(v.namespace, v.name) }

// admission is the verdict on a Vpc.
type admission struct {
	*vpcView
	// refused is the Accepted condition. A Vpc can be usable all the same: in the clusters that are there.
	refused *refusal
	usable  bool
}

// readVpc reads the spec of a Vpc.
func readVpc(o *networkv1alpha1.Vpc, f *fleet, links *linkRanges, r *vpcRange) *vpcView {
	v := &vpcView{
		namespace: o.Namespace, name: o.Name, uid: string(o.UID), generation: o.Generation,
		deleting: o.DeletionTimestamp != nil, settled: wasUsable(o),
		decisions: o.Spec.PeeringDecisions, selection: f.selectClusters(o.Namespace, &o.Spec.Clusters),
	}
	for _, n := range o.Spec.Namespaces {
		v.namespaces = append(v.namespaces, string(n))
	}
	slices.Sort(v.namespaces)
	v.field = "spec.cidrs"
	v.cidrs, v.refused = readCIDRs(v.field, o.Spec.CIDRs)
	if o.Spec.CIDR != nil {
		v.field, v.fromPool, v.cidrs, v.refused = "spec.cidr", true, nil, r.refused
		if r.prefix.IsValid() {
			v.cidrs = []netip.Prefix{r.prefix}
		}
	}
	v.cidrSet = ipam.NewSet(v.cidrs...)
	if v.refused == nil {
		v.refused = v.overlaps(links)
	}
	if v.refused == nil {
		v.refused = v.selection.refused
	}
	return v
}

// wasUsable is true when the hub had accepted the Vpc, at least for some of its clusters.
func wasUsable(o *networkv1alpha1.Vpc) bool {
	for _, c := range o.Status.Conditions {
		if c.Type == networkv1alpha1.ConditionAccepted {
			return c.Reason == networkv1alpha1.ReasonAccepted || c.Reason == networkv1alpha1.ReasonClusterNotFound && o.Status.VNI > 0
		}
	}
	return false
}

// overlaps compares the CIDRs of a Vpc with each other and with the link ranges.
func (v *vpcView) overlaps(links *linkRanges) *refusal {
	if a, b, found := ipam.OwnOverlap(v.cidrs); found {
		return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "spec.cidrs %s and %s overlap: remove one of them", a, b)
	}
	for _, p := range v.cidrs {
		if q, holder, found := links.overlap(p); found {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s %s overlaps %s of %s: choose another range", v.field, p, q, holder)
		}
	}
	return nil
}

// binding is a namespace in a cluster: it joins one Vpc at most.
type binding struct {
	cluster, namespace string
}

// bindNamespaces gives each namespace of each cluster to one Vpc, and refuses the others that ask for it.
func bindNamespaces(views []*vpcView) map[*vpcView]*refusal {
	order := slices.Clone(views)
	slices.SortStableFunc(order, func(a, b *vpcView) int { return cmpTrueFirst(a.settled, b.settled) })
	holders := map[binding]*vpcView{}
	refusals := map[*vpcView]*refusal{}
	for _, v := range order {
		if v.refused != nil || v.deleting || len(v.namespaces) == 0 {
			continue
		}
		if b, holder := v.conflict(holders); holder != nil {
			refusals[v] = refuse(networkv1alpha1.ReasonNamespaceTaken, "spec.namespaces %q is bound to Vpc %s in cluster %q: remove it here or there", b.namespace, holder.key(), b.cluster)
			continue
		}
		for _, c := range v.selection.usable {
			for _, n := range v.namespaces {
				holders[binding{c, n}] = v
			}
		}
	}
	return refusals
}

// conflict finds a binding that another Vpc holds.
func (v *vpcView) conflict(holders map[binding]*vpcView) (binding, *vpcView) {
	for _, c := range v.selection.usable {
		for _, n := range v.namespaces {
			if holder := holders[binding{c, n}]; holder != nil {
				return binding{c, n}, holder
			}
		}
	}
	return binding{}, nil
}

// admitVpc sums up what stands against a Vpc.
func admitVpc(v *vpcView, taken *refusal) *admission {
	a := &admission{vpcView: v, refused: cmp.Or(v.refused, taken)}
	if v.deleting {
		a.refused = refuse(networkv1alpha1.ReasonDeleting, "the Vpc is being deleted")
	}
	a.usable = a.refused == nil && len(v.selection.usable) > 0
	if a.refused == nil && len(v.selection.unusable) > 0 {
		a.refused = refuse(networkv1alpha1.ReasonClusterNotFound, "spec.clusters.names: %s: let it join or remove its name; %s", strings.Join(v.selection.unusable, ", "), v.others())
	}
	return a
}

// others says what becomes of the clusters that can be used.
func (v *vpcView) others() string {
	if len(v.selection.usable) == 0 {
		return "no cluster is left"
	}
	return "the Vpc works in " + strings.Join(v.selection.usable, ", ")
}

// vpcNeeds is what a Vpc needs from the ledgers.
type vpcNeeds struct {
	vni   owner
	links []linkNeed
}

type linkNeed struct {
	cluster string
	owner   owner
}

// needsOf lists what a Vpc needs.
func needsOf(a *admission) *vpcNeeds {
	base := "Vpc/" + string(a.key())
	n := &vpcNeeds{vni: owner{name: base, uid: a.uid}}
	for _, cluster := range a.selection.usable {
		n.links = append(n.links, linkNeed{cluster: cluster, owner: owner{name: base + "/" + cluster, uid: a.uid}})
	}
	return n
}

// vpcAddress is what a Vpc has from the ledgers.
type vpcAddress struct {
	vni     int32
	links   links
	refused *refusal
}

// boundNamespaces are the Vpcs that ask for a namespace that another has.
type boundNamespaces struct {
	refused map[*vpcView]*refusal
}

// admitVpcs decides on the Vpcs.
func (p *Planner) admitVpcs() {
	views := make([]*vpcView, 0, len(p.vpcs.sorted))
	inputs := make([]any, 0, len(p.vpcs.sorted))
	for _, n := range p.vpcs.sorted {
		v := n.view.get(func() *vpcView { return readVpc(n.obj, p.fleet.value, p.links.value, n.ranged.value) }, n.obj, p.fleet.value, p.links.value, n.ranged.value)
		views, inputs = append(views, v), append(inputs, v)
	}
	bound := p.bound.get(func() *boundNamespaces { return &boundNamespaces{refused: bindNamespaces(views)} }, inputs...)
	for _, n := range p.vpcs.sorted {
		v, taken := n.view.value, n.taken.set(bound.refused[n.view.value])
		n.admission.get(func() *admission { return admitVpc(v, taken) }, v, taken)
	}
}
