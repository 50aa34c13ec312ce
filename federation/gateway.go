// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	loss cell[loss]
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

// clusterNames are some clusters, in order of name.
type clusterNames struct {
	list []string
}

func (c *clusterNames) has(name string) bool {
	_, found := slices.BinarySearch(c.list, name)
	return found
}

// newRouted lists the clusters that have routers.
func newRouted(routers []*routerNode) *clusterNames {
	found := map[string]bool{}
	for _, n := range routers {
		if n.obj.DeletionTimestamp == nil {
			found[n.cluster] = true
		}
	}
	return &clusterNames{list: slices.Sorted(maps.Keys(found))}
}

// newGateways makes one gateway for each cluster that may have something, and keeps those of clusters that are leaving.
func newGateways(f *fleet, d *drains, asked *questions, version string, hub hubIdentity, links *linkRanges, p *pools, routed *clusterNames, existing []*gatewayNode, before *gatewaySet) *gatewaySet {
	a := newApprover(links, p, routed)
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
		g.Spec.ReleasedVpcs = asked.byCluster[c.Name]
		g.Spec.Detached = c.Detached && membership != spokev1alpha1.MembershipMember
		if membership != spokev1alpha1.MembershipDrained { // who has no way there needs no address there
			a.judge(c, o, &g.Spec)
		}
		hub.stamp(o, &g.Spec)
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

// makeGateways makes the gateways of all clusters.
func (p *Planner) makeGateways() {
	routed := p.routed.set(newRouted(p.routers.sorted))
	inputs := []any{p.fleet.value, p.drains.value, p.asked.value, p.version, p.hub, p.links.value, p.admitted.value, routed}
	for _, g := range p.gateways.sorted {
		inputs = append(inputs, g.obj)
	}
	p.gateway.get(func() *gatewaySet {
		return newGateways(p.fleet.value, p.drains.value, p.asked.value, p.version, p.hub, p.links.value, p.admitted.value, routed, p.gateways.sorted, p.gateway.value)
	}, inputs...)
}
