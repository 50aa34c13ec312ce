// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// history is a fleet in which much goes wrong, with a hub that works all the time.
type history struct {
	*world
	planner *Planner
	// ledgers are all that were ever stored, by pool.
	ledgers map[Key][][]networkv1alpha1.Allocation
	// restores is 0 when no ledger is ever restored. Only then agents may be older ones: of what such a cluster has the ledger is the only record.
	restores int
}

// TestNothingIsHeldTwice plays histories in which Vpcs come and go, clusters leave and are lost, LocalRouters vanish without a word, ledgers are restored
// to what they once were, and agents are late in all that they do. No VNI and no link is ever held by two; and when all is quiet, nothing is left.
func TestNothingIsHeldTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(10, 120).Draw(t, "length") {
			happenings[rapid.IntRange(0, len(happenings)-1).Draw(t, "happens")](h, t)
			h.checkHolders(t)
		}
		h.quiet(t)
	})
}

func newHistory(t *rapid.T) *history {
	h := &history{world: newWorld(), planner: NewPlanner(), ledgers: map[Key][][]networkv1alpha1.Allocation{}, restores: rapid.IntRange(0, 2).Draw(t, "restores")}
	h.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/26"}}})
	h.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 4101}}})
	h.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "ranges"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.0.0.0/21"}}})
	for _, c := range someClusters[:3] {
		h.clusters[c] = Cluster{Name: c, Accepted: true}
		if h.restores == 0 && rapid.IntRange(0, 3).Draw(t, "older") == 0 {
			h.agent(c).older, h.agent(c).wasOlder = true, true
		}
	}
	h.plan()
	return h
}

// happenings are what happens, the frequent ones several times.
var happenings = []func(*history, *rapid.T){
	(*history).randomCreate, (*history).randomCreate, (*history).randomCreate,
	(*history).randomRemove, (*history).randomRemove,
	(*history).randomPlan, (*history).randomPlan, (*history).randomPlan, (*history).randomPlan, (*history).randomPlan,
	(*history).randomRealization, (*history).randomRealization, (*history).randomRealization,
	(*history).randomLateness, (*history).randomLateness, (*history).randomLateness,
	(*history).randomVanish,
	(*history).randomRestore,
	(*history).randomRollback,
	(*history).randomMembership,
}

func (h *history) plan() {
	result, _ := h.planner.Plan(h.snapshot())
	h.store(result)
	for key, o := range inOrder(h.routers) { // the hub lets go of what waits for a cluster that does not come back
		if c := h.clusters[o.Namespace]; o.DeletionTimestamp != nil && (c.Gone || c.Left) {
			delete(h.routers, key)
		}
	}
	for key, o := range h.pools {
		h.ledgers[key] = append(h.ledgers[key], o.Status.Allocations)
	}
}

func (h *history) randomPlan(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "restarts") == 0 {
		h.planner = NewPlanner()
	}
	h.plan()
}

func (h *history) randomCreate(t *rapid.T) {
	o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: rapid.SampledFrom(someVpcs).Draw(t, "vpc")}}
	if h.vpcs[keyOf(o)] != nil {
		return
	}
	for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(someClusters[:3]), 1, 3, rapid.ID).Draw(t, "clusters") {
		o.Spec.Clusters.Names = append(o.Spec.Clusters.Names, networkv1alpha1.ClusterName(c))
	}
	if rapid.Bool().Draw(t, "ranged") {
		o.Spec.CIDR = &networkv1alpha1.VpcCIDR{FromPool: "ranges"}
	}
	h.write(o)
}

func (h *history) randomRemove(t *rapid.T) {
	if keys := slices.Collect(keysInOrder(h.vpcs)); len(keys) > 0 {
		h.delete("Vpc", rapid.SampledFrom(keys).Draw(t, "deleted"))
	}
}

func (h *history) randomRealization(t *rapid.T) {
	if c := rapid.SampledFrom(someClusters[:3]).Draw(t, "realizes"); !h.clusters[c].Gone && !h.clusters[c].Left {
		h.realize(c)
	}
}

// randomLateness lets an agent do one thing of many: look at the hub, act by what it saw then, or say what it has.
func (h *history) randomLateness(t *rapid.T) {
	c := rapid.SampledFrom(someClusters[:3]).Draw(t, "agent")
	a := h.agent(c)
	if h.clusters[c].Gone || h.clusters[c].Left {
		return
	}
	switch rapid.IntRange(0, 2).Draw(t, "does") {
	case 0:
		a.sync(h.world)
	case 1:
		for _, o := range inOrder(a.seen) {
			if o.DeletionTimestamp == nil {
				a.apply(h.world, o)
			}
		}
	case 2:
		a.say(h.world)
	}
}

func (h *history) randomVanish(t *rapid.T) {
	c, all := rapid.SampledFrom(someClusters[:3]).Draw(t, "vanishes"), rapid.Bool().Draw(t, "all")
	for key, o := range inOrder(h.routers) {
		if o.Namespace == c || all {
			delete(h.routers, key)
		}
	}
}

func (h *history) randomRestore(t *rapid.T) {
	if h.restores == 0 {
		return
	}
	for _, pool := range rapid.SliceOfNDistinct(rapid.SampledFrom([]Key{"links", "vnis", "ranges"}), 1, 3, rapid.ID).Draw(t, "restores") {
		old := rapid.SampledFrom(h.ledgers[pool]).Draw(t, "ledger")
		change(h.world, h.pools, pool, func(o *networkv1alpha1.IPPool) { o.Status.Allocations = slices.Clone(old) })
	}
}

// randomRollback replaces an agent by an older one, or the other way round.
func (h *history) randomRollback(t *rapid.T) {
	if c := rapid.SampledFrom(someClusters[:3]).Draw(t, "replaced"); h.restores == 0 && h.agents[c] != nil {
		h.agents[c].older, h.agents[c].wasOlder = !h.agents[c].older, true
	}
}

// randomMembership lets a cluster leave in order, or be lost and declared gone, or come back as a new one.
func (h *history) randomMembership(t *rapid.T) {
	name := rapid.SampledFrom(someClusters[:3]).Draw(t, "member")
	c := h.clusters[name]
	g := h.gateways[joinKey(name, name)]
	switch {
	case c.Gone || c.Left:
		if g == nil && !slices.ContainsFunc(slices.Collect(keysInOrder(h.routers)), func(k Key) bool { return h.routers[k].Namespace == name }) && h.held(name) == 0 {
			h.clusters[name] = Cluster{Name: name, Accepted: true}
			delete(h.agents, name)
		}
	case c.Leaving:
		h.leave(name)
	default:
		c.Leaving, c.Gone = true, rapid.Bool().Draw(t, "lost")
		h.clusters[name] = c
		if c.Gone {
			delete(h.agents, name)
		}
	}
}

// leave lets a cluster that is drained take everything away.
func (h *history) leave(name string) {
	c, g := h.clusters[name], h.gateways[joinKey(name, name)]
	if c.Leaving && g == nil { // it was never told anything
		c.Gone = true
		h.clusters[name] = c
	}
	if c.Leaving && !c.Gone && !c.Left && g != nil && g.Spec.Membership == spokev1alpha1.MembershipDrained {
		c.Left, c.Detached = true, true
		h.clusters[name] = c
		delete(h.agents, name)
	}
}

// held is how many entries are of a cluster alone: its ManagedCluster stays as long as there are any.
func (h *history) held(cluster string) (n int) {
	for _, pool := range h.pools {
		for _, a := range pool.Status.Allocations {
			if newEntry(pool, a).cluster == cluster {
				n++
			}
		}
	}
	return n
}

// checkHolders: no two Vpcs have one VNI, and no two routers have links that overlap, in what the clusters have.
func (h *history) checkHolders(t *rapid.T) {
	vnis, links := map[int32]string{}, map[netip.Prefix]string{}
	for _, cluster := range someClusters[:3] {
		if h.agents[cluster] == nil {
			continue
		}
		for key, hold := range inOrder(h.agents[cluster].copies) {
			if other := vnis[hold.VNI]; other != "" && other != hold.VpcUID {
				t.Fatalf("VNI %d is held by the Vpcs %s and %s (%s)", hold.VNI, other, hold.VpcUID, key)
			}
			vnis[hold.VNI] = hold.VpcUID
			p := netip.MustParsePrefix(hold.LinkCIDR)
			for q, other := range links {
				if q.Overlaps(p) {
					t.Fatalf("link %s of %s overlaps %s of %s", p, key, q, other)
				}
			}
			links[p] = string(key)
		}
	}
}

// quiet ends the history: all agents are new ones that do what they are told, clusters that are lost are declared so, and all Vpcs are deleted.
func (h *history) quiet(t *rapid.T) {
	for _, key := range slices.Collect(keysInOrder(h.vpcs)) {
		h.delete("Vpc", key)
	}
	for round := range 15 {
		for _, c := range someClusters[:3] {
			if a := h.agent(c); !h.clusters[c].Gone && !h.clusters[c].Left {
				if a.wasOlder { // an older agent keeps no Vpc waiting, so a copy may have lost its tombstone: an administrator takes it away
					clear(a.copies)
				}
				a.older, a.wasOlder = false, false
				h.realize(c)
				h.leave(c)
			}
		}
		h.plan()
		h.checkHolders(t)
		if round < 14 {
			continue
		}
		for _, pool := range h.pools {
			if len(pool.Status.Allocations) > 0 {
				t.Fatalf("IPPool %s leaks %v\n%s", pool.Name, pool.Status.Allocations, h.describe())
			}
		}
		if len(h.vpcs) > 0 {
			t.Fatalf("%d Vpcs do not go\n%s", len(h.vpcs), h.describe())
		}
	}
}

func (h *history) describe() string {
	result, _ := h.planner.Plan(h.snapshot())
	text := render(result)
	for _, c := range someClusters[:3] {
		text += fmt.Sprintf("%+v has %v\n", h.clusters[c], h.agent(c).copies)
	}
	for key, o := range inOrder(h.routers) {
		text += fmt.Sprintf("LocalRouter %s of %s, deleted %v\n", key, o.Spec.VpcUID, o.DeletionTimestamp)
	}
	return text
}

// TestSuccessorKeepsNothing: the VNI of a Vpc whose peer has let go of it is free, even when another Vpc of its name has the same peer by then.
func TestSuccessorKeepsNothing(t *testing.T) {
	h := &history{world: newWorld(), planner: NewPlanner(), ledgers: map[Key][][]networkv1alpha1.Allocation{}}
	vpc := func(name, cluster string) *networkv1alpha1.Vpc {
		return &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: []networkv1alpha1.ClusterName{networkv1alpha1.ClusterName(cluster)}}}}
	}
	peering := func() *networkv1alpha1.VpcPeering {
		return &networkv1alpha1.VpcPeering{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a-b"}, Spec: networkv1alpha1.VpcPeeringSpec{Vpc: "a", PeerVpc: networkv1alpha1.VpcReference{Name: "b"}}}
	}
	h.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/26"}}})
	h.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 4101}}})
	for _, c := range []string{"east", "west"} {
		h.clusters[c] = Cluster{Name: c, Accepted: true}
	}
	h.write(vpc("a", "east"))
	h.write(vpc("b", "west"))
	h.write(peering())
	settle := func(clusters ...string) {
		for range 8 {
			h.plan()
			for _, c := range clusters {
				h.realize(c)
			}
		}
	}
	settle("east", "west")
	h.delete("VpcPeering", "shop/a-b")
	h.delete("Vpc", "shop/a")
	settle("east") // west is away, and its router still leads to the former Vpc
	delete(h.vpcs, "shop/a")
	h.write(vpc("a", "east"))
	delete(h.peerings, "shop/a-b")
	h.write(peering())
	h.plan()
	if n := len(h.pools["vnis"].Status.Allocations); n != 3 {
		t.Fatalf("%d VNIs are taken while a cluster that is away has the former one, want 3\n%s", n, h.describe())
	}
	settle("east", "west")
	if n := len(h.pools["vnis"].Status.Allocations); n != 2 {
		t.Errorf("%d VNIs are taken by 2 Vpcs: %v\n%s", n, h.pools["vnis"].Status.Allocations, h.describe())
	}
}
