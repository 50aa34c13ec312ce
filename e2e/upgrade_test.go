// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// earlier is the version that is upgraded from, and gone back to.
const earlier = "0.1.0"

// TestUpgrade goes back to an earlier release, the hub first, and forth again, the hub last: the order that is not recommended, so that agents
// are newer than their hub all the while. No packet is lost, nothing is written to OVN.
//
// The earlier release is this tree by another version, as there is no release before the charts. TOMBOLO_PREVIOUS names a commit to take
// instead: its programs, its charts.
func TestUpgrade(t *testing.T) {
	n := newTenant(t, "upgrade")
	pod1, pod2 := n.peered()
	current, err := fleet.Lab.Current(n.ctx)
	n.must(err)
	old, err := fleet.Lab.Release(n.ctx, earlier, os.Getenv("TOMBOLO_PREVIOUS"))
	n.must(err)
	t.Cleanup(func() { // whatever fails, the other tests have the version that they are of
		for _, cluster := range []string{"hub", "west"} {
			n.check(fleet.Lab.Upgrade(context.WithoutCancel(n.ctx), cluster))
		}
	})
	before, world := n.written(), n.world()
	for _, step := range []struct {
		cluster    string
		to         lab.Release
		hub, agent string
		supported  metav1.ConditionStatus
	}{
		{"hub", old, old.Version, current.Version, metav1.ConditionFalse},
		{"west", old, old.Version, old.Version, metav1.ConditionTrue},
		{"west", current, old.Version, current.Version, metav1.ConditionFalse},
		{"hub", current, current.Version, current.Version, metav1.ConditionTrue},
	} {
		flow := n.ping(pod1, pod2, 15*time.Second)
		n.must(fleet.Lab.UpgradeTo(n.ctx, step.cluster, step.to))
		n.versions("west", step.hub, step.agent, step.supported)
		n.versions("east", step.hub, step.hub, metav1.ConditionTrue) // it has the add-on, and follows the hub
		n.lossless(flow, fmt.Sprintf("%s of version %s", step.cluster, step.to.Version))
	}
	n.must(fleet.Lab.AgentsReady(n.ctx))
	n.notChanged(before, "an upgrade")
	if after := n.world(); after != world {
		t.Errorf("OVN or eBPF changed by an upgrade:\n%s\nwas\n%s", after, world)
	}
}

// versions waits until hub and cluster have told each other theirs, and whether they go together.
func (n *tenant) versions(cluster, hub, agent string, supported metav1.ConditionStatus) {
	n.Helper()
	n.must(story.Eventually(n.ctx, "versions of hub and "+cluster, func(ctx context.Context) error {
		var g spokev1alpha1.InterconnectGateway
		if err := fleet.Hub.Get(ctx, client.ObjectKey{Namespace: cluster, Name: cluster}, &g); err != nil {
			return err
		}
		c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionVersionSupported)
		if g.Spec.HubVersion != hub || g.Status.AgentVersion != agent || c == nil || c.Status != supported {
			return fmt.Errorf("hub %q, agent %q, condition %+v", g.Spec.HubVersion, g.Status.AgentVersion, c)
		}
		return nil
	}))
}
