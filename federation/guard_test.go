// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// newWideWorld is a fleet that is large enough to be held: Vpcs over many clusters by a Placement, peered in a chain, all of it realized.
func newWideWorld(t *rapid.T) *world {
	w := newWorld()
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/16"}}})
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 4196}}})
	var all []string
	for i := range rapid.IntRange(3, 7).Draw(t, "clusters") {
		name := fmt.Sprintf("c%d", i)
		all = append(all, name)
		w.clusters[name] = Cluster{Name: name, Accepted: true}
		w.report(act{Cluster: name, Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: "n1", Address: fmt.Sprintf("192.0.2.%d", 2*i)}, {Node: "n2", Address: fmt.Sprintf("192.0.2.%d", 2*i+1)}}})
	}
	w.placements["shop/wide"] = all
	for i := range rapid.IntRange(2, 6).Draw(t, "vpcs") {
		o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("v%d", i)}}
		o.Spec.Clusters.Placement = "wide"
		w.write(o)
		if i > 0 {
			p := &networkv1alpha1.VpcPeering{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("p%d", i)}}
			p.Spec.Vpc, p.Spec.PeerVpc.Name = fmt.Sprintf("v%d", i-1), fmt.Sprintf("v%d", i)
			w.write(p)
		}
	}
	w.comeToRest(all)
	return w
}

// comeToRest lets the hub and the clusters come to rest, without a brake.
func (w *world) comeToRest(clusters []string) {
	was := w.brake
	w.brake = Brake{MaxRemovalPercent: 100}
	for range 3 {
		w.store(Plan(w.snapshot()))
		for _, c := range clusters {
			w.realize(c)
		}
	}
	w.brake = was
}

// wideSteps are what may take much away at once, and what adds.
var wideSteps = []func(*world, *rapid.T){
	func(w *world, t *rapid.T) { // a Placement decides something else
		w.placements["shop/wide"] = rapid.SliceOfDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(w.clusters))), rapid.ID).Draw(t, "decided")
	},
	func(w *world, t *rapid.T) { // some Vpcs are deleted
		if len(w.vpcs) == 0 {
			return
		}
		for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom(slices.Collect(keysInOrder(w.vpcs))), rapid.ID).Draw(t, "deleted") {
			w.delete("Vpc", key)
		}
	},
	func(w *world, t *rapid.T) { // peerings are
		if all := slices.Collect(keysInOrder(w.peerings)); len(all) > 0 {
			for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID).Draw(t, "unpeered") {
				w.delete("VpcPeering", key)
			}
		}
	},
	func(w *world, t *rapid.T) { // a Vpc is not accepted any more
		if len(w.vpcs) == 0 {
			return
		}
		o := w.vpcs[rapid.SampledFrom(slices.Collect(keysInOrder(w.vpcs))).Draw(t, "broken")].DeepCopy()
		o.Spec.CIDRs = []networkv1alpha1.CIDR{"banana"}
		w.write(o)
	},
	func(w *world, t *rapid.T) { delete(w.pools, "links") },
	func(w *world, t *rapid.T) { // clusters are gone, or report other gateways
		c := rapid.SampledFrom(slices.Sorted(maps.Keys(w.clusters))).Draw(t, "cluster")
		if rapid.Bool().Draw(t, "gone") {
			w.clusters[c] = Cluster{Name: c, Accepted: true, Leaving: true, Gone: true}
			return
		}
		w.report(act{Cluster: c, Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: "n3", Address: "192.0.2." + c[1:] + "3"}}})
	},
	func(w *world, t *rapid.T) {
		o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: rapid.SampledFrom([]string{"w1", "w2"}).Draw(t, "new")}}
		o.Spec.Clusters.Placement = "wide"
		w.write(o)
	},
}

// TestNothingLargeGoesUnasked plays histories that take much away, and counts by itself what each plan takes.
func TestNothingLargeGoesUnasked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, planner := newWideWorld(t), NewPlanner()
		w.brake.MaxRemovalPercent = rapid.SampledFrom([]int32{0, 5, 20, 50}).Draw(t, "percent")
		var before Result
		for range rapid.IntRange(1, 12).Draw(t, "length") {
			rapid.SampledFrom(wideSteps).Draw(t, "step")(w, t)
			result, changes := planner.Plan(w.snapshot())
			if full := Plan(w.snapshot()); !reflect.DeepEqual(full, result) {
				t.Fatalf("what a planner remembers changes what it decides (-full +incremental):\n%s", gocmp.Diff(full, result))
			}
			if diff := gocmp.Diff(changesBetween(before, result), changes); diff != "" {
				t.Fatalf("changes (-what differs +what Plan says):\n%s", diff)
			}
			w.checkShare(t, result)
			w.checkAdditions(t, result)
			before = result
			if m := result.Removal; m != nil && m.Held && rapid.Bool().Draw(t, "confirms") {
				w.brake.Confirmed = m.Digest
				confirmed := Plan(w.snapshot())
				if confirmed.Removal == nil || confirmed.Removal.Held {
					t.Fatalf("the removal is confirmed, and still held")
				}
				continue
			}
			if rapid.IntRange(0, 3).Draw(t, "stores") > 0 {
				w.store(result)
			}
			if rapid.Bool().Draw(t, "realizes") {
				w.realize(rapid.SampledFrom(slices.Sorted(maps.Keys(w.clusters))).Draw(t, "realizer"))
			}
		}
	})
}

// taken is what a Result takes away of one kind, and how much there is.
type taken struct{ gone, all int }

func (w *world) taken(r Result) (routers, ways, gateways, endpoints taken, touched map[string]int) {
	touched = map[string]int{}
	deleted := map[Key]bool{}
	for _, d := range r.Deletions {
		deleted[Key(d.Kind)+" "+d.Key] = true
	}
	for key, o := range w.routers {
		had := wayNames(&o.Spec)
		routers.all, ways.all = routers.all+1, ways.all+len(had)
		lost := 0
		if new := r.Routers[key]; new != nil {
			lost = len(had) - len(common(had, wayNames(&new.Spec)))
		}
		if deleted["LocalRouter "+key] {
			routers.gone, lost = routers.gone+1, len(had)
		}
		if o.DeletionTimestamp != nil {
			continue
		}
		if ways.gone += lost; lost > 0 || deleted["LocalRouter "+key] {
			touched["routers"]++
		}
	}
	for key, o := range w.gateways {
		lost := 0
		gateways.all, endpoints.all = gateways.all+1, endpoints.all+len(o.Spec.Endpoints)
		if new := r.Gateways[key]; new != nil {
			for _, e := range o.Spec.Endpoints {
				if !slices.ContainsFunc(new.Spec.Endpoints, func(n spokev1alpha1.GatewayEndpoint) bool { return n.Address == e.Address }) {
					lost++
				}
			}
		}
		if deleted["InterconnectGateway "+key] {
			gateways.gone, lost = gateways.gone+1, len(o.Spec.Endpoints)
		}
		if o.DeletionTimestamp != nil {
			continue
		}
		if endpoints.gone += lost; lost > 0 || deleted["InterconnectGateway "+key] {
			touched["gateways"]++
		}
	}
	return
}

// wayNames are the ways of a router, counted by their ends alone.
func wayNames(s *spokev1alpha1.LocalRouterSpec) []string {
	var names []string
	for _, r := range s.Remotes {
		names = append(names, "remote "+r.Vpc.Name+" "+r.Cluster)
	}
	for _, p := range s.Peers {
		names = append(names, "peer "+p.Vpc.Name)
	}
	return names
}

func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(word string) bool { return !slices.Contains(b, word) })
}

// checkShare: what is not confirmed takes away no more than the share of routers and gateways, unless it is from ten objects of a kind or fewer. The guard counts
// ways more closely than this does (prefixes, routes), so of these it may hold more, but not let more go than the largest of its own shares.
func (w *world) checkShare(t *rapid.T, r Result) {
	if m := r.Removal; m != nil && !m.Held {
		if m.Digest != w.brake.Confirmed && !subset(m.Granted, w.brake.Granted) {
			t.Fatalf("%+v goes, and nobody has confirmed it", m)
		}
		return
	}
	percent := int(w.brake.MaxRemovalPercent)
	if percent == 0 {
		percent = 20
	}
	if r.Removal != nil && len(r.Removal.Granted) > 0 {
		return // TestGrantedGoes looks at these
	}
	routers, ways, gateways, endpoints, touched := w.taken(r)
	for name, k := range map[string]taken{"routers": routers, "gateways": gateways} {
		if touched[name] > 10 && k.gone*100 > k.all*percent {
			t.Fatalf("%d of %d %s go, from %d objects, with %d percent free and nothing confirmed\n%s", k.gone, k.all, name, touched[name], percent, render(r))
		}
	}
	if r.Removal != nil && (routers.gone+ways.gone+gateways.gone+endpoints.gone) > 0 {
		t.Fatalf("a removal is held, and yet something goes: %+v %+v %+v %+v", routers, ways, gateways, endpoints)
	}
	if touched["routers"] > 10 && ways.gone == ways.all && ways.all > 0 || touched["gateways"] > 10 && endpoints.gone == endpoints.all && endpoints.all > 0 {
		t.Fatalf("all ways or all gateways go: %+v %+v", ways, endpoints)
	}
}

func subset(a, b map[string]bool) bool {
	for item := range a {
		if !b[item] {
			return false
		}
	}
	return true
}

// checkAdditions: while something is held, objects that are new are handed out, and nothing that is held is.
func (w *world) checkAdditions(t *rapid.T, r Result) {
	if r.Removal == nil || !r.Removal.Held {
		return
	}
	free := w.snapshot()
	free.Brake = Brake{MaxRemovalPercent: 100}
	all := Plan(free)
	for key, o := range all.Routers {
		if w.routers[key] == nil && r.Routers[key] == nil {
			t.Fatalf("LocalRouter %s is new, and is held", key)
		}
		if was := w.routers[key]; was != nil && r.Routers[key] == nil && routerLoss(was, o).what == "" {
			t.Fatalf("LocalRouter %s loses nothing, and is held", key)
		}
	}
}

// TestGuardCountsWhatWentBefore: a removal in small steps is one removal.
func TestGuardCountsWhatWentBefore(t *testing.T) {
	w := newWorld()
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/16"}}})
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 4196}}})
	w.clusters["east"] = Cluster{Name: "east", Accepted: true}
	for i := range 40 {
		o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("v%02d", i)}}
		o.Spec.Clusters.Names = []networkv1alpha1.ClusterName{"east"}
		w.write(o)
	}
	w.comeToRest([]string{"east"})
	s := w.snapshot()
	w.brake.Past = Remember(&s)
	gone := 0
	for i := range 40 { // one after the other, as `kubectl delete --all` does
		w.delete("Vpc", Key(fmt.Sprintf("shop/v%02d", i)))
		r := Plan(w.snapshot())
		if r.Removal != nil && r.Removal.Held {
			break
		}
		w.store(r)
		w.realize("east")
		gone++
	}
	if gone != 10 {
		t.Errorf("%d of 40 routers went before anybody was asked, want 10: no more than ten objects, and 20%% is less", gone)
	}
	w.brake.Past = nil
	if r := Plan(w.snapshot()); r.Removal != nil {
		t.Errorf("what went long ago still counts: %+v", r.Removal)
	}
}

func TestRouterLoss(t *testing.T) {
	vpc := spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "b", VNI: 5}
	base := func(change func(*spokev1alpha1.LocalRouterSpec)) *spokev1alpha1.LocalRouter {
		r := &spokev1alpha1.LocalRouter{Spec: spokev1alpha1.LocalRouterSpec{
			VpcUID: "u", LinkCIDR: "100.64.0.0/29", Routes: []string{"10.0.0.0/8"},
			Subnets: []spokev1alpha1.RouterSubnet{{Name: "net", CIDR: "10.1.0.0/24"}},
			Remotes: []spokev1alpha1.Remote{{Vpc: vpc, Cluster: "west", Prefixes: []string{"10.2.0.0/24", "10.3.0.0/24"}}},
			Peers:   []spokev1alpha1.LocalPeer{{Vpc: vpc, LocalConnectIP: "a", RemoteConnectIP: "b", Prefixes: []string{"10.4.0.0/24"}}},
		}}
		change(&r.Spec)
		return r
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*spokev1alpha1.LocalRouterSpec)
		want   int
	}{
		"Nothing": {"the same is no loss", func(*spokev1alpha1.LocalRouterSpec) {}, 0},
		"Gain": {"what is added is no loss", func(s *spokev1alpha1.LocalRouterSpec) {
			s.Remotes[0].Prefixes = append(s.Remotes[0].Prefixes, "10.9.0.0/24")
		}, 0},
		"Remote":       {"a remote goes", func(s *spokev1alpha1.LocalRouterSpec) { s.Remotes = nil }, 1},
		"Prefix":       {"a remote shrinks", func(s *spokev1alpha1.LocalRouterSpec) { s.Remotes[0].Prefixes = s.Remotes[0].Prefixes[:1] }, 1},
		"OtherVNI":     {"another VNI is another way", func(s *spokev1alpha1.LocalRouterSpec) { s.Remotes[0].Vpc.VNI = 6 }, 1},
		"Peer":         {"a peer goes", func(s *spokev1alpha1.LocalRouterSpec) { s.Peers = nil }, 1},
		"PeerPrefix":   {"a peer shrinks", func(s *spokev1alpha1.LocalRouterSpec) { s.Peers[0].Prefixes = nil }, 1},
		"Subnet":       {"a subnet goes, with all that is in it", func(s *spokev1alpha1.LocalRouterSpec) { s.Subnets = nil }, 1},
		"Route":        {"a route goes", func(s *spokev1alpha1.LocalRouterSpec) { s.Routes = nil }, 1},
		"Everything":   {"an empty spec loses all", func(s *spokev1alpha1.LocalRouterSpec) { s.Remotes, s.Peers, s.Subnets, s.Routes = nil, nil, nil, nil }, 4},
		"AnotherOwner": {"another Vpc under the name loses all", func(s *spokev1alpha1.LocalRouterSpec) { s.VpcUID = "v" }, 4},
		"ProbeAddress": {"what is probed is no way", func(s *spokev1alpha1.LocalRouterSpec) { s.Remotes[0].ProbeAddress = "10.2.0.1" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := routerLoss(base(func(*spokev1alpha1.LocalRouterSpec) {}), base(tc.change))
			if got.ways != tc.want || (got.what == "") != (tc.want == 0) {
				t.Errorf("%s: got %d (%s), want %d", tc.reason, got.ways, got.what, tc.want)
			}
		})
	}
}

// TestGuardCountsByKind: what many objects of one kind have lost says nothing of a few of the other.
func TestGuardCountsByKind(t *testing.T) {
	routers := func(n, ways int) []*loss {
		var all []*loss
		for i := range n {
			all = append(all, &loss{kind: kindRouter, key: Key(fmt.Sprintf("c/%d", i)), weight: weight{ways: ways}})
		}
		return all
	}
	gateways := func(n, endpoints int) []*loss {
		var all []*loss
		for i := range n {
			all = append(all, &loss{kind: kindGateway, key: Key(fmt.Sprintf("c%d/c%d", i, i)), weight: weight{endpoints: endpoints}})
		}
		return all
	}
	all := weight{routers: 100, ways: 100, gateways: 20, endpoints: 6}
	for name, test := range map[string]struct {
		reason        string
		losses, since []*loss
		held          bool
	}{
		"OneGatewayAfterManyRouters": {"a gateway that is replaced after a peering was deleted", gateways(1, 2), routers(11, 1), false},
		"ManyRouters":                {"a quarter of all ways, of more than ten routers", routers(25, 1), nil, true},
		"InSmallSteps":               {"the same in two steps", routers(9, 1), routers(25, 1), true},
		"FewRouters":                 {"ten objects go without a question", routers(10, 10), nil, false},
		"ManyGateways":               {"of eleven gateways most of what others send to", gateways(11, 2), nil, true},
		"RoutersBesideOneGateway":    {"routers are held for what they lose themselves", append(routers(25, 1), gateways(1, 1)...), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := guard(&Brake{}, test.losses, test.since, all, 120)
			if held := r != nil && r.Held; held != test.held {
				t.Errorf("%s: held is %v: %+v", test.reason, held, r)
			}
		})
	}
}
