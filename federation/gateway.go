// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

const (
	// encapsulation between clusters (RFC 7348), and its UDP port.
	encapsulation = "VXLAN"
	port          = 4789
)

type gatewayNode struct {
	tracked[*spokev1alpha1.InterconnectGateway]
}

// gatewaySet is the gateways of all clusters, in order of cluster.
type gatewaySet struct {
	list []*spokev1alpha1.InterconnectGateway
}

// readReserved collects the clusters' own ranges. What can't be read protects nothing and is passed over.
func readReserved(gateways []*gatewayNode) *reservedRanges {
	r := &reservedRanges{byCluster: map[string]ipam.Set{}}
	for _, g := range gateways {
		var prefixes []netip.Prefix
		for _, c := range g.obj.Status.ReservedCIDRs {
			if p, err := ipam.ParsePrefix(c); err == nil {
				prefixes = append(prefixes, p)
			}
		}
		if len(prefixes) > 0 && g.obj.Name == g.obj.Namespace {
			r.byCluster[g.obj.Namespace] = ipam.NewSet(prefixes...)
		}
	}
	return r
}

// approver approves the endpoints that clusters report.
type approver struct {
	links *linkRanges
	// places is how many gateways a link has room for.
	places int32
	// holder is the cluster that an address was approved for.
	holder map[netip.Addr]string
	// keys is who has which WireGuard key.
	keys keyring
}

// newGateways makes one gateway for each cluster that may have something, and keeps those of clusters that are leaving.
func newGateways(f *fleet, d *drains, version string, links *linkRanges, p *pools, existing []*gatewayNode, before *gatewaySet) *gatewaySet {
	a := &approver{links: links, places: gatewayPlaces(p), holder: map[netip.Addr]string{}, keys: keyring{}}
	objects := map[string]*spokev1alpha1.InterconnectGateway{}
	for _, g := range existing {
		if g.obj.Name != g.obj.Namespace {
			continue
		}
		objects[g.obj.Name] = g.obj
		a.keys.hold(g.obj.Name, g.obj.Spec.Endpoints)
		for _, e := range g.obj.Spec.Endpoints {
			a.hold(g.obj.Name, e.Address)
		}
		for _, n := range g.obj.Spec.Nodes {
			a.hold(g.obj.Name, n.Address)
		}
	}
	set := &gatewaySet{}
	for _, c := range f.clusters {
		o, membership, awaited := objects[c.Name], spokev1alpha1.MembershipMember, []string(nil)
		if drain := d.byCluster[c.Name]; drain != nil && o != nil && o.DeletionTimestamp == nil && departed(c) == "" {
			membership, awaited = drain.membership(), drain.awaited
		} else if f.unusable(c.Name) != "" {
			continue
		}
		g := newGateway(c, links)
		g.Spec.Membership, g.Spec.AwaitedClusters, g.Spec.HubVersion = membership, awaited, version
		g.Spec.Detached = c.Detached && membership != spokev1alpha1.MembershipMember
		if membership != spokev1alpha1.MembershipDrained { // who has no way there needs no address there
			g.Spec.Endpoints, g.Spec.Nodes = a.approve(c.Name, o), a.approveNodes(c, o)
		}
		set.list = append(set.list, g)
	}
	set.keep(before)
	return set
}

// keep takes the same pointers as before for gateways that say the same.
func (s *gatewaySet) keep(before *gatewaySet) {
	if before == nil {
		return
	}
	for i, g := range s.list {
		if j := slices.IndexFunc(before.list, func(b *spokev1alpha1.InterconnectGateway) bool { return reflect.DeepEqual(b, g) }); j >= 0 {
			s.list[i] = before.list[j]
		}
	}
}

func newGateway(c Cluster, links *linkRanges) *spokev1alpha1.InterconnectGateway {
	return &spokev1alpha1.InterconnectGateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Name, Name: c.Name, Finalizers: []string{spokev1alpha1.Finalizer}},
		Spec: spokev1alpha1.InterconnectGatewaySpec{
			Cluster: c.Name, Encapsulation: encapsulation, Port: port, Encryption: wishOf(c), LinkCIDRs: links.cidrs,
		},
	}
}

// gatewayPlaces is how many gateways fit into the smallest link: all addresses but the network's, the router's and broadcast.
func gatewayPlaces(p *pools) int32 {
	bits := int32(0)
	for _, pool := range p.open(networkv1alpha1.PurposeLink) {
		bits = max(bits, pool.lengths.Default)
	}
	return 1<<(32-cmp.Or(bits, linkBits)) - 3
}

// approve turns what a cluster reports into what the fleet believes. A node keeps its index; an address that another
// cluster has is refused, and so is one that nobody can have.
func (a *approver) approve(cluster string, o *spokev1alpha1.InterconnectGateway) []spokev1alpha1.GatewayEndpoint {
	if o == nil {
		return nil
	}
	index, used := map[string]int32{}, map[int32]bool{}
	for _, r := range o.Status.Endpoints {
		i := slices.IndexFunc(o.Spec.Endpoints, func(e spokev1alpha1.GatewayEndpoint) bool { return e.Node == r.Node })
		if i >= 0 && !used[o.Spec.Endpoints[i].Index] {
			index[r.Node] = o.Spec.Endpoints[i].Index
			used[o.Spec.Endpoints[i].Index] = true
		}
	}
	reported := slices.SortedFunc(slices.Values(o.Status.Endpoints), func(x, y spokev1alpha1.ReportedEndpoint) int {
		_, xKnown := index[x.Node]
		_, yKnown := index[y.Node]
		return cmp.Or(cmpTrueFirst(xKnown, yKnown), cmp.Compare(x.Node, y.Node))
	})
	var approved []spokev1alpha1.GatewayEndpoint
	taken := map[netip.Addr]bool{}
	for _, r := range reported {
		addr, ok := a.mayHave(cluster, r.Address)
		if !ok || taken[addr] {
			continue
		}
		i, known := index[r.Node]
		for i = max(i, 0); !known && used[i]; i++ {
		}
		if i >= a.places {
			continue
		}
		used[i], taken[addr], a.holder[addr] = true, true, cluster
		endpoint := spokev1alpha1.GatewayEndpoint{Node: r.Node, Address: r.Address, Index: i}
		endpoint.PublicKey, endpoint.WireGuardPort = a.keys.approve(cluster, r)
		approved = append(approved, endpoint)
	}
	slices.SortFunc(approved, func(x, y spokev1alpha1.GatewayEndpoint) int { return cmp.Compare(x.Index, y.Index) })
	return approved
}

// approveNodes turns the nodes that a cluster reports into those that may send to other clusters' nodes: none, unless its
// label says that they reach each other.
func (a *approver) approveNodes(c Cluster, o *spokev1alpha1.InterconnectGateway) []spokev1alpha1.ClusterNode {
	if o == nil || c.Labels[networkv1alpha1.LabelNodeToNode] != "true" {
		return nil
	}
	var approved []spokev1alpha1.ClusterNode
	taken := map[netip.Addr]bool{}
	for _, n := range slices.SortedFunc(slices.Values(o.Status.Nodes), func(x, y spokev1alpha1.ClusterNode) int { return cmp.Compare(x.Node, y.Node) }) {
		addr, ok := a.mayHave(c.Name, n.Address)
		if !ok || taken[addr] {
			continue
		}
		taken[addr], a.holder[addr] = true, c.Name
		approved = append(approved, n)
	}
	return approved
}

// hold notes an address that was approved before.
func (a *approver) hold(cluster, address string) {
	if addr, err := ipam.ParseAddr(address); err == nil && a.holder[addr] == "" {
		a.holder[addr] = cluster
	}
}

// mayHave is true when a cluster may have an address.
func (a *approver) mayHave(cluster, address string) (netip.Addr, bool) {
	addr, err := ipam.ParseAddr(address)
	if err != nil {
		return addr, false
	}
	single := netip.PrefixFrom(addr, 32)
	if _, found := unroutable.Overlap(single); found {
		return addr, false
	}
	if _, _, found := a.links.overlap(single); found {
		return addr, false
	}
	holder := a.holder[addr]
	return addr, holder == "" || holder == cluster
}

// makeGateways makes the gateways of all clusters.
func (p *Planner) makeGateways() {
	inputs := []any{p.fleet.value, p.drains.value, p.version, p.links.value, p.admitted.value}
	for _, g := range p.gateways.sorted {
		inputs = append(inputs, g.obj)
	}
	p.gateway.get(func() *gatewaySet {
		return newGateways(p.fleet.value, p.drains.value, p.version, p.links.value, p.admitted.value, p.gateways.sorted, p.gateway.value)
	}, inputs...)
}
