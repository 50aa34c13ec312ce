// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestPeeringJoinsTwoClusters is the demo's story.
func TestPeeringJoinsTwoClusters(t *testing.T) {
	n := newTenant(t, "two-clusters")
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "west", "172.31.0.0/16")
	n.vpc("vpc-3", "east", "192.168.0.0/16")
	pod1, pod2, pod3 := n.pod("east", "pod-1", "vpc-1"), n.pod("west", "pod-2", "vpc-2"), n.pod("east", "pod-3", "vpc-3")
	n.notReach(pod1, pod2.Address)
	before := n.world()

	took, err := story.FirstPacket(n.ctx, pod1, pod2, 10*time.Second, func(context.Context) error { n.peer("one-two", "vpc-1", "vpc-2"); return nil })
	n.must(err)
	t.Logf("from apply to the first reply: %s", took)
	n.verified("one-two")
	n.reach(pod1, pod2, 62)
	n.reach(pod2, pod1, 62)
	for _, way := range [][2]*story.Pod{{pod1, pod2}, {pod2, pod1}} {
		_, err := way[0].TCP(n.ctx, way[1].Address, 4<<20)
		n.must(err)
	}

	n.measured("east", "west")
	n.recorded(pod1, pod2)

	n.peer("two-three", "vpc-2", "vpc-3")
	n.verified("two-three")
	n.reach(pod3, pod2, 62)
	n.reach(pod2, pod3, 62)
	n.notReach(pod1, pod3.Address) // never transitive
	n.notReach(pod3, pod1.Address)

	for _, cluster := range []string{"east", "west"} {
		counters, err := fleet.Counters(n.ctx, cluster)
		n.must(err)
		if counters.Packets(n.name+"/vpc-1", n.name+"/vpc-2")+counters.Packets(n.name+"/vpc-2", n.name+"/vpc-1") == 0 {
			t.Errorf("the programs of %s have counted no packet between vpc-1 and vpc-2:\n%s", cluster, counters.Text)
		}
	}

	n.unpeer("one-two")
	n.notReach(pod1, pod2.Address)
	n.notReach(pod2, pod1.Address)
	n.reach(pod3, pod2, 62)
	n.unpeer("two-three")
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(n.world(), "\n")); diff != "" {
		t.Errorf("something of the peerings is left in OVN or eBPF (-before +after):\n%s", diff)
	}
}

// TestPeeringInOneCluster is Kube-OVN's own example, with both Vpcs in one cluster.
func TestPeeringInOneCluster(t *testing.T) {
	n := newTenant(t, "one-cluster")
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "east", "172.31.0.0/16")
	pod1, pod2 := n.pod("east", "pod-1", "vpc-1"), n.pod("east", "pod-2", "vpc-2")
	n.notReach(pod1, pod2.Address)
	n.peer("one-two", "vpc-1", "vpc-2")
	n.verified("one-two")
	n.reach(pod1, pod2, 62) // two routers, as in the Kube-OVN document
	n.reach(pod2, pod1, 62)
	n.unpeer("one-two")
	n.notReach(pod1, pod2.Address)
}

// TestOneVpcOverBothClusters needs no peering: a subnet per cluster from a pool.
func TestOneVpcOverBothClusters(t *testing.T) {
	n := newTenant(t, "wide")
	n.apply(`
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: wide, namespace: wide}
spec: {clusters: {selector: {matchExpressions: [{key: name, operator: In, values: [east, west]}]}}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: wide, namespace: wide}
spec: {vpc: wide, fromPool: {name: subnets, prefixLength: 25}}
`)
	east, west := n.pod("east", "pod-east", "wide"), n.pod("west", "pod-west", "wide")
	n.must(story.Eventually(n.ctx, "the two halves to meet", func(ctx context.Context) error {
		_, err := east.MustReach(ctx, west, 62)
		return err
	}))
	n.reach(west, east, 62)
	pool := netip.MustParsePrefix("10.200.0.0/16")
	for _, pod := range []*story.Pod{east, west} {
		if !pool.Contains(pod.Address) {
			t.Errorf("%s has %s, which is not of the pool %s", pod.Name, pod.Address, pool)
		}
	}
}

// TestSameCIDRStaysApart has two Vpcs with one CIDR in one cluster.
func TestSameCIDRStaysApart(t *testing.T) {
	n := newTenant(t, "twins")
	n.vpc("red", "east", "10.0.1.0/24")
	n.vpc("blue", "east", "10.0.1.0/24")
	red1, red2, blue1 := n.pod("east", "red-1", "red"), n.pod("east", "red-2", "red"), n.pod("east", "blue-1", "blue")
	if red1.Address != blue1.Address {
		t.Fatalf("red-1 has %s and blue-1 %s: the test wants the same address in both", red1.Address, blue1.Address)
	}
	n.reach(red1, red2, 64)
	n.notReach(blue1, red2.Address)
}

// TestOverlappingPeersAreRefused names both prefixes and programs nothing.
func TestOverlappingPeersAreRefused(t *testing.T) {
	n := newTenant(t, "overlap")
	n.vpc("one", "east", "10.0.0.0/16")
	n.vpc("two", "west", "10.0.128.0/17")
	n.pod("east", "pod-1", "one")
	n.pod("west", "pod-2", "two")
	before := n.world()
	n.peer("one-two", "one", "two")
	message, err := fleet.Hub.Failed(n.ctx, n.name, "one-two", networkv1alpha1.ReasonOverlappingCIDRs)
	n.must(err)
	for _, prefix := range []string{"10.0.0.0/16", "10.0.128.0/17"} {
		if !strings.Contains(message, prefix) {
			t.Errorf("the message doesn't name %s: %s", prefix, message)
		}
	}
	if diff := cmp.Diff(before, n.world()); diff != "" {
		t.Errorf("something of a refused peering was programmed (-before +after):\n%s", diff)
	}
}
