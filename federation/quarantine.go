// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

// What was handed out is free when everybody that had it has let go (docs/decisions/0014). The links of a Vpc are the record of the clusters that
// were told of it. A cluster lets go of one in three steps, so that nothing depends on which of its words came late:
//
//  1. the hub has no LocalRouter of the Vpc any more, and asks: spec.releasedVpcs of the cluster's InterconnectGateway. From then on the cluster makes
//     no copy of it.
//  2. the cluster answers what it has, and which question it had read: status.holds and holdsGeneration.
//  3. an answer to this very question without the Vpc frees the link.
//
// A LocalRouter that vanished without its cluster's consent leaves a copy there. Then the hub makes it once more, so that the cluster has
// a tombstone to take the copy away by.

// holdings is what the clusters say that they have.
type holdings struct {
	// byCluster has those that say it at all, in order of Vpc.
	byCluster map[string][]spokev1alpha1.Hold
	// clusters that hold a Vpc, by its UID.
	holders map[string][]string
}

// readHolds collects what clusters say.
func readHolds(gateways []*gatewayNode) *holdings {
	h := &holdings{byCluster: map[string][]spokev1alpha1.Hold{}, holders: map[string][]string{}}
	for _, g := range gateways {
		if g.obj.Name != g.obj.Namespace || g.obj.Status.Holds == nil {
			continue
		}
		h.byCluster[g.obj.Name] = *g.obj.Status.Holds
		for _, hold := range *g.obj.Status.Holds {
			h.holders[hold.VpcUID] = append(h.holders[hold.VpcUID], g.obj.Name)
		}
	}
	for _, clusters := range h.holders {
		slices.Sort(clusters)
	}
	return h
}

// gatewayOf is what a cluster has said last; nil when there is nothing.
func (p *Planner) gatewayOf(cluster string) *spokev1alpha1.InterconnectGateway {
	if n := p.gateways.byKey[joinKey(cluster, cluster)]; n != nil {
		return n.obj
	}
	return nil
}

// hasLetGo is true when a cluster has nothing of a link any more, and gets nothing of it.
func (p *Planner) hasLetGo(e *entry) bool {
	if c, _ := p.fleet.value.cluster(e.cluster); c.Gone || c.Left {
		return true
	}
	holds, answered := p.answer(e.cluster, e.uid)
	return answered && !slices.ContainsFunc(holds, func(h spokev1alpha1.Hold) bool {
		link, err := ipam.ParsePrefix(h.LinkCIDR)
		return h.VpcUID == e.uid || err != nil || link.Overlaps(e.prefix)
	})
}

// wasAsked is true when a cluster has been asked about a Vpc.
func (p *Planner) wasAsked(cluster, uid string) bool {
	g := p.gatewayOf(cluster)
	return g != nil && slices.Contains(g.Spec.ReleasedVpcs, uid)
}

// answer is what a cluster has said that it holds, after it was asked about a Vpc.
func (p *Planner) answer(cluster, uid string) (holds []spokev1alpha1.Hold, answered bool) {
	g := p.gatewayOf(cluster)
	if !p.wasAsked(cluster, uid) || g.Status.Holds == nil || g.Status.HoldsGeneration != g.Generation || outdated(g) {
		return nil, false
	}
	return *g.Status.Holds, true
}

// free finds the orphans that everybody has let go of, and what others still wait for.
func (p *Planner) free(orphans []*entry) {
	p.freed, p.orphan, p.awaited = map[*entry]bool{}, map[*entry]bool{}, map[string][]string{}
	linked, asked := p.freeLinks(orphans)
	for _, e := range orphans {
		if (e.kind != "Vpc" || e.cluster == "") && p.isFree(e, linked) {
			p.freed[e] = true
		}
	}
	p.asked.set(newQuestions(asked))
}

// freeLinks does so for links, and finds the Vpcs that have links left and the questions that clusters are asked.
func (p *Planner) freeLinks(orphans []*entry) (linked map[string]bool, asked map[string][]string) {
	linked, asked = map[string]bool{}, map[string][]string{}
	known := map[[2]string]bool{}
	for _, e := range orphans {
		p.orphan[e] = true
		if e.kind != "Vpc" || e.cluster == "" {
			continue
		}
		known[[2]string{e.uid, e.cluster}] = true
		if p.lost(e) || !p.realizes(e) && p.hasLetGo(e) {
			p.freed[e] = true
			continue
		}
		linked[e.uid] = true
		p.ask(e, asked) // until the link is free
	}
	for _, e := range p.toldOf() { // whose links the ledgers may have lost
		if !known[[2]string{e.uid, e.cluster}] {
			p.ask(e, asked)
		}
	}
	return linked, asked
}

// ask asks a cluster about the Vpc of a link that the hub has no router for, and notes that it is waited for.
func (p *Planner) ask(e *entry, asked map[string][]string) {
	if p.hasRouter(e.cluster, e.uid) && !p.wasAsked(e.cluster, e.uid) { // a question stands until it is answered by no
		return
	}
	asked[e.cluster] = append(asked[e.cluster], e.uid)
	if p.answers(e.cluster) && !p.hasLetGo(e) {
		p.awaited[e.uid] = append(p.awaited[e.uid], e.cluster)
	}
}

// isFree is true for an orphan that is no link when nobody has anything of it. linked are the Vpcs that have links left.
func (p *Planner) isFree(e *entry, linked map[string]bool) bool {
	if e.kind == "Vpc" {
		return !linked[e.uid] && !p.realizes(e) && len(p.holds.value.holders[e.uid]) == 0
	}
	return p.lost(e) || !p.realizes(e)
}

// toldOf lists the links of Vpcs under deletion by what their statuses say.
func (p *Planner) toldOf() []*entry {
	var all []*entry
	for _, n := range p.vpcs.sorted {
		if n.obj.DeletionTimestamp == nil || !slices.Contains(n.obj.Finalizers, networkv1alpha1.Finalizer) {
			continue
		}
		for _, c := range n.obj.Status.Clusters {
			e := &entry{kind: "Vpc", object: n.key, cluster: string(c.Name), owner: owner{uid: string(n.obj.UID)}}
			if link := prefixEntry(c.LinkCIDR); link != nil {
				e.prefix = link.prefix
			}
			all = append(all, e)
		}
	}
	return all
}

// answers is true for a cluster of the fleet whose agent says what it holds, or has not spoken yet. An older agent speaks, and does not say it.
func (p *Planner) answers(cluster string) bool {
	_, member := p.fleet.value.cluster(cluster)
	g := p.gatewayOf(cluster)
	return member && (g == nil || g.Status.Holds != nil && !outdated(g) || len(g.Status.Conditions) == 0)
}

// outdated is true for what an agent has said before it was rolled back to a version that does not say what it holds. Nobody knows whether it is still so:
// what is in it stays kept from others, no absence from it frees anything, and no Vpc waits for a word that will not come.
func outdated(g *spokev1alpha1.InterconnectGateway) bool {
	return version.Older(g.Status.AgentVersion, g.Status.HoldsVersion)
}

// hasRouter is true when the hub has a Vpc's router in a cluster.
func (p *Planner) hasRouter(cluster, uid string) bool {
	return slices.ContainsFunc(p.routersOfCluster(cluster), func(n *routerNode) bool { return n.obj.Spec.VpcUID == uid })
}

// routersOfCluster lists the distributed routers of a cluster.
func (p *Planner) routersOfCluster(cluster string) []*routerNode {
	if p.routersByCluster == nil {
		p.routersByCluster = map[string][]*routerNode{}
		for _, n := range p.routers.sorted {
			p.routersByCluster[n.cluster] = append(p.routersByCluster[n.cluster], n)
		}
	}
	return p.routersByCluster[cluster]
}

// questions are the Vpcs that each cluster is asked about, in order of UID.
type questions struct {
	byCluster map[string][]string
}

func newQuestions(asked map[string][]string) *questions {
	for cluster, uids := range asked {
		slices.Sort(uids)
		uids = slices.Compact(uids)
		asked[cluster] = uids[:min(len(uids), spokev1alpha1.MaxReleased)]
	}
	return &questions{byCluster: asked}
}

// awaits lists the clusters that a Vpc under deletion waits for, besides those that have a router of it: they have a copy, or have not
// said that they have none. An older agent, which does not say it, keeps the addresses, and the object may go.
func (p *Planner) awaits(uid string) []string {
	all := slices.Clone(p.awaited[uid])
	for _, cluster := range p.holds.value.holders[uid] {
		if c, _ := p.fleet.value.cluster(cluster); c.Name != "" && !c.Gone && !c.Left && !outdated(p.gatewayOf(cluster)) {
			all = append(all, cluster)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// carriers are routers that a Vpc under deletion gets once more where the cluster has a copy and the hub has none, so that the copy goes by a tombstone.
func (p *Planner) carriers(n *vpcNode) []*spokev1alpha1.LocalRouter {
	uid := string(n.obj.UID)
	if n.obj.DeletionTimestamp == nil {
		return nil
	}
	var all []*spokev1alpha1.LocalRouter
	for _, cluster := range p.holds.value.holders[uid] {
		if p.fleet.value.unusable(cluster) != "" || slices.ContainsFunc(p.routersOf(n.key), func(r *routerNode) bool { return r.cluster == cluster }) {
			continue
		}
		holds, _ := p.answer(cluster, uid) // before, its copy may be on its way out
		for _, h := range holds {
			if h.VpcUID == uid {
				vpc := spokev1alpha1.VpcIdentity{Namespace: n.obj.Namespace, Name: n.obj.Name, VNI: h.VNI}
				all = append(all, &spokev1alpha1.LocalRouter{
					ObjectMeta: routerMeta(cluster, vpc), Spec: spokev1alpha1.LocalRouterSpec{Vpc: vpc, VpcUID: uid, LinkCIDR: h.LinkCIDR},
				})
				break
			}
		}
	}
	return all
}

// behind is true while a router of a Vpc's peers may still have a way to it. A way to another Vpc that has its name now is none: that one has another VNI.
func (p *Planner) behind(vpc Key, uid string) bool {
	var successor int32
	if n := p.vpcs.byKey[vpc]; n != nil && string(n.obj.UID) != uid {
		successor = n.obj.Status.VNI
	}
	for _, n := range p.peerings.sorted {
		other := n.peerKey
		switch vpc {
		case n.vpcKey:
		case n.peerKey:
			other = n.vpcKey
		default:
			continue
		}
		if slices.ContainsFunc(p.routersOf(other), func(r *routerNode) bool {
			return r.vpcKey != vpc && (mentionsFormer(&r.obj.Spec, vpc, successor) || r.obj.Status.ObservedGeneration < r.obj.Generation)
		}) {
			return true
		}
	}
	return false
}

// mentionsFormer is true when a router has a way to a Vpc of that name with another VNI than the one that has the name now.
func mentionsFormer(spec *spokev1alpha1.LocalRouterSpec, vpc Key, successor int32) bool {
	is := func(v spokev1alpha1.VpcIdentity) bool {
		return joinKey(v.Namespace, v.Name) == vpc && (successor == 0 || v.VNI != successor)
	}
	return slices.ContainsFunc(spec.Remotes, func(r spokev1alpha1.Remote) bool { return is(r.Vpc) }) ||
		slices.ContainsFunc(spec.Peers, func(l spokev1alpha1.LocalPeer) bool { return is(l.Vpc) })
}

// becauseHeld says why a Vpc's former router is awaited in a cluster.
func becauseHeld(cluster string) string {
	return fmt.Sprintf("the hub waits for cluster %q to say that nothing of it is left there", cluster)
}

// heldStrays lists what clusters hold and what statuses of Vpcs tell, and the ledger does not have: the last records when ledgers and routers are lost.
func (p *Planner) heldStrays(add func(*entry)) {
	byUID := map[string]Key{}
	for _, n := range p.vpcs.sorted {
		byUID[string(n.obj.UID)] = n.key
		p.toldStrays(n, add)
	}
	for _, g := range p.gateways.sorted {
		if c, _ := p.fleet.value.cluster(g.obj.Name); departed(c) != "" {
			continue // somebody has said that it holds nothing any more
		}
		for _, h := range p.holds.value.byCluster[g.obj.Name] {
			base := ""
			if key, known := byUID[h.VpcUID]; known {
				base = "Vpc/" + string(key)
			}
			if g.obj.Name == g.obj.Namespace {
				p.stray(owner{base, h.VpcUID}, numberEntry(h.VNI), add)
				p.stray(owner{linkOwner(base, g.obj.Name), h.VpcUID}, prefixEntry(h.LinkCIDR), add)
			}
		}
	}
}

// toldStrays lists what the status of a Vpc says that it has.
func (p *Planner) toldStrays(n *vpcNode, add func(*entry)) {
	if n.obj.DeletionTimestamp != nil && !slices.Contains(n.obj.Finalizers, networkv1alpha1.Finalizer) {
		return // it was let go, and what its status says is over
	}
	base, uid := "Vpc/"+string(n.key), string(n.obj.UID)
	p.stray(owner{base, uid}, numberEntry(n.obj.Status.VNI), add)
	for _, c := range n.obj.Status.Clusters {
		if known, _ := p.fleet.value.cluster(string(c.Name)); departed(known) == "" {
			p.stray(owner{base + "/" + string(c.Name), uid}, prefixEntry(c.LinkCIDR), add)
		}
	}
}

// stray adds what the ledger does not have for its owner and has not just been freed.
func (p *Planner) stray(o owner, e *entry, add func(*entry)) {
	if e == nil || first(p.ledger.byOwner[o], func(have *entry) bool { return have.value == e.value }) != nil {
		return
	}
	for freed := range p.freed {
		if freed.owner == o && freed.value == e.value {
			return
		}
	}
	e.owner = o
	add(e)
}

func numberEntry(vni int32) *entry {
	if vni < 1 || vni > maxVNI {
		return nil
	}
	return &entry{value: fmt.Sprint(vni), number: uint32(vni)}
}

func prefixEntry(cidr string) *entry {
	p, err := ipam.ParsePrefix(cidr)
	if err != nil {
		return nil
	}
	return &entry{value: cidr, prefix: p}
}

// linkOwner is the owner of a Vpc's link in a cluster; nobody when the Vpc is not known.
func linkOwner(base, cluster string) string {
	if base == "" {
		return ""
	}
	return base + "/" + cluster
}

// insideOf are the blocks that a stray is meant to lie in: those of its pool, and the range of its Vpc.
func (p *Planner) insideOf(e *entry, pool *poolView) []netip.Prefix {
	inside := slices.Clone(pool.inside)
	rest, isSubnet := strings.CutPrefix(e.name, "Subnet/")
	if !isSubnet {
		return inside
	}
	if i := strings.LastIndex(rest, "/"); i >= 0 {
		if n := p.subnets.byKey[Key(rest[:i])]; n != nil && n.vpc != nil {
			for _, have := range p.ledger.byOwner[owner{"Vpc/" + string(n.vpcKey), string(n.vpc.obj.UID)}] {
				if have.prefix.IsValid() {
					inside = append(inside, have.prefix)
				}
			}
		}
	}
	return inside
}
