// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestClusterLeaves takes a cluster with a peered Vpc out of the fleet: another peering loses no packet, and nothing of Tombolo is left in the
// cluster. Then it comes back, and the peering with it.
func TestClusterLeaves(t *testing.T) {
	n := newTenant(t, "leave")
	pod1, pod2 := n.peered()
	n.vpc("vpc-3", "east", "192.168.0.0/24")
	n.peer("one-three", "vpc-1", "vpc-3")
	pod3 := n.pod("east", "pod-3", "vpc-3")
	n.verified("one-three")
	if had := n.traces("west"); !strings.Contains(had, "tbx") || !strings.Contains(had, "/sys/fs/bpf/tombolo/links") {
		t.Fatalf("the test does not see what there is in west:\n%s", had)
	}

	flow := n.ping(pod1, pod3, 40*time.Second)
	begin := time.Now()
	n.must(fleet.Lab.Manual(n.ctx, "west", "leave"))
	t.Logf("west has left after %s", time.Since(begin).Round(100*time.Millisecond))
	if left := n.traces("west"); left != "" {
		t.Errorf("left in west:\n%s", left)
	}
	n.notReach(pod1, pod2.Address)
	n.reach(pod1, pod3, 62)

	n.must(fleet.Lab.Manual(n.ctx, "west", "return"))
	n.must(pod2.Delete(n.ctx)) // it has lost its interface
	n.must(story.Eventually(n.ctx, "west to be a member", func(ctx context.Context) error {
		var g spokev1alpha1.InterconnectGateway
		err := fleet.Hub.Get(ctx, client.ObjectKey{Namespace: "west", Name: "west"}, &g)
		if err == nil && g.Spec.Membership != spokev1alpha1.MembershipMember {
			err = fmt.Errorf("it is %s", g.Spec.Membership)
		}
		return err
	}))
	n.must(fleet.Lab.AgentsReady(n.ctx))
	pod2 = n.pod("west", "pod-4", "vpc-2")
	n.verified("one-two")
	n.reach(pod1, pod2, 62)
	n.lossless(flow, "another cluster leaves and comes back")
}

// traces is all that Tombolo has made in a cluster: copies, rows, annotations, and on each node interfaces, rules, pins, ports and keys.
func (n *tenant) traces(cluster string) string {
	n.Helper()
	var all strings.Builder
	note := func(what, text string) {
		for line := range strings.Lines(text) {
			fmt.Fprintf(&all, "%s: %s\n", what, strings.TrimSpace(line))
		}
	}
	rows, err := fleet.OwnRows(n.ctx, cluster)
	n.must(err)
	note("row", rows)
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	var nodes corev1.NodeList
	var pods corev1.PodList
	spoke := fleet.Spokes[cluster]
	n.must(errors.Join(spoke.List(n.ctx, &routers), spoke.List(n.ctx, &gateways), spoke.List(n.ctx, &nodes), spoke.List(n.ctx, &pods)))
	for _, r := range routers.Items {
		note("copy", r.Name)
	}
	for _, g := range gateways.Items {
		note("copy", g.Name)
	}
	for _, o := range nodes.Items {
		note("node", ours(&o))
	}
	for _, o := range pods.Items {
		note("pod", ours(&o))
	}
	c, err := fleet.Lab.Cluster(cluster)
	n.must(err)
	for _, node := range c.Nodes {
		out, err := node.Exec(n.ctx, "sh", "-c", `ip -o link | grep -o ' tb[a-z][^:@]*' ; ip rule | grep -v 'lookup \(local\|main\|default\)' ;
			for i in $(ls /sys/class/net); do tc filter show dev $i ingress 2>/dev/null; tc qdisc show dev $i clsact 2>/dev/null; done ;
			find /sys/fs/bpf/tombolo 2>/dev/null ; find /var/lib/tombolo/wireguard /etc/cni/net.d/00-tombolo.conflist /opt/cni/bin/tombolo-cni 2>/dev/null ; true`)
		n.must(err)
		note(node.Name, string(out))
	}
	return all.String()
}

// ours are the annotations that agents write.
func ours(o client.Object) string {
	for _, name := range []string{"tombolo.io/agent", "tombolo.io/gateway-endpoint", "tombolo.io/node-endpoint", "tombolo.io/network", "tombolo.io/direct-path"} {
		if _, has := o.GetAnnotations()[name]; has {
			return o.GetName() + " has " + name
		}
	}
	return ""
}
