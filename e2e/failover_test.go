// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestGatewayDies takes one of east's two gateway nodes away, in several ways, while pods of a third node talk to west: all flows are
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
	east, err := fleet.Lab.Cluster("east")
	n.must(err)
	n1 := east.Nodes[0]
	underlay := blackout{
		begin: func(context.Context) error { return netns.LinkDown(n1.NetNS, node.WANIf) },
		end:   func(context.Context) error { return netns.LinkUp(n1.NetNS, node.WANIf) },
		dark:  8 * time.Second,
	}
	t.Run("ByOwnGateways", func(t *testing.T) {
		n := &tenant{T: t, ctx: n.ctx, name: n.name}
		n.direct(pods[0], far, map[string]bool{"pod": true, "node": true})
		n.survives(pods, far, underlay)
	})
	t.Run("Power", func(t *testing.T) {
		n := &tenant{T: t, ctx: n.ctx, name: n.name}
		n.deletesNothing(func() {
			n.survives(pods, far, blackout{
				begin: func(ctx context.Context) error { return fleet.Lab.KillNode(ctx, "east", "n1") },
				end:   func(ctx context.Context) error { return fleet.Lab.ReviveNode(ctx, "east", "n1") },
				dark:  5 * time.Second, wake: 13 * time.Second,
			})
		})
		n.must(fleet.Lab.AgentsReady(n.ctx))
	})
	t.Run("ByOVNEncrypted", func(t *testing.T) { // what is encrypted leaves pods by OVN
		n := &tenant{T: t, ctx: n.ctx, name: n.name}
		n.labelCluster("east", networkv1alpha1.LabelEncryption, `"WireGuard"`)
		t.Cleanup(func() { n.labelCluster("east", networkv1alpha1.LabelEncryption, "null") })
		n.encrypted("one-two")
		n.by(pods[0], far, "gateway")
		if seen := n.onTheWire(func() { n.survives(pods, far, underlay) }); seen[vxlanPort] != 0 || seen[wireGuardPort] < 1000 {
			t.Errorf("between the clusters UDP ports %v were seen", seen)
		}
		t.Run("Inside", func(t *testing.T) { // it answers from outside, and loses what it gives to OVN
			n := &tenant{T: t, ctx: n.ctx, name: n.name}
			n.survives(pods, far, blackout{
				begin: func(ctx context.Context) error { return fleet.Lab.LoseGeneve(ctx, "east", "n1") },
				end:   func(ctx context.Context) error { return fleet.Lab.PassGeneve(ctx) },
				dark:  12 * time.Second, wake: 3 * time.Second,
				told: func() {
					n.dataPath(spokev1alpha1.ReasonNoWayToPods, "gateway node n1: PodsReachable: No pod of another node answers")
				},
			})
			n.dataPath("Ready", "Every gateway node is as it should be.")
		})
	})
}

// blackout takes n1 of east away.
type blackout struct {
	begin, end func(context.Context) error
	// dark is how long it lasts, and wake how long end may take.
	dark, wake time.Duration
	// told, if any, looks at what else is said in the dark.
	told func()
}

// deletesNothing fails when anything that the hub tells the clusters is gone, or is another object, after f.
func (n *tenant) deletesNothing(f func()) {
	n.Helper()
	told := func() map[string]bool {
		all := map[string]bool{}
		for _, list := range []client.ObjectList{&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{}} {
			n.must(fleet.Hub.List(n.ctx, list))
			n.must(meta.EachListItem(list, func(o runtime.Object) error {
				all[fmt.Sprintf("%T %s %s", o, client.ObjectKeyFromObject(o.(client.Object)), o.(client.Object).GetUID())] = o.(client.Object).GetDeletionTimestamp() == nil
				return nil
			}))
		}
		return all
	}
	was, believed := told(), n.endpoints()
	f()
	if diff := cmp.Diff(was, told()); diff != "" {
		n.Errorf("the hub tells something else: %s", diff)
	}
	if diff := cmp.Diff(believed, n.endpoints()); diff != "" {
		n.Errorf("what the fleet believes changed: %s", diff)
	}
}

// survives takes gateway node n1 of east away, and brings it back.
func (n *tenant) survives(pods []*story.Pod, far *story.Pod, b blackout) {
	n.Helper()
	const before, after = time.Second, 6 * time.Second
	var flows []pinging
	for _, pod := range pods {
		flows = append(flows, n.ping(pod, far, before+b.dark+b.wake+after))
	}
	time.Sleep(before)
	cut := time.Now()
	n.must(b.begin(n.ctx))
	n.Cleanup(func() { n.check(b.end(context.WithoutCancel(n.ctx))) })
	n.gateway("n1", metav1.ConditionFalse, spokev1alpha1.ReasonGatewayUnreachable)
	told := time.Since(cut)
	n.Logf("told after %s", told.Round(time.Millisecond))
	if b.told != nil {
		b.told()
	}
	time.Sleep(time.Until(cut.Add(b.dark)))
	joined := time.Now()
	n.must(b.end(n.ctx))
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
