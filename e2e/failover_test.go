// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestGatewayDies cuts one of east's two gateway nodes off the other clusters while pods of a third node talk to west: all flows are
// whole again long before anybody takes the label off it, and when it is back it is used again.
func TestGatewayDies(t *testing.T) {
	n := newTenant(t, "failover")
	n.vpc("vpc-1", "east", "10.0.0.0/16")
	n.vpc("vpc-2", "west", "172.31.0.0/16")
	n.peer("one-two", "vpc-1", "vpc-2")
	var pods []*story.Pod // which gateway a flow takes goes by its addresses: with so many some take n1
	for i := range 4 {
		pods = append(pods, n.podOn("east", fmt.Sprintf("pod-%d", i+1), "vpc-1", "n3"))
	}
	far := n.podOn("west", "far", "vpc-2", "n1")
	n.verified("one-two")
	t.Run("ByOwnGateways", func(t *testing.T) {
		n := &tenant{T: t, ctx: n.ctx, name: n.name}
		n.direct(pods[0], far, map[string]bool{"pod": true, "node": true})
		n.survives(pods, far)
	})
	t.Run("ByOVN", func(t *testing.T) {
		n := &tenant{T: t, ctx: n.ctx, name: n.name}
		n.directPath(false)
		t.Cleanup(func() { n.directPath(true) })
		n.by(pods[0], far, "gateway")
		n.survives(pods, far)
	})
}

// directPath lets pods of east send by themselves, or not.
func (n *tenant) directPath(on bool) {
	n.Helper()
	var set []string
	if !on {
		set = []string{"node.directPath=false"}
	}
	n.check(fleet.Lab.Upgrade(context.WithoutCancel(n.ctx), "east", set...))
}

// survives cuts gateway node n1 of east off, and joins it again.
func (n *tenant) survives(pods []*story.Pod, far *story.Pod) {
	n.Helper()
	const before, dark, after = time.Second, 8 * time.Second, 6 * time.Second
	east, err := fleet.Lab.Cluster("east")
	n.must(err)
	n1 := east.Nodes[0]
	var flows []pinging
	for _, pod := range pods {
		flows = append(flows, n.ping(pod, far, before+dark+after))
	}
	time.Sleep(before)
	cut := time.Now()
	n.must(netns.LinkDown(n1.NetNS, node.WANIf))
	n.Cleanup(func() { n.check(netns.LinkUp(n1.NetNS, node.WANIf)) })
	n.gateway("n1", metav1.ConditionFalse, spokev1alpha1.ReasonGatewayUnreachable)
	told := time.Since(cut)
	n.Logf("told after %s", told.Round(time.Millisecond))
	time.Sleep(time.Until(cut.Add(dark)))
	joined := time.Now()
	n.must(netns.LinkUp(n1.NetNS, node.WANIf))
	n.gateway("n1", metav1.ConditionTrue, spokev1alpha1.ReasonGatewayReachable)
	n.Logf("told to be back after %s", time.Since(joined).Round(time.Millisecond))
	for i, flow := range flows {
		n.must(<-flow.failed)
		report := <-flow.answer
		lost, longest := outage(report, cut, joined)
		n.Logf("%s: %d of %d lost, while n1 was dark and the last of them %s after that began; then %d",
			pods[i].Name, report.Lost, report.Sent, longest.Round(10*time.Millisecond), report.Lost-lost)
		if longest > min(told+3*time.Second, 15*time.Second) {
			n.Errorf("%s lost packets for %s, and all were told after %s", pods[i].Name, longest, told)
		}
		if late := report.Lost - lost; late > report.Sent/10 {
			n.Errorf("%s lost %d packets when the gateway was back", pods[i].Name, late)
		}
	}
	n.must(story.Eventually(n.ctx, "n1 to carry packets again", func(ctx context.Context) error {
		const packets = 100 // probes are a few
		was, err := fleet.NodePackets(ctx, "east", "n1")
		if err != nil {
			return err
		}
		if _, err := pods[0].TCP(ctx, far.Address, 1<<20); err != nil { // each time by another port
			return err
		}
		is, err := fleet.NodePackets(ctx, "east", "n1")
		if err != nil {
			return err
		}
		if is-was < packets {
			return fmt.Errorf("it carried %.0f", is-was)
		}
		return nil
	}))
}

// outage is how many requests were lost that were sent in between, and how long after from the last of them was sent.
func outage(report probe.PingReport, from, to time.Time) (lost int, last time.Duration) {
	answered := map[int]time.Time{}
	for _, r := range report.Replies {
		if r.Error == "" {
			answered[r.Seq] = r.SentAt
		}
	}
	sent := from.Add(-time.Hour)
	for seq := 1; seq <= report.Sent; seq++ {
		if at, ok := answered[seq]; ok {
			sent = at
			continue
		}
		sent = sent.Add(10 * time.Millisecond) // as of ping
		if sent.After(from) && sent.Before(to) {
			lost, last = lost+1, sent.Sub(from)
		}
	}
	return lost, last
}

// gateway waits until east says so of a gateway node, there and on the hub.
func (n *tenant) gateway(name string, status metav1.ConditionStatus, reason string) {
	n.Helper()
	for _, at := range []struct {
		cluster   *story.Cluster
		namespace string
	}{{fleet.Spokes["east"], "tombolo-system"}, {fleet.Hub, "east"}} {
		n.must(story.Eventually(n.ctx, fmt.Sprintf("gateway node %s to be Reachable=%s on %s", name, status, at.cluster.Name), func(ctx context.Context) error {
			g := &spokev1alpha1.InterconnectGateway{}
			if err := at.cluster.Get(ctx, types.NamespacedName{Namespace: at.namespace, Name: "east"}, g); err != nil {
				return err
			}
			for _, node := range g.Status.Gateways {
				c := meta.FindStatusCondition(node.Conditions, spokev1alpha1.ConditionReachable)
				if node.Node == name && c != nil && c.Status == status && c.Reason == reason {
					return nil
				}
			}
			return fmt.Errorf("gateways are %+v, tunnels %+v", g.Status.Gateways, g.Status.Tunnels)
		}))
	}
}
