// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// TestRandomFleets plays random histories, and after each step holds everything that must hold always.
func TestRandomFleets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, planner := newRandomWorld(t), NewPlanner()
		var before Result
		rendered := ""
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			w.randomStep(t)
			copies := w.copy()
			result, changes := planner.Plan(w.snapshot())
			if full := Plan(w.snapshot()); !reflect.DeepEqual(full, result) {
				t.Fatalf("what a planner remembers changes what it decides (-full +incremental):\n%s", gocmp.Diff(full, result))
			}
			if diff := gocmp.Diff(changesBetween(before, result), changes); diff != "" {
				t.Fatalf("changes (-what differs +what Plan says):\n%s", diff)
			}
			if now := render(before); now != rendered {
				t.Fatalf("an earlier Result has changed (-then +now):\n%s", gocmp.Diff(rendered, now))
			}
			if !reflect.DeepEqual(copies, w.copy()) {
				t.Fatalf("the planner has changed an object of the snapshot")
			}
			checkLedgers(t, w, result)
			checkDeletions(t, w, result)
			checkLeaving(t, w, result)
			checkReach(t, w, result)
			checkAddresses(t, w, result)
			before, rendered = result, render(result)
			if rapid.IntRange(0, 3).Draw(t, "stores") > 0 {
				w.store(result)
			}
		}
		checkSettles(t, w, planner)
	})
}

// copy is the objects that are in a snapshot, copied.
func (w *world) copy() []any {
	var all []any
	for _, o := range inOrder(w.pools) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range inOrder(w.vpcs) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range inOrder(w.subnets) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range inOrder(w.peerings) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range inOrder(w.routers) {
		all = append(all, o.DeepCopy())
	}
	for _, o := range inOrder(w.gateways) {
		all = append(all, o.DeepCopy())
	}
	return all
}

// changesBetween compares two Results key by key.
func changesBetween(a, b Result) Changes {
	return Changes{
		Pools: keysThatDiffer(a.Pools, b.Pools), Routers: keysThatDiffer(a.Routers, b.Routers),
		Gateways: keysThatDiffer(a.Gateways, b.Gateways), Vpcs: keysThatDiffer(a.Vpcs, b.Vpcs),
		Subnets: keysThatDiffer(a.Subnets, b.Subnets), Peerings: keysThatDiffer(a.Peerings, b.Peerings),
	}
}

func keysThatDiffer[V any](a, b map[Key]V) []Key {
	both := maps.Clone(b)
	if both == nil {
		both = map[Key]V{}
	}
	maps.Copy(both, a)
	var keys []Key
	for key := range inOrder(both) {
		x, inA := a[key]
		y, inB := b[key]
		if inA != inB || !reflect.DeepEqual(x, y) {
			keys = append(keys, key)
		}
	}
	return keys
}

// checkAddresses: an address on the underlay is one cluster's, as gateway or as node, and only clusters whose label says so have told
// nodes.
func checkAddresses(t *rapid.T, w *world, r Result) {
	owner := map[string]string{}
	for key, g := range r.Gateways {
		var addresses []string
		for _, e := range g.Spec.Endpoints {
			addresses = append(addresses, e.Address)
		}
		for _, n := range g.Spec.Nodes {
			addresses = append(addresses, n.Address)
		}
		for _, a := range addresses {
			if other := owner[a]; other != "" && other != g.Spec.Cluster {
				t.Fatalf("address %s is %s's and %s's", a, other, g.Spec.Cluster)
			}
			owner[a] = g.Spec.Cluster
		}
		if len(g.Spec.Nodes) > 0 && w.clusters[g.Spec.Cluster].Labels[networkv1alpha1.LabelNodeToNode] != "true" {
			t.Fatalf("%s tells nodes without a label that says so", key)
		}
	}
}

// checkLedgers: nothing is handed out twice, and what an existing owner has it keeps.
func checkLedgers(t *rapid.T, w *world, r Result) {
	var prefixes []netip.Prefix
	owners, vnis := map[string]string{}, map[string]bool{}
	for _, s := range r.Pools {
		for _, a := range s.Allocations {
			id := a.Owner + " " + a.UID
			if owners[id] != "" {
				t.Fatalf("%s has %s and %s", id, owners[id], a.Value)
			}
			owners[id] = a.Value
			if !strings.Contains(a.Value, "/") {
				if vnis[a.Value] {
					t.Fatalf("VNI %s is handed out twice", a.Value)
				}
				vnis[a.Value] = true
				continue
			}
			p := netip.MustParsePrefix(a.Value)
			if i := slices.IndexFunc(prefixes, p.Overlaps); i >= 0 {
				t.Fatalf("%s is handed out, and so is %s", p, prefixes[i])
			}
			prefixes = append(prefixes, p)
		}
	}
	for _, pool := range w.pools {
		for _, a := range pool.Status.Allocations {
			if w.owns(a) && owners[a.Owner+" "+a.UID] != a.Value {
				t.Fatalf("%s had %s and has %q", a.Owner, a.Value, owners[a.Owner+" "+a.UID])
			}
		}
	}
}

// owns is true when the owner of an allocation exists, or some router of the Vpc still does, in a cluster that is not gone for good, and has not left for good.
func (w *world) owns(a networkv1alpha1.Allocation) bool {
	parts := strings.Split(a.Owner, "/")
	key := Key(parts[1] + "/" + parts[2])
	if len(parts) > 3 && departed(w.clusters[parts[3]]) != "" {
		return false
	}
	switch parts[0] {
	case "Vpc":
		o := w.vpcs[key]
		router := slices.ContainsFunc(slices.Collect(maps.Values(w.routers)), func(r *spokev1alpha1.LocalRouter) bool { return r.Spec.VpcUID == a.UID })
		return router || o != nil && string(o.UID) == a.UID && o.DeletionTimestamp == nil
	case "Subnet":
		return w.subnets[key] != nil && string(w.subnets[key].UID) == a.UID
	}
	return w.peerings[key] != nil && string(w.peerings[key].UID) == a.UID
}

// checkDeletions: nothing goes without evidence in the snapshot itself.
func checkDeletions(t *rapid.T, w *world, r Result) {
	for _, d := range r.Deletions {
		cluster, name, _ := strings.Cut(string(d.Key), "/")
		if c := w.clusters[cluster]; c.Gone || c.Left && (c.Detached || d.Kind == "LocalRouter") {
			continue
		} else if way := w.wayTo(cluster); c.Leaving && d.Kind == "LocalRouter" && way == "" {
			continue
		} else if c.Leaving && !strings.HasSuffix(d.Because, "is being deleted") {
			t.Fatalf("%s %s is deleted because %q, but %s has a way there", d.Kind, d.Key, d.Because, way)
		}
		o := w.vpcs[Key(strings.Replace(name, ".", "/", 1))]
		if d.Kind != "LocalRouter" || o == nil {
			t.Fatalf("%s %s is deleted, for there is no Vpc", d.Kind, d.Key)
		}
		named := slices.Contains(o.Spec.Clusters.Names, networkv1alpha1.ClusterName(cluster))
		decided, known := w.placements[o.Namespace+"/"+o.Spec.Clusters.Placement]
		undecided := o.Spec.Clusters.Placement != "" && (!known || slices.Contains(decided, cluster))
		if o.DeletionTimestamp == nil && (named || undecided) {
			t.Fatalf("LocalRouter %s is deleted because %q, but the Vpc says %v", d.Key, d.Because, o.Spec.Clusters)
		}
	}
}

// checkLeaving: others are told of no way to a leaving cluster, what stays there gets nothing new, and a cluster is drained only when
// nothing of it is left.
func checkLeaving(t *rapid.T, w *world, r Result) {
	for key, o := range r.Routers {
		for _, remote := range o.Spec.Remotes {
			if c := w.clusters[remote.Cluster]; c.Leaving || c.Gone {
				t.Fatalf("LocalRouter %s is told of %s in %s, which is leaving", key, remote.Vpc.Name, remote.Cluster)
			}
		}
		if before := w.routers[key]; w.clusters[o.Namespace].Leaving && (before == nil || len(o.Spec.Remotes) > len(before.Spec.Remotes)) {
			t.Fatalf("LocalRouter %s is given something, but its cluster is leaving", key)
		}
	}
	for key, g := range r.Gateways {
		c := w.clusters[g.Spec.Cluster]
		if c.Leaving == (g.Spec.Membership == spokev1alpha1.MembershipMember) {
			t.Fatalf("InterconnectGateway %s says %s, leaving is %v", key, g.Spec.Membership, c.Leaving)
		}
		left := slices.ContainsFunc(slices.Collect(maps.Values(w.routers)), func(o *spokev1alpha1.LocalRouter) bool { return o.Namespace == c.Name })
		if g.Spec.Membership == spokev1alpha1.MembershipDrained && (left || w.wayTo(c.Name) != "") {
			t.Fatalf("%s is drained, but has routers (%v), or %q a way there", c.Name, left, w.wayTo(c.Name))
		}
	}
}

// wayTo names a router of another cluster that has a way to a cluster.
func (w *world) wayTo(cluster string) string {
	for key, o := range inOrder(w.routers) {
		if o.Namespace != cluster && !w.clusters[o.Namespace].Gone && !w.clusters[o.Namespace].Left && w.spoken(o.Namespace) &&
			slices.ContainsFunc(o.Spec.Remotes, func(r spokev1alpha1.Remote) bool { return r.Cluster == cluster }) {
			return string(key)
		}
	}
	return ""
}

// spoken is true when the agent of a cluster has ever said anything.
func (w *world) spoken(cluster string) bool {
	g := w.gateways[joinKey(cluster, cluster)]
	return g == nil || len(g.Status.Conditions) > 0
}

// checkReach holds the routers against the oracle: A reaches B only if A is B or both are peered, and then it does.
func checkReach(t *rapid.T, w *world, r Result) {
	may, must := map[[2]Key]bool{}, map[[2]Key]bool{}
	for key, s := range r.Peerings {
		if !holds(s.Conditions, networkv1alpha1.ConditionAccepted) {
			continue
		}
		o := w.peerings[key]
		a, b := w.vpcs[Key(o.Namespace+"/"+o.Spec.Vpc)], w.vpcs[Key(string(o.Spec.PeerVpc.Namespace)+"/"+o.Spec.PeerVpc.Name)]
		if o.Spec.PeerVpc.Namespace == "" {
			b = w.vpcs[Key(o.Namespace+"/"+o.Spec.PeerVpc.Name)]
		}
		if why := forbidden(o, a, b); why != "" {
			t.Fatalf("VpcPeering %s is accepted, but %s", key, why)
		}
		allocated := holds(s.Conditions, networkv1alpha1.ConditionAllocated)
		for _, pair := range [][2]Key{{keyOf(a), keyOf(b)}, {keyOf(b), keyOf(a)}} {
			may[pair] = may[pair] || allocated || s.State == networkv1alpha1.StateActive
			must[pair] = must[pair] || allocated
		}
	}
	usable := func(o *spokev1alpha1.LocalRouter) bool {
		return holds(r.Vpcs[vpcOf(o)].Conditions, networkv1alpha1.ConditionAllocated) && !w.clusters[o.Namespace].Leaving
	}
	f := &fabric{routers: slices.Collect(maps.Values(r.Routers))}
	wrong := f.check(
		func(a, b Key) bool { return a == b || may[[2]Key{a, b}] },
		func(a, b *spokev1alpha1.LocalRouter) bool {
			return usable(a) && usable(b) && (vpcOf(a) == vpcOf(b) || must[[2]Key{vpcOf(a), vpcOf(b)}])
		},
	)
	if len(wrong) > 0 {
		t.Fatalf("%s\n\n%s", strings.Join(wrong, "\n"), render(r))
	}
}

// forbidden says from the objects alone why a peering can't be accepted.
func forbidden(o *networkv1alpha1.VpcPeering, a, b *networkv1alpha1.Vpc) string {
	switch {
	case o.DeletionTimestamp != nil:
		return "it is being deleted"
	case a == nil || b == nil || a.DeletionTimestamp != nil || b.DeletionTimestamp != nil:
		return "an end is missing"
	case a == b:
		return "both ends are one"
	case a.Namespace != b.Namespace && !slices.Contains(b.Spec.PeeringDecisions, networkv1alpha1.PeeringDecision{
		Namespace: networkv1alpha1.NamespaceName(o.Namespace), Name: o.Name, Decision: networkv1alpha1.DecisionAccept,
	}):
		return "the accepter has not accepted"
	}
	return ""
}

func holds(conditions []metav1.Condition, typ string) bool {
	return slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Type == typ && c.Status == metav1.ConditionTrue })
}

// checkSettles: when nothing happens any more but that the hub stores and the clusters realize, planning comes to rest.
func checkSettles(t *rapid.T, w *world, planner *Planner) {
	rendered := ""
	for range 12 {
		result, _ := planner.Plan(w.snapshot())
		now := render(result)
		if now == rendered {
			return
		}
		rendered = now
		w.store(result)
		for _, c := range someClusters {
			w.realize(c)
		}
	}
	result, _ := planner.Plan(w.snapshot())
	t.Fatalf("planning does not come to rest (-before +after):\n%s", gocmp.Diff(rendered, render(result)))
}

// TestOrderDoesNotMatter lists one fleet in many orders: world.snapshot lists in the random order of maps.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newRandomWorld(t)
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			w.randomStep(t)
		}
		want := Plan(w.snapshot())
		for range 4 {
			if got := Plan(w.snapshot()); !reflect.DeepEqual(want, got) {
				t.Fatalf("another order gives another plan:\n%s", gocmp.Diff(want, got))
			}
		}
	})
}
