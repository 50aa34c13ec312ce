// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// TestHostileCluster lets one cluster of a fleet that has come to rest say anything at all, again and again. Whatever it says, no LocalRouter
// and no other cluster's InterconnectGateway changes, nothing is deleted or handed out, and what others ask for after that they get
// as if the cluster had said nothing.
func TestHostileCluster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newHonestFleet(t)
		hostile := rapid.SampledFrom(someClusters).Draw(t, "hostile")
		pinned := rapid.Bool().Draw(t, "pinned")
		if pinned {
			c := w.clusters[hostile]
			c.Endpoints = fmt.Sprintf("192.0.2.%d/28", 16*slices.Index(someClusters, hostile))
			w.clusters[hostile] = c
		}
		planner := NewPlanner()
		before := w.rest(planner)
		quiet := w.clone()
		for range rapid.IntRange(1, 4).Draw(t, "reports") {
			w.hostileReport(t, hostile, pinned)
			after, _ := planner.Plan(w.snapshot())
			checkOthers(t, hostile, before, after)
			checkAddresses(t, w, after)
			checkKeys(t, after)
			if rapid.Bool().Draw(t, "stores") {
				w.store(after)
			}
		}
		w.store(Plan(w.snapshot()))
		for _, one := range []*world{w, quiet} {
			one.moreOfOthers(hostile)
		}
		checkWishes(t, hostile, Plan(quiet.snapshot()), Plan(w.snapshot()))
	})
}

// newHonestFleet is a random fleet whose clusters have gateways, nodes and keys of their own.
func newHonestFleet(t *rapid.T) *world {
	w := newRandomWorld(t)
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		for _, do := range []func(*world, *rapid.T){(*world).randomVpc, (*world).randomSubnet, (*world).randomPeering, (*world).randomDecision} {
			do(w, t)
		}
	}
	for i, name := range someClusters {
		labels := map[string]string{"sea": name[:1]}
		if rapid.Bool().Draw(t, "node to node") {
			labels[networkv1alpha1.LabelNodeToNode] = "true"
		}
		if rapid.Bool().Draw(t, "encrypts") {
			labels[networkv1alpha1.LabelEncryption] = string(spokev1alpha1.EncryptionWireGuard)
		}
		w.clusters[name] = Cluster{Name: name, Labels: labels, Accepted: true}
		w.report(honest(name, i, 2))
	}
	return w
}

// honest is what a cluster with so many gateway nodes says of itself.
func honest(cluster string, i, gateways int) act {
	a := act{Cluster: cluster, ReservedCIDRs: []string{"10.244.0.0/16"}}
	for n := range gateways {
		node, address := fmt.Sprintf("gw%d", n), fmt.Sprintf("192.0.2.%d", 16*i+n)
		a.Endpoints = append(a.Endpoints, spokev1alpha1.ReportedEndpoint{Node: node, Address: addressOf(i, n), PublicKey: someKey(16*i + n), WireGuardPort: 51871})
		a.Nodes = append(a.Nodes, spokev1alpha1.ClusterNode{Node: node, Address: address})
	}
	a.Nodes = append(a.Nodes, spokev1alpha1.ClusterNode{Node: "worker", Address: addressOf(i, 9)})
	return a
}

func addressOf(cluster, node int) string { return fmt.Sprintf("192.0.2.%d", 16*cluster+node) }

func someKey(n int) spokev1alpha1.PublicKey {
	return spokev1alpha1.PublicKey(base64.StdEncoding.EncodeToString(slices.Repeat([]byte{byte(n + 1)}, 32)))
}

// rest plans, stores and realizes until nothing changes any more.
func (w *world) rest(planner *Planner) Result {
	for range 12 {
		result, _ := planner.Plan(w.snapshot())
		w.store(result)
		for _, c := range someClusters {
			w.realize(c)
		}
	}
	result, _ := planner.Plan(w.snapshot())
	return result
}

func (w *world) clone() *world {
	c := *w
	c.clusters, c.placements = maps.Clone(w.clusters), maps.Clone(w.placements)
	c.pools, c.vpcs, c.subnets, c.peerings = maps.Clone(w.pools), maps.Clone(w.vpcs), maps.Clone(w.subnets), maps.Clone(w.peerings)
	c.routers, c.gateways = maps.Clone(w.routers), maps.Clone(w.gateways)
	return &c
}

// hostileReport is anything that the API lets a cluster write: the status of what is in its own namespace. Addresses and keys of others that are to
// come it can only guess when nobody has said which are its own.
func (w *world) hostileReport(t *rapid.T, cluster string, guesses bool) {
	last := 1
	if guesses {
		last = 9
	}
	address := rapid.OneOf(
		rapid.Custom(func(t *rapid.T) string {
			return addressOf(rapid.IntRange(0, len(someClusters)-1).Draw(t, "whose"), rapid.IntRange(0, last).Draw(t, "which"))
		}),
		rapid.SampledFrom([]string{"127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.9", "255.255.255.255", "100.64.0.1", "::1", "198.51.100.7", "203.0.113.9", "x", ""}),
	)
	key := rapid.Custom(func(t *rapid.T) spokev1alpha1.PublicKey { // a key that nobody has told yet can't be guessed
		known := someKey(16*rapid.IntRange(0, len(someClusters)).Draw(t, "whose key") + rapid.IntRange(0, 1).Draw(t, "which key"))
		return rapid.SampledFrom([]spokev1alpha1.PublicKey{"", "no key", known}).Draw(t, "form")
	})
	nodes := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"gw0", "gw1", "gw2", "worker", "../x", ""}), 0, 6, rapid.ID)
	change(w, w.gateways, joinKey(cluster, cluster), func(o *spokev1alpha1.InterconnectGateway) {
		o.Status = spokev1alpha1.InterconnectGatewayStatus{ObservedGeneration: anyGeneration.Draw(t, "observed"), Conditions: hostileConditions(t)}
		for _, node := range nodes.Draw(t, "endpoints") {
			o.Status.Endpoints = append(o.Status.Endpoints, spokev1alpha1.ReportedEndpoint{
				Node: node, Address: address.Draw(t, "endpoint"), PublicKey: key.Draw(t, "key"), WireGuardPort: rapid.SampledFrom([]int32{0, 51871, 70000}).Draw(t, "port"),
			})
		}
		for _, node := range nodes.Draw(t, "nodes") {
			o.Status.Nodes = append(o.Status.Nodes, spokev1alpha1.ClusterNode{Node: node, Address: address.Draw(t, "node")})
		}
		o.Status.ReservedCIDRs = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "100.64.0.0/10", "192.0.2.0/24", "x"}), rapid.ID).Draw(t, "reserved")
	})
	for key, o := range inOrder(w.routers) {
		if o.Namespace == cluster && rapid.Bool().Draw(t, "answers") {
			change(w, w.routers, key, func(o *spokev1alpha1.LocalRouter) { o.Status = hostileStatus(t) })
		}
	}
}

var anyGeneration = rapid.SampledFrom([]int64{-1, 0, 1, 2, 1 << 40})

func hostileStatus(t *rapid.T) spokev1alpha1.LocalRouterStatus {
	s := spokev1alpha1.LocalRouterStatus{ObservedGeneration: anyGeneration.Draw(t, "observed"), Conditions: hostileConditions(t)}
	for range rapid.IntRange(0, 3).Draw(t, "probes") {
		s.Probes = append(s.Probes, spokev1alpha1.ProbeResult{
			Node: "gw0", Vpc: rapid.SampledFrom([]string{"shop/a", "bank/b", "", "/"}).Draw(t, "vpc"), Cluster: rapid.SampledFrom(someClusters).Draw(t, "cluster"), Reachable: rapid.Bool().Draw(t, "reachable"),
		})
	}
	if rapid.Bool().Draw(t, "gateway") {
		s.Gateways = []spokev1alpha1.RouterGateway{{Node: "gw0", ObservedGeneration: anyGeneration.Draw(t, "programmed"), Message: strings.Repeat("é", rapid.SampledFrom([]int{0, 7, 40000}).Draw(t, "length"))}}
	}
	return s
}

func hostileConditions(t *rapid.T) []metav1.Condition {
	return []metav1.Condition{{
		Type:   rapid.SampledFrom([]string{spokev1alpha1.ConditionProgrammed, "Other"}).Draw(t, "condition"),
		Status: rapid.SampledFrom([]metav1.ConditionStatus{"True", "False", "Unknown", "x"}).Draw(t, "status"), Reason: rapid.SampledFrom([]string{"", spokev1alpha1.ReasonWaitingForOVN, "Failed"}).Draw(t, "reason"),
		ObservedGeneration: anyGeneration.Draw(t, "generation"), Message: strings.Repeat("m", rapid.SampledFrom([]int{0, 9, 32768}).Draw(t, "length")),
	}}
}

// checkOthers: a plan differs from the one before in nothing but the hostile cluster's own gateway, and in what statuses say of it.
func checkOthers(t *rapid.T, hostile string, before, after Result) {
	own := joinKey(hostile, hostile)
	if diff := gocmp.Diff(before.Routers, after.Routers); diff != "" {
		t.Fatalf("LocalRouters change by what %s says (-before +after):\n%s", hostile, diff)
	}
	others := func(key Key, _ *spokev1alpha1.InterconnectGateway) bool { return key == own }
	then, now := maps.Clone(before.Gateways), maps.Clone(after.Gateways)
	maps.DeleteFunc(then, others)
	maps.DeleteFunc(now, others)
	if diff := gocmp.Diff(then, now); diff != "" {
		t.Fatalf("gateways of others change by what %s says (-before +after):\n%s", hostile, diff)
	}
	for key, s := range after.Pools {
		if diff := gocmp.Diff(before.Pools[key].Allocations, s.Allocations); diff != "" {
			t.Fatalf("ledger of %s changes by what %s says:\n%s", key, hostile, diff)
		}
	}
	if diff := gocmp.Diff(before.Deletions, after.Deletions); diff != "" {
		t.Fatalf("%s has something deleted:\n%s", hostile, diff)
	}
	if diff := gocmp.Diff(before.Released, after.Released); diff != "" {
		t.Fatalf("%s has something released:\n%s", hostile, diff)
	}
	checkMessages(t, after)
}

// checkKeys: a key is one gateway's.
func checkKeys(t *rapid.T, r Result) {
	owner := map[spokev1alpha1.PublicKey]string{}
	for key, g := range inOrder(r.Gateways) {
		for _, e := range g.Spec.Endpoints {
			if other := owner[e.PublicKey]; e.PublicKey != "" && other != "" {
				t.Fatalf("key %s is that of %s and of %s in %s", e.PublicKey, other, e.Node, key)
			}
			owner[e.PublicKey] = e.Node + " in " + string(key)
		}
	}
}

// checkMessages: the API server takes no condition with a message of more than 32768 characters, and objects of so many clusters are to stay small.
func checkMessages(t *rapid.T, r Result) {
	check := func(key Key, conditions []metav1.Condition) {
		for _, c := range conditions {
			if len(c.Message) > 32768 {
				t.Fatalf("condition %s of %s has a message of %d bytes", c.Type, key, len(c.Message))
			}
		}
	}
	for key, s := range r.Vpcs {
		check(key, s.Conditions)
		for _, c := range s.Clusters {
			if len(c.Message) > 2000 {
				t.Fatalf("cluster %s has %d bytes to say of %s", c.Name, len(c.Message), key)
			}
		}
	}
	for key, s := range r.Subnets {
		check(key, s.Conditions)
	}
	for key, s := range r.Peerings {
		check(key, s.Conditions)
	}
}

// moreOfOthers is what people and other clusters want after a hostile cluster has spoken: a gateway node more in each, a Vpc without the hostile
// cluster, and a Subnet from a pool of one with it.
func (w *world) moreOfOthers(hostile string) {
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "ample"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.64.0.0/12"}}})
	var names []networkv1alpha1.ClusterName
	for i, name := range someClusters {
		names = append(names, networkv1alpha1.ClusterName(name))
		if name != hostile {
			w.report(honest(name, i, 3))
		}
	}
	without := slices.DeleteFunc(slices.Clone(names), func(n networkv1alpha1.ClusterName) bool { return string(n) == hostile })
	for name, clusters := range map[string][]networkv1alpha1.ClusterName{"new-with": names, "new-without": without} {
		w.write(&networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Unix(1_750_000_000, 0)}, Spec: networkv1alpha1.VpcSpec{Clusters: networkv1alpha1.ClusterSelection{Names: clusters}}})
		w.write(&networkv1alpha1.Subnet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Unix(1_750_000_000, 0)}, Spec: networkv1alpha1.SubnetSpec{Vpc: name, FromPool: &networkv1alpha1.PoolRequest{Name: "ample", PrefixLength: 24}}})
	}
}

// checkWishes: others have got what they asked for, in all clusters but the hostile one.
func checkWishes(t *rapid.T, hostile string, quiet, loud Result) {
	for key, want := range quiet.Subnets {
		if got, wanted := placesBut(hostile, loud.Subnets[key]), placesBut(hostile, want); !slices.Equal(got, wanted) {
			t.Fatalf("Subnet %s is in %v because of what %s says, else it would be in %v: %v", key, got, hostile, wanted, loud.Subnets[key].Conditions)
		}
	}
	for key, want := range quiet.Gateways {
		if key == joinKey(hostile, hostile) {
			continue
		}
		if diff := gocmp.Diff(want, loud.Gateways[key]); diff != "" {
			t.Fatalf("gateway %s is not what it would be without %s (-quiet +loud):\n%s", key, hostile, diff)
		}
	}
}

func placesBut(hostile string, s networkv1alpha1.SubnetStatus) []string {
	var clusters []string
	for _, c := range s.Clusters {
		if string(c.Name) != hostile {
			clusters = append(clusters, string(c.Name))
		}
	}
	return clusters
}
