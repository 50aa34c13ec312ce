// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

type peeringNode struct {
	tracked[*networkv1alpha1.VpcPeering]
	// settled is true when the hub had accepted the peering before: then it goes before all that are new.
	settled bool
	// vpcKey is the requester's end, peerKey the accepter's.
	vpcKey, peerKey Key
	// vpc and peer are nil when there is no such Vpc.
	vpc, peer *vpcNode

	view    cell[peeringView]
	verdict cell[peeringVerdict]
	needs   cell[peerNeeds]
	address cell[peerAddress]
	// programmable is the address when the peering is to be programmed, else nil.
	programmable *peerAddress

	status  cell[networkv1alpha1.VpcPeeringStatus]
	shelved *networkv1alpha1.VpcPeeringStatus
}

// read takes from a new object what orders and joins peerings.
func (n *peeringNode) read() {
	o := n.obj
	n.settled = o.DeletionTimestamp == nil && slices.ContainsFunc(o.Status.Conditions, accepted)
	n.vpcKey = joinKey(o.Namespace, o.Spec.Vpc)
	n.peerKey = joinKey(string(cmp.Or(o.Spec.PeerVpc.Namespace, networkv1alpha1.NamespaceName(o.Namespace))), o.Spec.PeerVpc.Name)
}

// comparePeerings orders by what wins.
func comparePeerings(a, b *peeringNode) int {
	return cmp.Or(cmpTrueFirst(a.settled, b.settled), a.older(&b.tracked))
}

// peeringView is what a VpcPeering says.
type peeringView struct {
	key             Key
	namespace, name string
	uid             string
	generation      int64
	deleting        bool
	// wasActive is true when every cluster had programmed the peering before.
	wasActive bool
	vpc, peer Key
	// foreign is true when another tenant must accept.
	foreign bool
}

func readPeering(n *peeringNode) *peeringView {
	o := n.obj
	peerNamespace := o.Spec.PeerVpc.Namespace
	return &peeringView{
		key: n.key, namespace: o.Namespace, name: o.Name, uid: string(o.UID), generation: o.Generation,
		deleting: o.DeletionTimestamp != nil, wasActive: n.settled && o.Status.State == networkv1alpha1.StateActive,
		vpc: n.vpcKey, peer: n.peerKey, foreign: peerNamespace != "" && string(peerNamespace) != o.Namespace,
	}
}

// pair is one end's record of a peering that holds the pair of two Vpcs.
type pair struct {
	peering *peeringNode
	other   *vpcNode
	active  bool
}

// peeringVerdict is what was decided on a VpcPeering.
type peeringVerdict struct {
	refused *refusal
	state   networkv1alpha1.VpcPeeringState
	// holds is true when no other peering may join the same two Vpcs.
	holds bool
	// active is true when packets may pass.
	active bool
}

func failed(reason, format string, args ...any) *peeringVerdict {
	return &peeringVerdict{state: networkv1alpha1.StateFailed, refused: refuse(reason, format, args...)}
}

// judge decides on one peering, after all that go before it.
func (n *peeringNode) judge() *peeringVerdict {
	v := n.view.value
	switch {
	case v.deleting:
		return &peeringVerdict{state: networkv1alpha1.StateDeleting, refused: refuse(networkv1alpha1.ReasonDeleting, "the VpcPeering is being deleted")}
	case v.vpc == v.peer:
		return failed(networkv1alpha1.ReasonSelfPeering, "spec.vpc and spec.peerVpc are both %s, which reaches itself anyway: name two Vpcs", v.vpc)
	case n.vpc == nil:
		return failed(networkv1alpha1.ReasonVpcNotFound, "spec.vpc %s does not exist: make it, or name another", v.vpc)
	case n.peer == nil:
		return failed(networkv1alpha1.ReasonVpcNotFound, "spec.peerVpc %s does not exist: make it, or name another", v.peer)
	}
	if i := slices.IndexFunc(n.vpc.pairs, func(p pair) bool { return p.other == n.peer }); i >= 0 {
		return failed(networkv1alpha1.ReasonDuplicatePeering, "VpcPeering %s joins %s and %s already: delete one of the two", n.vpc.pairs[i].peering.key, v.vpc, v.peer)
	}
	decision := n.decision()
	if decision == networkv1alpha1.DecisionReject {
		return &peeringVerdict{state: networkv1alpha1.StateRejected, refused: refuse(networkv1alpha1.ReasonRejected, "Vpc %s rejects it in spec.peeringDecisions", v.peer)}
	}
	for _, end := range []*vpcNode{n.vpc, n.peer} {
		if a := end.admission.value; !a.usable {
			verdict := failed(networkv1alpha1.ReasonVpcNotAccepted, "Vpc %s is not accepted: %s", a.key(), a.refused.message)
			verdict.holds = true
			return verdict
		}
	}
	if refused := n.overlaps(); refused != nil {
		return &peeringVerdict{state: networkv1alpha1.StateFailed, refused: refused, holds: true}
	}
	if decision != networkv1alpha1.DecisionAccept {
		return &peeringVerdict{state: networkv1alpha1.StatePendingAcceptance, holds: true, refused: refuse(networkv1alpha1.ReasonPendingAcceptance, "waits for Vpc %s: its tenant accepts with spec.peeringDecisions {namespace: %s, name: %s, decision: Accept}", v.peer, v.namespace, v.name)}
	}
	return &peeringVerdict{state: networkv1alpha1.StateProvisioning, holds: true, active: true}
}

// decision is the accepter's; between two Vpcs of one tenant none is needed.
func (n *peeringNode) decision() string {
	v := n.view.value
	if !v.foreign {
		return networkv1alpha1.DecisionAccept
	}
	for _, d := range n.peer.view.value.decisions {
		if string(d.Namespace) == v.namespace && d.Name == v.name {
			return d.Decision
		}
	}
	return ""
}

// overlaps holds the two ends against each other, and each against the other peers of the other end: there its
// return routes would be ambiguous.
func (n *peeringNode) overlaps() *refusal {
	if a, b, found := ipam.FirstOverlap(*n.vpc.claims, *n.peer.claims); found {
		return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s of Vpc %s overlaps %s of Vpc %s: peered Vpcs may not overlap", a, n.vpcKey, b, n.peerKey)
	}
	return cmp.Or(besides(n.vpc, n.peer), besides(n.peer, n.vpc))
}

// besides holds newcomer against the active peers of a Vpc.
func besides(v, newcomer *vpcNode) *refusal {
	for _, p := range v.pairs {
		if !p.active {
			continue
		}
		if a, b, found := ipam.FirstOverlap(*newcomer.claims, *p.other.claims); found {
			return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s of Vpc %s overlaps %s of Vpc %s, which Vpc %s peers with already (VpcPeering %s): peers of one Vpc may not overlap", a, newcomer.key, b, p.other.key, v.key, p.peering.key)
		}
	}
	return nil
}

// decide judges a peering, unless nothing that it depends on has changed, and records it at both ends. It returns the
// scratch space for the next one.
func (n *peeringNode) decide(scratch []any) []any {
	inputs := append(scratch[:0], n.view.value)
	for _, end := range [2]*vpcNode{n.vpc, n.peer} {
		if end == nil {
			inputs = append(inputs, nil)
			continue
		}
		inputs = append(inputs, end.admission.value, end.claims)
		for _, p := range end.pairs {
			inputs = append(inputs, p.peering)
			if p.active {
				inputs = append(inputs, p.other.claims)
			}
		}
	}
	verdict := n.verdict.get(n.judge, inputs...)
	if verdict.holds {
		n.vpc.pairs = append(n.vpc.pairs, pair{peering: n, other: n.peer, active: verdict.active})
		n.peer.pairs = append(n.peer.pairs, pair{peering: n, other: n.vpc, active: verdict.active})
	}
	return inputs
}

// peerNeeds are the clusters that both Vpcs are in.
type peerNeeds struct {
	list []linkNeed
}

// needsOfPeers lists the clusters in which both Vpcs have a router.
func needsOfPeers(v *peeringView, a, b *vpcAddress) *peerNeeds {
	n := &peerNeeds{}
	for _, l := range a.links {
		if _, both := b.links.in(l.cluster); both {
			n.list = append(n.list, linkNeed{cluster: l.cluster, owner: owner{name: "VpcPeering/" + string(v.key) + "/" + l.cluster, uid: v.uid}})
		}
	}
	return n
}

// accepted is true for the condition that says so.
func accepted(c metav1.Condition) bool {
	return c.Type == networkv1alpha1.ConditionAccepted && c.Status == metav1.ConditionTrue
}

// judgePeerings decides on the settled peerings, or on the others.
func (p *Planner) judgePeerings(settled bool) {
	for _, n := range p.peerings.sorted {
		if n.settled == settled {
			n.view.get(func() *peeringView { return readPeering(n) }, n.obj)
			p.inputs = n.decide(p.inputs)
		}
	}
}

// addressPeerings gives active peerings a link in each cluster that both Vpcs are in. A peering is programmed when it
// has all of its links; one that works already keeps working while a further one is missing.
func (p *Planner) addressPeerings(issuer *issuer) {
	for _, n := range p.peerings.sorted {
		v, verdict := n.view.value, n.verdict.value
		n.programmable = nil
		if !verdict.active {
			n.address.set(&noPeerAddress)
			continue
		}
		a, b := n.vpc.address.value, n.peer.address.value
		needs := n.needs.get(func() *peerNeeds { return needsOfPeers(v, a, b) }, v, a, b)
		address := &noPeerAddress
		if len(needs.list) > 0 {
			address = issuer.peer(needs.list)
		}
		address = n.address.set(address)
		if address.refused == nil || v.wasActive {
			n.programmable = address
		}
	}
}
