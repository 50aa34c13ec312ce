// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestConditions makes the underlay of a gateway node too narrow, under traffic: an admin of the cluster and one of the fleet see where
// and why, and see it go.
func TestConditions(t *testing.T) {
	n := newTenant(t, "conditions")
	pod1, pod2 := n.peered()
	east, err := fleet.Lab.Cluster("east")
	n.must(err)
	mtu := func(bytes int) {
		_, err := netns.Exec(context.WithoutCancel(n.ctx), east.Nodes[0].NetNS, "ip", "link", "set", node.WANIf, "mtu", fmt.Sprint(bytes))
		n.must(err)
	}
	n.dataPath("Ready", "Every gateway node is as it should be.")
	flow := n.ping(pod1, pod2, 30*time.Second)
	mtu(1430) // pods have 1390, and 50 are added
	t.Cleanup(func() { mtu(1500) })
	n.dataPath("MTUTooSmall", "gateway node n1: MTUSufficient: "+node.WANIf+" has an MTU of 1430 bytes")
	mtu(1500)
	n.dataPath("Ready", "Every gateway node is as it should be.")
	n.lossless(flow, "underlay too narrow for large packets")
}

// dataPath waits until the own InterconnectGateway of east says so, in the cluster and on the hub.
func (n *tenant) dataPath(reason, message string) {
	n.Helper()
	for where, look := range map[string]struct {
		*story.Cluster
		key types.NamespacedName
	}{
		"east": {fleet.Spokes["east"], types.NamespacedName{Namespace: "tombolo-system", Name: "east"}},
		"hub":  {fleet.Hub, types.NamespacedName{Namespace: "east", Name: "east"}},
	} {
		n.must(story.Eventually(n.ctx, "DataPathReady on "+where+": "+reason, func(ctx context.Context) error {
			g := &spokev1alpha1.InterconnectGateway{}
			if err := look.Get(ctx, look.key, g); err != nil {
				return err
			}
			c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionDataPathReady)
			if c == nil || c.Reason != reason || !strings.HasPrefix(c.Message, message) {
				return fmt.Errorf("conditions are %+v", g.Status)
			}
			return nil
		}))
	}
}
