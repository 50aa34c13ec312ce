// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// FuzzPlan puts any text and number where the API server should have refused it: the planner never panics, and what it
// makes of it the oracle finds no fault with.
func FuzzPlan(f *testing.F) {
	f.Add("10.0.0.0/16", "10.0.0.0/24", "10.0.0.1", "10.0.0.2..10.0.0.9", "100.64.0.0/10", "100.64.0.0/29", "Vpc/shop/a/east", int32(24), int32(4097))
	f.Add("", "fd00::/8", "..", "..", "0.0.0.0/0", "/", "//", int32(-1), int32(0))
	f.Add("0.0.0.0/0", "255.255.255.255/32", "255.255.255.255", "0.0.0.0..255.255.255.255", "10.0.0.0/32", "10.0.0.0/32", "Subnet/shop/pooled/east", int32(33), int32(1<<30))
	f.Add("10.0.0.0/8", "10.0.0.0/29", "10.0.0.7", "10.0.0.1", "100.64.0.0/31", "4097", "Vpc/shop/a", int32(30), int32(-4097))
	f.Fuzz(func(t *testing.T, cidr, block, gateway, exclude, links, value, owner string, length, vni int32) {
		w := newWorld()
		w.clusters["east"] = Cluster{Name: "east", Accepted: true}
		w.clusters["west"] = Cluster{Name: "west", Accepted: true}
		w.report(act{Cluster: "east", Endpoints: []spokev1alpha1.ReportedEndpoint{{Node: owner, Address: gateway}}, ReservedCIDRs: []string{block, cidr}})
		pool := func(name string, spec networkv1alpha1.IPPoolSpec) {
			w.write(&networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec, Status: networkv1alpha1.IPPoolStatus{
				Allocations: []networkv1alpha1.Allocation{{Value: value, Owner: owner, UID: "uid-7"}, {Value: links, Owner: owner}},
			}})
		}
		pool("links", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{networkv1alpha1.CIDR(links)}, PrefixLengths: &networkv1alpha1.PrefixLengths{Min: 8, Max: 30, Default: length}})
		pool("more", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.127.0.0/16"}})
		pool("vnis", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: vni, Last: 5000}})
		pool("tenants", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{networkv1alpha1.CIDR(cidr)}})
		for _, name := range []string{"a", "b"} {
			w.write(&networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: networkv1alpha1.VpcSpec{
				Clusters: networkv1alpha1.ClusterSelection{Names: []networkv1alpha1.ClusterName{"east", "west"}},
			}})
		}
		w.write(&networkv1alpha1.Vpc{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "c"}, Spec: networkv1alpha1.VpcSpec{
			Clusters: networkv1alpha1.ClusterSelection{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{owner: value}}},
			CIDRs:    []networkv1alpha1.CIDR{networkv1alpha1.CIDR(cidr), networkv1alpha1.CIDR(block)},
		}})
		w.write(&networkv1alpha1.Subnet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "given"}, Spec: networkv1alpha1.SubnetSpec{
			Vpc: "a", Cluster: "east", CIDRBlock: networkv1alpha1.CIDR(block), Gateway: networkv1alpha1.IPv4(gateway), ExcludeIPs: []networkv1alpha1.IPRange{networkv1alpha1.IPRange(exclude)},
		}})
		w.write(&networkv1alpha1.Subnet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "pooled"}, Spec: networkv1alpha1.SubnetSpec{
			Vpc: "b", FromPool: &networkv1alpha1.PoolRequest{Name: "tenants", PrefixLength: length}, ExcludeIPs: []networkv1alpha1.IPRange{networkv1alpha1.IPRange(exclude)},
		}})
		w.write(&networkv1alpha1.VpcPeering{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a-b"}, Spec: networkv1alpha1.VpcPeeringSpec{Vpc: "a", PeerVpc: networkv1alpha1.VpcReference{Name: "b"}}})
		for range 3 {
			result := Plan(w.snapshot())
			w.store(result)
			fabric := &fabric{}
			for _, r := range inOrder(result.Routers) {
				fabric.routers = append(fabric.routers, r)
			}
			for _, wrong := range fabric.check(func(a, b Key) bool { return a != "shop/c" && b != "shop/c" || a == b }, sameVpc) {
				t.Error(wrong)
			}
			for key := range keysInOrder(w.routers) {
				change(w, w.routers, key, func(o *spokev1alpha1.LocalRouter) { o.Spec.LinkCIDR, o.Spec.Vpc.VNI = value, vni })
				break
			}
		}
	})
}

// sameVpc: the routers of one Vpc reach each other.
func sameVpc(a, b *spokev1alpha1.LocalRouter) bool { return vpcOf(a) == vpcOf(b) }
