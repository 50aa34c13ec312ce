// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// The names are few, so that objects meet.
var (
	someTenants  = []string{"shop", "bank"}
	someClusters = []string{"east", "north", "south", "west"}
	someVpcs     = []string{"a", "b", "c"}
	someNames    = []string{"x", "y", "z"}
)

// newRandomWorld is a fleet with pools, some of them scarce.
func newRandomWorld(t *rapid.T) *world {
	w := newWorld()
	links := rapid.SampledFrom([]networkv1alpha1.CIDR{"100.64.0.0/16", "100.64.0.0/16", "100.64.0.0/26"}).Draw(t, "links")
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{links}}})
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 4097, Last: 4120}}})
	w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "tenants"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.2.0.0/22", "10.9.0.0/21"}}})
	for _, c := range someClusters {
		w.clusters[c] = Cluster{Name: c, Labels: map[string]string{"sea": c[:1]}, Accepted: true}
	}
	w.placements["shop/everywhere"] = []string{"east", "west"}
	w.populate(t)
	return w
}

// populate makes Vpcs, subnets and peerings most of which are good, so that there is something to go wrong.
func (w *world) populate(t *rapid.T) {
	for i, tenant := range someTenants {
		for j, name := range someVpcs {
			o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name}}
			for _, n := range someNames {
				for _, from := range someTenants {
					o.Spec.PeeringDecisions = append(o.Spec.PeeringDecisions, networkv1alpha1.PeeringDecision{Namespace: networkv1alpha1.NamespaceName(from), Name: n, Decision: networkv1alpha1.DecisionAccept})
				}
			}
			o.Spec.Clusters.Names = rapid.SliceOfNDistinct(rapid.SampledFrom([]networkv1alpha1.ClusterName{"east", "north", "west"}), 1, 3, rapid.ID).Draw(t, "spans")
			w.write(o)
			for k, c := range o.Spec.Clusters.Names {
				// One in three lies where another Vpc's may be.
				second := rapid.SampledFrom([]int{i*3 + j, i*3 + j, j}).Draw(t, "lies")
				w.write(&networkv1alpha1.Subnet{
					ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("%s%d", name, k)},
					Spec:       networkv1alpha1.SubnetSpec{Vpc: name, Cluster: c, CIDRBlock: networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", second, k*4))},
				})
			}
		}
	}
	for range rapid.IntRange(2, 10).Draw(t, "peerings") {
		w.randomPeering(t)
	}
}

// steps are what may happen to a fleet, the frequent ones several times.
var steps = []struct {
	name string
	do   func(*world, *rapid.T)
}{
	{"vpc", (*world).randomVpc}, {"vpc", (*world).randomVpc}, {"vpc", (*world).randomVpc},
	{"subnet", (*world).randomSubnet}, {"subnet", (*world).randomSubnet}, {"subnet", (*world).randomSubnet}, {"subnet", (*world).randomSubnet},
	{"peering", (*world).randomPeering}, {"peering", (*world).randomPeering}, {"peering", (*world).randomPeering},
	{"realize", (*world).randomRealize}, {"realize", (*world).randomRealize}, {"realize", (*world).randomRealize},
	{"decide", (*world).randomDecision}, {"decide", (*world).randomDecision},
	{"delete", (*world).randomDelete},
	{"cluster", (*world).randomCluster},
	{"report", (*world).randomReport},
	{"pool", (*world).randomPool},
	{"loss", (*world).randomLoss},
}

func (w *world) randomStep(t *rapid.T) {
	i := rapid.IntRange(0, len(steps)-1).Draw(t, "step")
	steps[i].do(w, t)
}

func (w *world) randomVpc(t *rapid.T) {
	o := &networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{
		Namespace: rapid.SampledFrom(someTenants).Draw(t, "tenant"), Name: rapid.SampledFrom(someVpcs).Draw(t, "vpc"),
	}}
	if old := w.vpcs[keyOf(o)]; old != nil {
		o.Spec.PeeringDecisions = old.Spec.PeeringDecisions
	}
	switch rapid.IntRange(0, 9).Draw(t, "clusters") {
	case 0:
		o.Spec.Clusters.Placement = rapid.SampledFrom([]string{"everywhere", "nowhere"}).Draw(t, "placement")
	case 1:
		o.Spec.Clusters.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"sea": rapid.SampledFrom([]string{"e", "w", "x"}).Draw(t, "sea")}}
	default:
		for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(append(slices.Clone(someClusters), "atlantis")), 1, 3, rapid.ID).Draw(t, "names") {
			o.Spec.Clusters.Names = append(o.Spec.Clusters.Names, networkv1alpha1.ClusterName(c))
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "declares") == 0 {
		o.Spec.CIDRs = rapid.SliceOfNDistinct(rapid.SampledFrom([]networkv1alpha1.CIDR{"10.0.0.0/14", "10.1.0.0/16", "10.2.0.0/16", "10.0.0.0/16", "10.8.0.0/15", "10.0.0.0/15", "100.64.8.0/24", "banana"}), 1, 2, rapid.ID).Draw(t, "cidrs")
	}
	if rapid.IntRange(0, 3).Draw(t, "binds") == 0 {
		o.Spec.Namespaces = []networkv1alpha1.NamespaceName{networkv1alpha1.NamespaceName(o.Namespace)}
	}
	w.write(o)
}

func (w *world) randomSubnet(t *rapid.T) {
	o := &networkv1alpha1.Subnet{ObjectMeta: metav1.ObjectMeta{
		Namespace: rapid.SampledFrom(someTenants).Draw(t, "tenant"), Name: rapid.SampledFrom([]string{"k", "l", "m", "o", "p", "q"}).Draw(t, "subnet"),
	}}
	if w.subnets[keyOf(o)] != nil {
		return
	}
	o.Spec.Vpc = rapid.SampledFrom(someVpcs).Draw(t, "vpc")
	if rapid.Bool().Draw(t, "chooses") {
		o.Spec.Cluster = networkv1alpha1.ClusterName(rapid.SampledFrom(someClusters).Draw(t, "cluster"))
	}
	if rapid.IntRange(0, 3).Draw(t, "pool") == 0 {
		o.Spec.FromPool = &networkv1alpha1.PoolRequest{Name: "tenants", PrefixLength: rapid.SampledFrom([]int32{0, 25, 23}).Draw(t, "length")}
	} else {
		o.Spec.CIDRBlock = networkv1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/%d", rapid.IntRange(0, 3).Draw(t, "b"), 4*rapid.IntRange(0, 2).Draw(t, "c"), rapid.IntRange(22, 25).Draw(t, "bits")))
	}
	w.write(o)
}

func (w *world) randomPeering(t *rapid.T) {
	o := &networkv1alpha1.VpcPeering{ObjectMeta: metav1.ObjectMeta{
		Namespace: rapid.SampledFrom(someTenants).Draw(t, "tenant"), Name: rapid.SampledFrom(someNames).Draw(t, "peering"),
	}}
	if w.peerings[keyOf(o)] != nil {
		return
	}
	o.Spec.Vpc = rapid.SampledFrom(someVpcs).Draw(t, "vpc")
	o.Spec.PeerVpc.Name = rapid.SampledFrom(someVpcs).Draw(t, "peer")
	if rapid.Bool().Draw(t, "foreign") {
		o.Spec.PeerVpc.Namespace = networkv1alpha1.NamespaceName(rapid.SampledFrom(someTenants).Draw(t, "peer tenant"))
	}
	w.write(o)
}

func (w *world) randomDecision(t *rapid.T) {
	keys := slices.Collect(keysInOrder(w.vpcs))
	if len(keys) == 0 {
		return
	}
	o := w.vpcs[rapid.SampledFrom(keys).Draw(t, "accepter")].DeepCopy()
	o.Spec.PeeringDecisions = nil
	for _, tenant := range someTenants {
		for _, name := range someNames {
			if d := rapid.SampledFrom([]string{"", networkv1alpha1.DecisionAccept, networkv1alpha1.DecisionAccept, networkv1alpha1.DecisionReject}).Draw(t, "decision"); d != "" {
				o.Spec.PeeringDecisions = append(o.Spec.PeeringDecisions, networkv1alpha1.PeeringDecision{Namespace: networkv1alpha1.NamespaceName(tenant), Name: name, Decision: d})
			}
		}
	}
	w.write(o)
}

func (w *world) randomRealize(t *rapid.T) {
	w.realize(rapid.SampledFrom(someClusters).Draw(t, "realizes"))
}

func (w *world) randomDelete(t *rapid.T) {
	kind := rapid.SampledFrom([]string{"Vpc", "Subnet", "VpcPeering"}).Draw(t, "kind")
	keys := map[string][]Key{"Vpc": slices.Collect(keysInOrder(w.vpcs)), "Subnet": slices.Collect(keysInOrder(w.subnets)), "VpcPeering": slices.Collect(keysInOrder(w.peerings))}[kind]
	if len(keys) > 0 {
		w.delete(kind, rapid.SampledFrom(keys).Draw(t, "deleted"))
	}
}

func (w *world) randomCluster(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "placement") == 0 {
		w.placements["shop/everywhere"] = rapid.SliceOfDistinct(rapid.SampledFrom(someClusters), rapid.ID).Draw(t, "decided")
		return
	}
	name := rapid.SampledFrom(someClusters).Draw(t, "cluster")
	c := Cluster{Name: name, Labels: map[string]string{"sea": name[:1]}, Accepted: true}
	if rapid.Bool().Draw(t, "node to node") {
		c.Labels[networkv1alpha1.LabelNodeToNode] = "true"
	}
	switch rapid.IntRange(0, 8).Draw(t, "becomes") {
	case 0, 3:
		c.Leaving = true
	case 5:
		c.Leaving, c.Left, c.Detached = true, true, rapid.Bool().Draw(t, "detached")
	case 4:
		c.Leaving, c.Gone = rapid.Bool().Draw(t, "leaving"), true
	case 1:
		c.Accepted = false
	case 2:
		delete(w.clusters, name)
		return
	}
	w.clusters[name] = c
}

func (w *world) randomReport(t *rapid.T) {
	a := act{Cluster: rapid.SampledFrom(someClusters).Draw(t, "reporter")}
	for _, node := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n1", "n2", "n3"}), 0, 3, rapid.ID).Draw(t, "nodes") {
		a.Endpoints = append(a.Endpoints, spokev1alpha1.ReportedEndpoint{Node: node, Address: rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "127.0.0.1", "::1"}).Draw(t, "address")})
	}
	for _, node := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n1", "n2", "n3"}), 0, 3, rapid.ID).Draw(t, "senders") {
		a.Nodes = append(a.Nodes, spokev1alpha1.ClusterNode{Node: node, Address: rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "192.0.2.4", "127.0.0.1", "::1"}).Draw(t, "address")})
	}
	a.ReservedCIDRs = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.3.0.0/16", "10.0.4.0/24", "x"}), 0, 1, rapid.ID).Draw(t, "reserved")
	w.report(a)
}

func (w *world) randomPool(t *rapid.T) {
	o := &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: rapid.SampledFrom([]string{"links", "more", "tenants"}).Draw(t, "pool")}}
	o.Spec.Purpose = networkv1alpha1.PurposeLink
	o.Spec.CIDRs = rapid.SliceOfNDistinct(rapid.SampledFrom([]networkv1alpha1.CIDR{"100.64.0.0/26", "100.64.0.0/24", "100.65.0.0/24", "10.3.4.0/24", "10.9.0.0/24"}), 1, 2, rapid.ID).Draw(t, "ranges")
	if o.Name == "tenants" {
		o.Spec.Purpose = networkv1alpha1.PurposeVpc
	}
	w.write(o)
}

// randomLoss is what should not happen: a ledger is lost, or an object goes at once, without its finalizer.
func (w *world) randomLoss(t *rapid.T) {
	if rapid.Bool().Draw(t, "loses ledger") {
		change(w, w.pools, Key(rapid.SampledFrom([]string{"links", "vnis", "tenants"}).Draw(t, "lost")), func(o *networkv1alpha1.IPPool) { o.Status = networkv1alpha1.IPPoolStatus{} })
	} else if keys := slices.Collect(keysInOrder(w.vpcs)); len(keys) > 0 {
		delete(w.vpcs, rapid.SampledFrom(keys).Draw(t, "torn out"))
	}
}

func keysInOrder[V any](m map[Key]V) func(yield func(Key) bool) {
	return func(yield func(Key) bool) {
		for key := range inOrder(m) {
			if !yield(key) {
				return
			}
		}
	}
}
