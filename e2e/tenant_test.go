// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// tenant is a namespace in every cluster, of one test.
type tenant struct {
	*testing.T
	ctx  context.Context
	name string
}

// newTenant makes a tenant that is gone, Vpcs first, at the end of the test.
func newTenant(t *testing.T, name string) *tenant {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	n := &tenant{T: t, ctx: ctx, name: name}
	n.must(fleet.Namespace(ctx, name))
	t.Cleanup(n.remove)
	return n
}

func (n *tenant) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

// remove takes everything of the tenant away and fails when something stays.
func (n *tenant) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	for _, c := range fleet.Spokes {
		n.check(c.DeletePods(ctx, n.name))
	}
	for _, list := range []client.ObjectList{&networkv1alpha1.VpcPeeringList{}, &networkv1alpha1.SubnetList{}, &networkv1alpha1.VpcList{}} {
		n.check(fleet.Hub.Empty(ctx, n.name, list))
	}
}

func (n *tenant) check(err error) {
	n.Helper()
	if err != nil {
		n.Error(err)
	}
}

// apply applies YAML on the hub.
func (n *tenant) apply(format string, args ...any) {
	n.Helper()
	n.must(fleet.Hub.Apply(n.ctx, fmt.Appendf(nil, format, args...)))
}

// vpc makes a Vpc in one cluster with one subnet of the same name.
func (n *tenant) vpc(name, cluster, cidr string) {
	n.Helper()
	n.apply(`
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: %[2]s, namespace: %[1]s}
spec: {clusters: {names: [%[3]s]}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: %[2]s, namespace: %[1]s}
spec: {vpc: %[2]s, cidrBlock: %[4]s}
`, n.name, name, cluster, cidr)
}

// peer applies a VpcPeering.
func (n *tenant) peer(name, vpc, peerVpc string) {
	n.Helper()
	n.apply(`
apiVersion: network.tombolo.io/v1alpha1
kind: VpcPeering
metadata: {name: %[2]s, namespace: %[1]s}
spec: {vpc: %[3]s, peerVpc: {name: %[4]s}}
`, n.name, name, vpc, peerVpc)
}

// unpeer deletes a VpcPeering and waits until it is gone: every cluster has confirmed.
func (n *tenant) unpeer(name string) {
	n.Helper()
	peering := &networkv1alpha1.VpcPeering{}
	peering.Namespace, peering.Name = n.name, name
	n.must(fleet.Hub.Delete(n.ctx, peering))
	n.must(fleet.Hub.Gone(n.ctx, peering))
}

func (n *tenant) verified(peering string) {
	n.Helper()
	_, err := fleet.Hub.Verified(n.ctx, n.name, peering)
	n.must(err)
}

// pod starts a pod in a subnet.
func (n *tenant) pod(cluster, name, subnet string) *story.Pod {
	n.Helper()
	pod, err := fleet.Spokes[cluster].StartPod(n.ctx, story.PodRequest{Namespace: n.name, Name: name, Subnet: subnet})
	n.must(err)
	return pod
}

func (n *tenant) reach(from, to *story.Pod, ttl int) {
	n.Helper()
	_, err := from.MustReach(n.ctx, to, ttl)
	n.must(err)
}

func (n *tenant) notReach(from *story.Pod, to netip.Addr) {
	n.Helper()
	n.must(from.MustNotReach(n.ctx, to))
}

// passing is what a world has for a while only: the port of an agent's own socket, and what packets have taught in the last
// seconds.
var passing = regexp.MustCompile(`(?m) echo port=\d+$|^origin .*\n`)

// world is all that Tombolo has in OVN and eBPF of both clusters, as text.
func (n *tenant) world() string {
	n.Helper()
	var all string
	for _, cluster := range []string{"east", "west"} {
		rows, err := fleet.OwnRows(n.ctx, cluster)
		n.must(err)
		all += "== " + cluster + "\n" + rows
		c, err := fleet.Lab.Cluster(cluster)
		n.must(err)
		for _, node := range c.Nodes { // one that is no gateway has maps only for pods
			maps, err := fleet.Maps(n.ctx, cluster, node.Name)
			if err != nil && !strings.Contains(err.Error(), "find maps") {
				n.Fatal(err)
			}
			all += "== " + cluster + " " + node.Name + "\n" + maps
		}
	}
	return passing.ReplaceAllString(all, "")
}
