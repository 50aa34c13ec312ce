// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"net/netip"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// footprint is a Vpc as the others see it: its sites and what is there.
type footprint struct {
	vpc        spokev1alpha1.VpcIdentity
	key        Key
	uid        string
	declared   []netip.Prefix
	namespaces []string
	// sites in order of cluster.
	sites []site
}

// site is a Vpc in one cluster.
type site struct {
	cluster string
	link    netip.Prefix
	// subnets in order of name; prefixes are theirs in order of address.
	subnets  []spokev1alpha1.RouterSubnet
	prefixes []netip.Prefix
	// reach is the prefixes and the link, as text.
	reach []string
	// probe is an address of the router that answers.
	probe string
}

// in finds the site in a cluster.
func (f *footprint) in(cluster string) *site {
	i := slices.IndexFunc(f.sites, func(s site) bool { return s.cluster == cluster })
	if i < 0 {
		return nil
	}
	return &f.sites[i]
}

// newFootprint joins what was decided on a Vpc. A Vpc without a VNI has no sites.
func newFootprint(a *admission, address *vpcAddress, t *territory) *footprint {
	f := &footprint{
		vpc: spokev1alpha1.VpcIdentity{Namespace: a.namespace, Name: a.name, VNI: address.vni},
		key: a.key(), uid: a.uid, declared: a.cidrs, namespaces: a.namespaces,
	}
	if !a.usable || address.vni == 0 {
		return f
	}
	for _, l := range address.links {
		f.sites = append(f.sites, newSite(l, t.placed))
	}
	return f
}

func newSite(l link, placed []placement) site {
	s := site{cluster: l.cluster, link: l.prefix, probe: ipam.Nth(l.prefix, 1).String()}
	for _, p := range placed {
		if p.cluster != l.cluster {
			continue
		}
		s.subnets = append(s.subnets, spokev1alpha1.RouterSubnet{
			Name: p.view.name, CIDR: p.prefix.String(), Gateway: p.gateway.String(),
			ExcludeIPs: p.view.exclude, Default: p.view.isDefault, Namespaces: p.view.namespaces,
		})
		s.prefixes = append(s.prefixes, p.prefix)
	}
	if len(s.subnets) > 0 {
		s.probe = s.subnets[0].Gateway
	}
	slices.SortFunc(s.prefixes, ipam.Compare)
	reach := append(slices.Clone(s.prefixes), s.link)
	slices.SortFunc(reach, ipam.Compare)
	s.reach = texts(reach)
	return s
}

// peerOf is an active peer as the router's Vpc sees it.
type peerOf struct {
	*footprint
	address *peerAddress
}

// routerSet is the routers of a Vpc, in order of cluster.
type routerSet struct {
	list []*spokev1alpha1.LocalRouter
	keys []Key
	// staying is how many of them, the last ones, stay in clusters that are leaving.
	staying int
}

// newRouters makes a Vpc's router for each of its sites. Routers that stay as they were stay the same pointer.
func newRouters(f *footprint, peers []peerOf, links *linkRanges, stay stayers, before *routerSet) *routerSet {
	slices.SortFunc(peers, func(a, b peerOf) int { return cmp.Compare(a.key, b.key) })
	set := &routerSet{}
	for i := range f.sites {
		set.add(newRouter(f, &f.sites[i], peers, links), before)
	}
	for _, o := range stay.own {
		set.add(stay.remain(o, f, peers), before)
		set.staying++
	}
	for _, o := range stay.carriers {
		set.add(o, before)
		set.staying++
	}
	return set
}

// add appends a router, as the same pointer as before when it says the same.
func (s *routerSet) add(r *spokev1alpha1.LocalRouter, before *routerSet) {
	if before != nil {
		if j := slices.IndexFunc(before.list, func(b *spokev1alpha1.LocalRouter) bool { return sameRouter(b, r) }); j >= 0 {
			r = before.list[j]
		}
	}
	s.list, s.keys = append(s.list, r), append(s.keys, joinKey(r.Namespace, r.Name))
}

// newRouter is a Vpc in one cluster.
func newRouter(f *footprint, here *site, peers []peerOf, links *linkRanges) *spokev1alpha1.LocalRouter {
	return &spokev1alpha1.LocalRouter{
		ObjectMeta: routerMeta(here.cluster, f.vpc),
		Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: f.vpc, VpcUID: f.uid, Namespaces: f.namespaces, Subnets: here.subnets, LinkCIDR: here.link.String(),
			Routes:  routes(f, here, peers, links),
			Remotes: remotes(f, here, peers),
			Peers:   localPeers(f, here, peers),
		},
	}
}

// routerMeta is the metadata of a Vpc's router in a cluster.
func routerMeta(cluster string, vpc spokev1alpha1.VpcIdentity) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: cluster, Name: vpc.Namespace + "." + vpc.Name,
		Labels: map[string]string{
			spokev1alpha1.LabelVpcNamespace: vpc.Namespace,
			spokev1alpha1.LabelVpcName:      vpc.Name,
		},
		Finalizers: []string{spokev1alpha1.Finalizer},
	}
}

// remotes is where prefixes in other clusters are. It is symmetric: what may be reached from here is what may come in here.
func remotes(f *footprint, here *site, peers []peerOf) []spokev1alpha1.Remote {
	var all []spokev1alpha1.Remote
	add := func(g *footprint) {
		for i := range g.sites {
			if s := &g.sites[i]; s.cluster != here.cluster {
				all = append(all, spokev1alpha1.Remote{Vpc: g.vpc, Cluster: s.cluster, Prefixes: s.reach, ProbeAddress: s.probe})
			}
		}
	}
	add(f)
	for _, p := range peers {
		add(p.footprint)
	}
	return all
}

// localPeers are the peers in the same cluster. The Vpc whose key sorts first has the first address of the link.
func localPeers(f *footprint, here *site, peers []peerOf) []spokev1alpha1.LocalPeer {
	var all []spokev1alpha1.LocalPeer
	for _, p := range peers {
		there := p.in(here.cluster)
		l, linked := p.address.links.in(here.cluster)
		if there == nil || !linked {
			continue
		}
		local, remote := netip.PrefixFrom(ipam.Nth(l, 1), l.Bits()), netip.PrefixFrom(ipam.Nth(l, 2), l.Bits())
		if p.key < f.key {
			local, remote = remote, local
		}
		all = append(all, spokev1alpha1.LocalPeer{
			Vpc: p.vpc, LocalConnectIP: local.String(), RemoteConnectIP: remote.String(), Prefixes: there.reach, ProbeAddress: there.probe,
		})
	}
	return all
}

// routes are the prefixes that the router sends to the gateways: as few as possible, because northd recomputes them all
// on every change. A prefix that the router has another way to already is left out.
func routes(f *footprint, here *site, peers []peerOf, links *linkRanges) []string {
	known := slices.Clone(here.prefixes)
	all := aggregate(nil, f, here.cluster)
	for _, p := range peers {
		if there := p.in(here.cluster); there != nil {
			known = append(append(known, there.prefixes...), there.link)
		}
		all = aggregate(all, p.footprint, here.cluster)
	}
	all = append(all, links.ranges...)
	all = slices.DeleteFunc(all, func(p netip.Prefix) bool { return slices.Contains(known, p) })
	slices.SortFunc(all, ipam.Compare)
	return texts(slices.Compact(all))
}

// aggregate adds what a Vpc has outside a cluster: its declared CIDRs, or else its subnets there.
func aggregate(all []netip.Prefix, f *footprint, cluster string) []netip.Prefix {
	for _, s := range f.sites {
		if s.cluster == cluster {
			continue
		}
		if len(f.declared) > 0 {
			return append(all, f.declared...)
		}
		all = append(all, s.prefixes...)
	}
	return all
}

// makeRouters makes the routers of all Vpcs.
func (p *Planner) makeRouters() {
	links := p.links.value
	for _, n := range p.vpcs.sorted {
		a, address, t := n.admission.value, n.address.value, n.territory.value
		n.footprint.get(func() *footprint { return newFootprint(a, address, t) }, a, address, t)
	}
	for _, n := range p.vpcs.sorted {
		if a := n.admission.value; !a.usable && !a.deleting {
			p.trimRouters(n)
			continue
		}
		inputs := append(p.inputs[:0], n.footprint.value, links)
		for _, pair := range n.pairs {
			if pair.active && pair.peering.programmable != nil {
				inputs = append(inputs, pair.other.footprint.value, pair.peering.programmable)
			}
		}
		stay := p.stayersOf(n, &inputs)
		stay.carriers = p.carriers(n)
		for _, c := range stay.carriers {
			inputs = append(inputs, c.Namespace, c.Spec.LinkCIDR, c.Spec.Vpc.VNI)
		}
		n.routers.get(func() *routerSet { return newRouters(n.footprint.value, n.peers(), links, stay, n.routers.value) }, inputs...)
		p.inputs = inputs
	}
}

// trimRouters leaves the routers of a Vpc that is not accepted as they are, but for its peers: to them nothing is
// programmed any more, on either side.
func (p *Planner) trimRouters(n *vpcNode) {
	inputs, clusters := []any{n.key, p.drains.value}, []string(nil)
	var kept []*spokev1alpha1.LocalRouter
	for _, r := range p.routersOf(n.key) {
		if r.obj.DeletionTimestamp == nil && p.evidence(r) == "" && p.drains.value.byCluster[r.cluster] == nil {
			inputs, kept, clusters = append(inputs, r.obj), append(kept, r.obj), append(clusters, r.cluster)
		}
	}
	staying := p.staying(n.key)
	for _, r := range staying {
		inputs, kept = append(inputs, r.obj), append(kept, r.obj)
	}
	n.routers.get(func() *routerSet {
		set := &routerSet{staying: len(staying)}
		for _, o := range kept {
			set.add(trimmed(o, clusters), n.routers.value)
		}
		return set
	}, inputs...)
}

// trimmed is a router without its peers, and without what was in other clusters than these.
func trimmed(o *spokev1alpha1.LocalRouter, clusters []string) *spokev1alpha1.LocalRouter {
	spec := *o.Spec.DeepCopy()
	spec.Peers, spec.Remotes = nil, nil
	for _, r := range o.Spec.Remotes {
		if r.Vpc.Namespace == spec.Vpc.Namespace && r.Vpc.Name == spec.Vpc.Name && slices.Contains(clusters, r.Cluster) {
			spec.Remotes = append(spec.Remotes, *r.DeepCopy())
		}
	}
	return &spokev1alpha1.LocalRouter{ObjectMeta: routerMeta(o.Namespace, spec.Vpc), Spec: spec}
}

// peers lists the active peers of a Vpc that are programmed.
func (n *vpcNode) peers() []peerOf {
	var peers []peerOf
	for _, pair := range n.pairs {
		if pair.active && pair.peering.programmable != nil {
			peers = append(peers, peerOf{footprint: pair.other.footprint.value, address: pair.peering.programmable})
		}
	}
	return peers
}
