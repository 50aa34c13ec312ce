// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Nothing is deleted and nothing is handed out again on doubt: each step below needs to see what it relies on.

// evidence says why a distributed router must go; empty when nothing proves it.
func (p *Planner) evidence(n *routerNode) string {
	vpc, drain := p.vpcs.byKey[n.vpcKey], p.drains.value.byCluster[n.cluster]
	c, _ := p.fleet.value.cluster(n.cluster)
	switch {
	case c.Gone:
		return fmt.Sprintf("cluster %q is gone for good", n.cluster)
	case drain != nil && (len(drain.awaited) == 0 || c.Left):
		return drain.because(n.cluster)
	case vpc == nil:
		return ""
	case vpc.view.value.deleting:
		return fmt.Sprintf("Vpc %s is being deleted", n.vpcKey)
	case drain != nil:
		return "" // whatever selects it: placements let go of a cluster when it is deleted, and then it has not been drained
	case vpc.view.value.selection.certain && !vpc.view.value.selection.selects(n.cluster):
		return fmt.Sprintf("Vpc %s does not select cluster %q", n.vpcKey, n.cluster)
	}
	return ""
}

// leftover is a router that is there and not wanted.
type leftover struct {
	cluster string
	because string
}

type leftovers struct {
	list []leftover
}

var noLeftovers leftovers

// deletions lists what must go, and tells each Vpc what is left of it where.
func (p *Planner) deletions() []Deletion {
	var all []Deletion
	left := map[Key][]leftover{}
	for _, n := range p.routers.sorted {
		drain := p.drains.value.byCluster[n.cluster]
		if n.desired != nil {
			if drain != nil {
				left[n.vpcKey] = append(left[n.vpcKey], leftover{cluster: n.cluster, because: drain.because(n.cluster)})
			}
			continue
		}
		because := p.evidence(n)
		if because != "" && n.obj.DeletionTimestamp == nil {
			all = append(all, Deletion{Kind: "LocalRouter", Key: n.key, Because: because})
		}
		if because == "" && n.obj.DeletionTimestamp != nil {
			because = "its deletion was requested"
		}
		left[n.vpcKey] = append(left[n.vpcKey], leftover{cluster: n.cluster, because: because})
	}
	for _, v := range p.vpcs.sorted {
		left[v.key] = p.withHeld(v, left[v.key])
		over := &noLeftovers
		if list := left[v.key]; len(list) > 0 {
			over = &leftovers{list: list}
		}
		v.leftovers.set(over)
	}
	for _, n := range p.gateways.sorted {
		c, _ := p.fleet.value.cluster(n.obj.Namespace)
		if because := departed(c); because != "" && n.obj.DeletionTimestamp == nil {
			all = append(all, Deletion{Kind: "InterconnectGateway", Key: n.key, Because: because})
		}
	}
	slices.SortFunc(all, func(a, b Deletion) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) })
	return all
}

// withHeld adds the clusters that a Vpc under deletion waits for without a router.
func (p *Planner) withHeld(v *vpcNode, left []leftover) []leftover {
	if !v.view.value.deleting {
		return left
	}
	for _, cluster := range p.awaits(v.view.value.uid) {
		if !slices.ContainsFunc(left, func(l leftover) bool { return l.cluster == cluster }) {
			left = append(left, leftover{cluster: cluster, because: becauseHeld(cluster)})
		}
	}
	return left
}

// departed says why a cluster's InterconnectGateway must go. Those of clusters that leave and may come back stay: they are what the hub
// remembers of them.
func departed(c Cluster) string {
	switch {
	case c.Gone:
		return fmt.Sprintf("cluster %q is gone for good", c.Name)
	case c.Left && c.Detached:
		return fmt.Sprintf("cluster %q has left the fleet", c.Name)
	}
	return ""
}

// routersOf lists the distributed routers of a Vpc.
func (p *Planner) routersOf(vpc Key) []*routerNode {
	if p.routersByVpc == nil {
		p.routersByVpc = map[Key][]*routerNode{}
		for _, n := range p.routers.sorted {
			p.routersByVpc[n.vpcKey] = append(p.routersByVpc[n.vpcKey], n)
		}
	}
	return p.routersByVpc[vpc]
}

// forgotten lists the objects under deletion that no cluster realizes any more.
func (p *Planner) forgotten() []ObjectRef {
	var all []ObjectRef
	for _, n := range p.vpcs.sorted {
		if n.view.value.deleting && !p.hasRouters(n.key, n.view.value.uid) && len(p.awaits(n.view.value.uid)) == 0 {
			all = append(all, ObjectRef{Kind: "Vpc", Key: n.key})
		}
	}
	for _, n := range p.subnets.sorted {
		if n.obj.DeletionTimestamp != nil && p.forgotSubnet(n) {
			all = append(all, ObjectRef{Kind: "Subnet", Key: n.key})
		}
	}
	for _, n := range p.peerings.sorted {
		if n.view.value.deleting && p.forgotPeer(n.vpcKey, n.peer, n.peerKey) && p.forgotPeer(n.peerKey, n.vpc, n.vpcKey) {
			all = append(all, ObjectRef{Kind: "VpcPeering", Key: n.key})
		}
	}
	slices.SortFunc(all, func(a, b ObjectRef) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) })
	return all
}

// synced is true when a cluster has nothing of a wanted router that is older than the newest decision.
func (n *routerNode) synced() bool { return n.realized.value.synced }

// forgotSubnet is true when no router of the Vpc or of its peers has anything of a subnet.
func (p *Planner) forgotSubnet(n *subnetNode) bool {
	if n.vpc != nil && p.leftSomewhere(n.vpc) {
		return false
	}
	for _, r := range p.routersOf(n.vpcKey) {
		has := slices.ContainsFunc(r.obj.Spec.Subnets, func(s spokev1alpha1.RouterSubnet) bool { return s.Name == n.obj.Name })
		if has || r.desired != nil && !r.synced() {
			return false
		}
	}
	if n.vpc == nil {
		return true
	}
	for _, pair := range n.vpc.pairs {
		if pair.active && slices.ContainsFunc(p.routersOf(pair.other.key), func(r *routerNode) bool { return r.desired != nil && !r.synced() }) {
			return false
		}
	}
	return true
}

// forgotPeer is true when no router of a Vpc has anything of a peer that it no longer peers with.
func (p *Planner) forgotPeer(vpc Key, peer *vpcNode, peerKey Key) bool {
	joined := false
	if v := p.vpcs.byKey[vpc]; v != nil && p.leftSomewhere(v) {
		return false
	}
	if v := p.vpcs.byKey[vpc]; v != nil && peer != nil {
		joined = slices.ContainsFunc(v.pairs, func(pair pair) bool { return pair.active && pair.other == peer })
	}
	for _, r := range p.routersOf(vpc) {
		if r.desired != nil && !r.synced() || r.desired == nil && !joined && mentions(&r.obj.Spec, peerKey) {
			return false
		}
	}
	return true
}

// mentions is true when a router has a way to a Vpc.
func mentions(spec *spokev1alpha1.LocalRouterSpec, vpc Key) bool {
	is := func(v spokev1alpha1.VpcIdentity) bool { return joinKey(v.Namespace, v.Name) == vpc }
	return slices.ContainsFunc(spec.Remotes, func(r spokev1alpha1.Remote) bool { return is(r.Vpc) }) ||
		slices.ContainsFunc(spec.Peers, func(l spokev1alpha1.LocalPeer) bool { return is(l.Vpc) })
}

// realizes is true when some distributed router still realizes what an owner was given.
func (p *Planner) realizes(e *entry) bool {
	switch e.kind {
	case "Vpc":
		return p.hasRouters(e.object, e.uid) || p.behind(e.object, e.uid)
	case "IPPool": // what is handed out of a pool stays in it
		return slices.ContainsFunc(p.entriesOf(string(e.object)), func(in *entry) bool { return in.prefix.IsValid() && in.prefix.Overlaps(e.prefix) }) ||
			slices.ContainsFunc(p.addressEntries.value.list, func(in *entry) bool { return in.object == e.object && in.prefix.Overlaps(e.prefix) })
	case "Import":
		return false
	case "Subnet":
		namespace, _, _ := strings.Cut(string(e.object), "/")
		return slices.ContainsFunc(p.routers.sorted, func(n *routerNode) bool { return n.hasSubnet(namespace, e.value) })
	case "VpcPeering":
		return slices.ContainsFunc(p.routers.sorted, func(n *routerNode) bool { return n.hasPeerLink(e.prefix) })
	}
	return true
}

// hasRouters is true when some router realizes a Vpc.
func (p *Planner) hasRouters(vpc Key, uid string) bool {
	return slices.ContainsFunc(p.routersOf(vpc), func(n *routerNode) bool { return !n.succeeds(uid) }) ||
		slices.ContainsFunc(p.routers.sorted, func(n *routerNode) bool { return n.obj.Spec.VpcUID == uid })
}

// leftSomewhere is true when a cluster may have something of a Vpc under deletion that the hub has no router for.
func (p *Planner) leftSomewhere(n *vpcNode) bool {
	return n.obj.DeletionTimestamp != nil && len(p.awaits(string(n.obj.UID))) > 0
}

// entriesOf lists the stored entries of a pool.
func (p *Planner) entriesOf(pool string) []*entry {
	if n := p.pools.byKey[Key(pool)]; n != nil {
		return n.entries.value.list
	}
	return nil
}

// succeeds is true when a router belongs to a younger Vpc of the same name, and the cluster has nothing of the former one.
func (n *routerNode) succeeds(uid string) bool {
	return n.obj.Spec.VpcUID != "" && n.obj.Spec.VpcUID != uid && n.obj.Status.ObservedGeneration >= n.obj.Generation
}

// hasSubnet is true when a router has a CIDR of a tenant, or a way to it.
func (n *routerNode) hasSubnet(namespace, cidr string) bool {
	spec := &n.obj.Spec
	return spec.Vpc.Namespace == namespace && slices.ContainsFunc(spec.Subnets, func(s spokev1alpha1.RouterSubnet) bool { return s.CIDR == cidr }) ||
		slices.ContainsFunc(spec.Remotes, func(r spokev1alpha1.Remote) bool {
			return r.Vpc.Namespace == namespace && slices.Contains(r.Prefixes, cidr)
		}) ||
		slices.ContainsFunc(spec.Peers, func(l spokev1alpha1.LocalPeer) bool {
			return l.Vpc.Namespace == namespace && slices.Contains(l.Prefixes, cidr)
		})
}

// hasPeerLink is true when a router has its end of the link between two peers.
func (n *routerNode) hasPeerLink(link netip.Prefix) bool {
	return slices.ContainsFunc(n.obj.Spec.Peers, func(l spokev1alpha1.LocalPeer) bool {
		p, err := netip.ParsePrefix(l.LocalConnectIP)
		return err == nil && p.Overlaps(link)
	})
}

// alive is true when the owner of an entry still exists. An owner of a kind that is not known here is left alone.
func (p *Planner) alive(e *entry) bool {
	if p.ofGone(e) {
		return false
	}
	switch e.kind {
	case "Vpc":
		n := p.vpcs.byKey[e.object]
		return n != nil && string(n.obj.UID) == e.uid && n.obj.DeletionTimestamp == nil
	case "Subnet":
		n := p.subnets.byKey[e.object]
		return n != nil && string(n.obj.UID) == e.uid
	case "VpcPeering":
		n := p.peerings.byKey[e.object]
		return n != nil && string(n.obj.UID) == e.uid
	case "IPPool":
		return p.nests(e)
	case "Import":
		n := p.pools.byKey[Key(e.pool)]
		return slices.ContainsFunc(n.view.value.imports, func(im networkv1alpha1.PoolImport) bool { return im.Value == e.value && im.Holder == string(e.object) })
	}
	return true
}

// nests is true when a pool still wants what it has in its parent.
func (p *Planner) nests(e *entry) bool {
	n := p.pools.byKey[e.object]
	if n == nil || string(n.obj.UID) != e.uid || n.view.value.parent != e.pool {
		return false
	}
	return n.view.value.cut > 0 || slices.Contains(n.view.value.ranges, e.prefix)
}
