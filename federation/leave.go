// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"slices"
	"strings"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// A cluster leaves in this order, so that no packet is sent to where nobody takes it:
//
//  1. The other clusters lose their ways to it. Its own routers stay as they are, and so what is under way still arrives.
//  2. When all others have said that they have none, its own routers are deleted.
//  3. When none is left it is drained, and its agent may take down what it has made.
//
// A cluster that says nothing keeps others from step 2 for as long as nobody says that it is gone.

// drain is how far a leaving cluster is.
type drain struct {
	// awaited are the clusters that may still have a way to it, in order of name.
	awaited []string
	// routers is how many routers it has left.
	routers int
}

// drains are the clusters that are leaving, without those that are gone.
type drains struct {
	byCluster map[string]*drain
}

// membership is what a leaving cluster is told.
func (d *drain) membership() spokev1alpha1.Membership {
	if len(d.awaited) > 0 || d.routers > 0 {
		return spokev1alpha1.MembershipDraining
	}
	return spokev1alpha1.MembershipDrained
}

// because says why a router in the cluster goes, or waits for that.
func (d *drain) because(cluster string) string {
	why := fmt.Sprintf("cluster %q is leaving the fleet", cluster)
	if len(d.awaited) > 0 {
		why += ", and waits until these have no way to it: " + strings.Join(d.awaited, ", ")
	}
	return why
}

// findDrains looks how far the leaving clusters are.
func (p *Planner) findDrains() {
	found := &drains{byCluster: map[string]*drain{}}
	for _, c := range p.fleet.value.clusters {
		if c.Leaving && !c.Gone {
			found.byCluster[c.Name] = &drain{}
		}
	}
	if len(found.byCluster) > 0 {
		p.await(found)
	}
	p.drains.set(found)
}

// await finds who is waited for.
func (p *Planner) await(found *drains) {
	homes := map[string]map[Key]bool{} // the Vpcs that a leaving cluster has routers of
	for _, n := range p.routers.sorted {
		d := found.byCluster[n.cluster]
		if d == nil {
			continue
		}
		d.routers++
		if homes[n.cluster] == nil {
			homes[n.cluster] = map[Key]bool{}
		}
		homes[n.cluster][n.vpcKey] = true
	}
	peers := map[Key][]Key{}
	for _, n := range p.peerings.sorted { // those under deletion too: they stay until nobody realizes them
		peers[n.vpcKey] = append(peers[n.vpcKey], n.peerKey)
		peers[n.peerKey] = append(peers[n.peerKey], n.vpcKey)
	}
	silent := p.silentClusters()
	for _, n := range p.routers.sorted {
		if silent[n.cluster] {
			continue
		}
		for cluster, d := range found.byCluster {
			if cluster != n.cluster && !slices.Contains(d.awaited, n.cluster) && n.mayReach(cluster, homes[cluster], peers[n.vpcKey]) {
				d.awaited = append(d.awaited, n.cluster)
			}
		}
	}
	for _, d := range found.byCluster {
		slices.Sort(d.awaited)
	}
}

// silentClusters have nothing that has to be waited for: those that are gone, or have left, and those whose agent has never said anything.
func (p *Planner) silentClusters() map[string]bool {
	silent := map[string]bool{}
	for _, g := range p.gateways.sorted {
		if g.obj.Name == g.obj.Namespace && len(g.obj.Status.Conditions) == 0 && g.obj.Status.ClusterID == "" {
			silent[g.obj.Name] = true
		}
	}
	for _, c := range p.fleet.value.clusters {
		if c.Gone || c.Left {
			silent[c.Name] = true
		}
	}
	return silent
}

// mayReach is true when a router has a way to a cluster, or may have one: an older generation may have had it, if Vpcs at home in that
// cluster are the router's own or a peer.
func (n *routerNode) mayReach(cluster string, homes map[Key]bool, peers []Key) bool {
	if slices.ContainsFunc(n.obj.Spec.Remotes, func(r spokev1alpha1.Remote) bool { return r.Cluster == cluster }) {
		return true
	}
	return n.obj.Status.ObservedGeneration < n.obj.Generation &&
		(homes[n.vpcKey] || slices.ContainsFunc(peers, func(peer Key) bool { return homes[peer] }))
}

// staying are the routers of a Vpc that stay in clusters that are leaving.
func (p *Planner) staying(vpc Key) []*routerNode {
	if len(p.drains.value.byCluster) == 0 {
		return nil
	}
	var all []*routerNode
	for _, n := range p.routersOf(vpc) {
		if p.drains.value.byCluster[n.cluster] != nil && n.obj.DeletionTimestamp == nil && p.evidence(n) == "" {
			all = append(all, n)
		}
	}
	return all
}

// stayers are what stays of a Vpc and of its peers where clusters are leaving, and what carries a tombstone to a cluster.
type stayers struct {
	own []*spokev1alpha1.LocalRouter
	// peers are the routers of active peers.
	peers []*spokev1alpha1.LocalRouter
	// carriers are made only to be deleted.
	carriers []*spokev1alpha1.LocalRouter
}

// stayersOf finds them, and adds them to the inputs of what is made of them.
func (p *Planner) stayersOf(n *vpcNode, inputs *[]any) stayers {
	var s stayers
	for _, r := range p.staying(n.key) {
		s.own = append(s.own, r.obj)
		*inputs = append(*inputs, r.obj)
	}
	if len(s.own) == 0 {
		return s
	}
	for _, pair := range n.pairs {
		if !pair.active || pair.peering.programmable == nil {
			continue
		}
		for _, r := range p.staying(pair.other.key) {
			s.peers = append(s.peers, r.obj)
			*inputs = append(*inputs, r.obj)
		}
	}
	return s
}

// remain is a router in a leaving cluster: as it was, but for what it may not reach any more. Nothing is added to it.
func (s stayers) remain(o *spokev1alpha1.LocalRouter, f *footprint, peers []peerOf) *spokev1alpha1.LocalRouter {
	spec := *o.Spec.DeepCopy()
	spec.Remotes, spec.Peers = nil, nil
	if o.Spec.Vpc == f.vpc && o.Spec.VpcUID == f.uid {
		now := remotes(f, &site{cluster: o.Namespace}, peers)
		for _, r := range o.Spec.Remotes {
			if r, still := narrowed(r, now); still {
				spec.Remotes = append(spec.Remotes, r)
			}
		}
		for _, l := range o.Spec.Peers {
			if slices.ContainsFunc(s.peers, func(peer *spokev1alpha1.LocalRouter) bool { return joined(o, peer, l) }) {
				spec.Peers = append(spec.Peers, *l.DeepCopy())
			}
		}
	}
	return &spokev1alpha1.LocalRouter{ObjectMeta: routerMeta(o.Namespace, spec.Vpc), Spec: spec}
}

// narrowed is a remote without the prefixes that are no longer there.
func narrowed(r spokev1alpha1.Remote, now []spokev1alpha1.Remote) (spokev1alpha1.Remote, bool) {
	i := slices.IndexFunc(now, func(other spokev1alpha1.Remote) bool { return other.Vpc == r.Vpc && other.Cluster == r.Cluster })
	if i < 0 {
		return r, false
	}
	r.Prefixes = slices.DeleteFunc(slices.Clone(r.Prefixes), func(p string) bool { return !slices.Contains(now[i].Prefixes, p) })
	return r, len(r.Prefixes) > 0
}

// joined is true when l leads to a peer's router that leads back.
func joined(o, peer *spokev1alpha1.LocalRouter, l spokev1alpha1.LocalPeer) bool {
	return peer.Namespace == o.Namespace && peer.Spec.Vpc == l.Vpc &&
		slices.ContainsFunc(peer.Spec.Peers, func(back spokev1alpha1.LocalPeer) bool {
			return back.Vpc == o.Spec.Vpc && back.LocalConnectIP == l.RemoteConnectIP && back.RemoteConnectIP == l.LocalConnectIP
		})
}

// ofGone is true for an entry of a cluster that is gone, or has left for good.
func (p *Planner) ofGone(e *entry) bool {
	if e.cluster == "" {
		return false
	}
	c, _ := p.fleet.value.cluster(e.cluster)
	return departed(c) != ""
}

// lost is true when an entry is of a cluster that is gone, and nobody has a router or a way there any more.
func (p *Planner) lost(e *entry) bool {
	if !p.ofGone(e) {
		return false
	}
	return !slices.ContainsFunc(p.routers.sorted, func(n *routerNode) bool {
		return n.cluster == e.cluster || slices.ContainsFunc(n.obj.Spec.Remotes, func(r spokev1alpha1.Remote) bool { return r.Cluster == e.cluster })
	})
}
