// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestDirectPath has a pod on a node of east that is no gateway talk to one in west, past the integration bridges of both: by
// east's gateways, and from node to node when both clusters say that their nodes reach each other.
func TestDirectPath(t *testing.T) {
	n := newTenant(t, "direct")
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "west", "172.31.0.0/16")
	n.peer("one-two", "vpc-1", "vpc-2")
	quiet := n.interfaces("east", "n3")
	pod1 := n.podOn("east", "pod-1", "vpc-1", "n3")
	pod2 := n.podOn("west", "pod-2", "vpc-2", "n1")
	n.verified("one-two")

	n.direct(pod1, pod2, map[string]bool{"pod": true, "node": true})
	n.tcp(pod1, pod2)
	flow := n.ping(pod1, pod2, 12*time.Second)
	n.killAgents()
	n.lossless(flow, "by own gateways, agents killed and restarted")

	for _, cluster := range []string{"east", "west"} {
		n.labelCluster(cluster, networkv1alpha1.LabelNodeToNode, `"true"`)
		t.Cleanup(func() { n.labelCluster(cluster, networkv1alpha1.LabelNodeToNode, "null") })
	}
	n.nodesOf("east", "n3")
	n.nodesOf("west", "n1")
	n.direct(pod1, pod2, map[string]bool{"pod": true})
	n.tcp(pod1, pod2)
	flow = n.ping(pod1, pod2, 12*time.Second)
	n.killAgents()
	n.lossless(flow, "node to node, agents killed and restarted")

	n.must(pod1.Delete(n.ctx))
	n.must(story.Eventually(n.ctx, "nothing of the pod to be left on its node", func(context.Context) error {
		if left := n.interfaces("east", "n3"); left != quiet {
			return fmt.Errorf("interfaces are\n%s\nwere\n%s", left, quiet)
		}
		maps, err := fleet.Maps(n.ctx, "east", "n3")
		switch {
		case err != nil && strings.Contains(err.Error(), "find maps"):
			return nil // the node has no role
		case err == nil && strings.Contains(maps, pod1.Address.String()):
			return fmt.Errorf("maps are\n%s", maps)
		}
		return err
	}))
}

// TestDirectPathOff: with node.directPath=false a cluster's pods go through OVN and the gateways' ports, those that were plugged for the
// direct path too; and new ones get what Open vSwitch alone needs.
func TestDirectPathOff(t *testing.T) {
	n := newTenant(t, "direct-off")
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "west", "172.31.0.0/16")
	n.peer("one-two", "vpc-1", "vpc-2")
	pod1, pod2 := n.podOn("east", "pod-1", "vpc-1", "n3"), n.podOn("west", "pod-2", "vpc-2", "n1")
	n.verified("one-two")
	n.direct(pod1, pod2, map[string]bool{"pod": true, "node": true})

	off := true
	on := func() {
		if !off {
			return
		}
		off = false
		n.check(fleet.Lab.Upgrade(context.WithoutCancel(n.ctx), "east"))
	}
	t.Cleanup(on)
	n.must(fleet.Lab.Upgrade(n.ctx, "east", "node.directPath=false"))
	n.by(pod1, pod2, "gateway") // west's pod sends by itself, to a gateway of east
	if _, err := fleet.Maps(n.ctx, "east", "n3"); err == nil {
		t.Error("a node without a role has maps")
	}
	n.tcp(pod1, pod2)
	before := n.interfaces("east", "n3")
	pod3 := n.podOn("east", "pod-3", "vpc-1", "n3")
	if after := n.interfaces("east", "n3"); strings.Count(after, "tbp") != strings.Count(before, "tbp")+1 || strings.Count(after, "tbr") != strings.Count(before, "tbr") {
		t.Errorf("interfaces are\n%s\nwere\n%s", after, before)
	}
	n.reach(pod3, pod2, 62)

	on()
	n.direct(pod1, pod2, map[string]bool{"pod": true, "node": true})
	n.by(pod3, pod2, "gateway") // it has one pair, and Open vSwitch takes its packets first
	n.tcp(pod3, pod2)
}

// by waits until what a node of east sends for a pod goes through a gateway port there.
func (n *tenant) by(from, to *story.Pod, path string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "packets of "+from.Name+" by "+path, func(ctx context.Context) error {
		if _, err := from.MustReach(ctx, to, 62); err != nil {
			return err
		}
		const packets = 100
		before := n.byPath()
		if _, err := from.Ping(ctx, to.Address, packets, 10*time.Millisecond); err != nil {
			return err
		}
		after := n.byPath()
		if grown := after[path] - before[path]; grown < packets {
			return fmt.Errorf("%.0f packets by %s: %v, then %v", grown, path, before, after)
		}
		return nil
	}))
}

// direct waits until pings from one pod to the other, and their answers, are counted by these paths and no others. Probes go by
// gateway ports all the time, a few each second.
func (n *tenant) direct(from, to *story.Pod, paths map[string]bool) {
	n.Helper()
	n.must(story.Eventually(n.ctx, fmt.Sprintf("packets by %v only", paths), func(ctx context.Context) error {
		before := n.byPath()
		const packets, probes = 100, 40
		report, err := from.MustReach(ctx, to, 62)
		if err != nil {
			return err
		}
		if _, err := from.Ping(ctx, to.Address, packets, 10*time.Millisecond); err != nil {
			return err
		}
		after := n.byPath()
		for path, count := range after {
			if grown := count - before[path]; !paths[path] && grown > probes {
				return fmt.Errorf("%.0f packets by %s: %v, then %v", grown, path, before, after)
			}
		}
		for path := range paths {
			if after[path]-before[path] < packets {
				return fmt.Errorf("%.0f packets by %s: %v, then %v, %+v", after[path]-before[path], path, before, after, report)
			}
		}
		return nil
	}))
}

// byPath are the packets between the tenant's Vpcs that all programs have counted, by path.
func (n *tenant) byPath() map[string]float64 {
	n.Helper()
	sum := map[string]float64{}
	for _, cluster := range []string{"east", "west"} {
		counters, err := fleet.Counters(n.ctx, cluster)
		n.must(err)
		for path, packets := range counters.ByPath(n.name+"/vpc-1", n.name+"/vpc-2") {
			sum[path] += packets
		}
		for path, packets := range counters.ByPath(n.name+"/vpc-2", n.name+"/vpc-1") {
			sum[path] += packets
		}
	}
	return sum
}

// podOn starts a pod in a subnet on a node.
func (n *tenant) podOn(cluster, name, subnet, node string) *story.Pod {
	n.Helper()
	pod, err := fleet.Spokes[cluster].StartPod(n.ctx, story.PodRequest{Namespace: n.name, Name: name, Subnet: subnet, Node: node})
	n.must(err)
	return pod
}

func (n *tenant) tcp(from, to *story.Pod) {
	n.Helper()
	for _, way := range [][2]*story.Pod{{from, to}, {to, from}} {
		_, err := way[0].TCP(n.ctx, way[1].Address, 4<<20)
		n.must(err)
	}
}

// nodesOf waits until the hub has told the fleet of a cluster's node.
func (n *tenant) nodesOf(cluster, node string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "node "+node+" of "+cluster+" to be approved", func(ctx context.Context) error {
		g := &spokev1alpha1.InterconnectGateway{}
		if err := fleet.Hub.Get(ctx, types.NamespacedName{Namespace: cluster, Name: cluster}, g); err != nil {
			return err
		}
		for _, approved := range g.Spec.Nodes {
			if approved.Node == node {
				return nil
			}
		}
		return fmt.Errorf("nodes are %v, reported %v", g.Spec.Nodes, g.Status.Nodes)
	}))
}

// interfaces are a node's, without their numbers.
func (n *tenant) interfaces(cluster, node string) string {
	n.Helper()
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	spot, err := c.Node(node)
	n.must(err)
	out, err := netns.Exec(n.ctx, spot.NetNS, "ip", "-br", "link")
	n.must(err)
	var names []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.Fields(line)[0], "@")
		if !strings.HasPrefix(name, "tbx") { // the VXLAN device may be kept for other tenants' pods
			names = append(names, name)
		}
	}
	return strings.Join(names, "\n")
}
