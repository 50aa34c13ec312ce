// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Plan decides everything from nothing but the Snapshot.
func Plan(s Snapshot) Result {
	result, _ := NewPlanner().Plan(s)
	return result
}

// Planner plans again and again, and recomputes only what a change touches. Its Result is the one that Plan
// gives for the same Snapshot; it only comes sooner.
//
// An object of the Snapshot counts as unchanged when it is the same pointer as last time, or has the same UID and
// resourceVersion (both set). So nobody may change an object in place after it was in a Snapshot.
//
// Results share objects with each other and with the Planner: callers may not change anything in them.
// A Planner is not safe for concurrent use.
type Planner struct {
	vpcs     store[*networkv1alpha1.Vpc, vpcNode, *vpcNode]
	subnets  store[*networkv1alpha1.Subnet, subnetNode, *subnetNode]
	peerings store[*networkv1alpha1.VpcPeering, peeringNode, *peeringNode]
	pools    store[*networkv1alpha1.IPPool, poolNode, *poolNode]
	routers  store[*spokev1alpha1.LocalRouter, routerNode, *routerNode]
	gateways store[*spokev1alpha1.InterconnectGateway, gatewayNode, *gatewayNode]

	fleet    cell[fleet]
	drains   cell[drains]
	admitted cell[pools]
	links    cell[linkRanges]
	reserved cell[reservedRanges]
	bound    cell[boundNamespaces]
	routed   cell[clusterNames]
	gateway  cell[gatewaySet]
	version  string
	hub      hubIdentity
	sentTo   *gatewaySet

	encryption cell[encryption]

	addresses      store[*networkv1alpha1.IPAddress, addressNode, *addressNode]
	addressEntries cell[poolEntries]
	applied        *poolEntries

	ledger   *ledger
	orphaned cell[poolEntries]
	// orphan are the stored entries whose owner is gone, and freed those of them that everybody has let go of.
	orphan, freed map[*entry]bool
	holds         cell[holdings]
	// awaited are the clusters that have not said that they have nothing of a Vpc, by its UID; asked is what they are asked.
	awaited map[string][]string
	asked   cell[questions]
	// carried is another pointer whenever a distributed router carries something else; astray is what of all that the
	// ledger does not have.
	carried *int
	astray  cell[poolEntries]
	// owners is another pointer whenever the set of objects that own entries may be another.
	owners *int
	// routersByVpc is made when it is needed, and again when a router is new or gone.
	routersByVpc     map[Key][]*routerNode
	routersByCluster map[string][]*routerNode

	out shelves
	// held is what the newest plan holds back, handed what its Result has, and wasHeld whether the one before held something back.
	held    withheld
	handed  handed
	wasHeld bool

	// inputs is where passes that go through many nodes put together the inputs of a cell.
	inputs []any
}

// shelves are the maps of the Result.
type shelves struct {
	pools    shelf[networkv1alpha1.IPPoolStatus]
	routers  shelf[*spokev1alpha1.LocalRouter]
	gateways shelf[*spokev1alpha1.InterconnectGateway]
	vpcs     shelf[networkv1alpha1.VpcStatus]
	subnets  shelf[networkv1alpha1.SubnetStatus]
	peerings shelf[networkv1alpha1.VpcPeeringStatus]
}

// NewPlanner returns a Planner that has seen nothing: its first Plan is a full one.
func NewPlanner() *Planner {
	return &Planner{ledger: newLedger()}
}

// Plan decides everything, and tells what differs from the Result of the call before. The first call differs in all.
func (p *Planner) Plan(s Snapshot) (Result, Changes) {
	p.read(&s)     // what is new, other or gone
	p.findDrains() // how far the leaving clusters are

	p.readPools()  // what they have, and what is in their ledgers
	p.openLedger() // what was handed out and stays so
	p.admitPools() // ranges that may be handed out
	issuer := newIssuer(p.ledger, p.admitted.value, p.recover)

	p.rangeVpcs(issuer)   // CIDRs from pools
	p.admitVpcs()         // against the fleet and each other
	p.addressVpcs(issuer) // VNIs and links

	p.settleSubnets()          // accepted subnets keep their places
	p.judgePeerings(true)      // accepted peerings keep theirs
	p.placeSubnets(issuer)     // new subnets fit around both
	p.judgePeerings(false)     // and new peerings around all
	p.addressPeerings(issuer)  // links between routers of one cluster
	p.stockPools()             // the new ledgers
	p.makeRouters()            // what each cluster is told of each Vpc
	p.makeGateways()           // and of all clusters
	p.makeEncryption()         // who must and who can encrypt
	p.compareRouters()         // how far the clusters have come
	deletions := p.deletions() // what must go, on evidence
	p.report()                 // the statuses of what people wrote
	removal := p.brake(&s.Brake, deletions)
	result, changes := p.hand(deletions) // and all of it, with what has changed
	result.Removal, result.Doubt = removal, p.doubt(&s)
	p.holdBack(&result, &changes) // but for what somebody has to confirm first
	return result, changes
}

// read takes in the snapshot.
func (p *Planner) read(s *Snapshot) {
	p.fleet.set(newFleet(s))
	p.version, p.hub = s.HubVersion, hubIdentity{s.Hub.UID, s.Hub.Epoch, s.Hub.RestoredEpoch}
	vpcs := p.vpcs.sync(s.Vpcs, func(*vpcNode) {}, func(a, b *vpcNode) int { return a.older(&b.tracked) })
	subnets := p.subnets.sync(s.Subnets, (*subnetNode).read, func(a, b *subnetNode) int { return a.older(&b.tracked) })
	peerings := p.peerings.sync(s.Peerings, (*peeringNode).read, comparePeerings)
	p.pools.sync(s.Pools, func(*poolNode) {}, func(a, b *poolNode) int { return a.older(&b.tracked) })
	p.addresses.sync(s.Addresses, func(*addressNode) {}, func(a, b *addressNode) int { return a.older(&b.tracked) })
	p.routers.sync(s.Routers, p.readRouter, func(a, b *routerNode) int { return a.older(&b.tracked) })
	p.routersByCluster = nil
	if len(p.routers.gone) > 0 || p.carried == nil {
		p.routersByVpc, p.carried = nil, new(int)
	}
	p.gateways.sync(s.Gateways, func(*gatewayNode) {}, func(a, b *gatewayNode) int { return a.older(&b.tracked) })
	p.holds.set(readHolds(p.gateways.sorted))
	if vpcs || subnets || peerings || p.owners == nil {
		p.owners = new(int)
	}
	if vpcs || subnets {
		p.joinSubnets()
	}
	for _, n := range p.peerings.sorted {
		n.vpc, n.peer = p.vpcs.byKey[n.vpcKey], p.vpcs.byKey[n.peerKey]
	}
}

// joinSubnets gives each Vpc its subnets.
func (p *Planner) joinSubnets() {
	for _, n := range p.vpcs.sorted {
		n.subnets = n.subnets[:0]
	}
	for _, n := range p.subnets.sorted {
		if n.vpc = p.vpcs.byKey[n.vpcKey]; n.vpc != nil {
			n.vpc.subnets = append(n.vpc.subnets, n)
		}
	}
}
