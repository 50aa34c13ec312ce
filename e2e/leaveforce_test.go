// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/charts"
)

// TestLeaveByForce takes a cluster out whose hub does not answer: helm uninstalls nothing before somebody says that it is meant.
func TestLeaveByForce(t *testing.T) {
	n := newTenant(t, "force")
	pod1, pod2 := n.peered()
	n.must(fleet.Lab.Upgrade(n.ctx, "west", "leave.timeoutSeconds=10"))
	n.scaleHub(n.ctx, 0)
	t.Cleanup(func() { n.scaleHub(context.WithoutCancel(n.ctx), 2) })
	had := n.traces("west")
	begin := time.Now()
	if err := fleet.Lab.Manual(n.ctx, "west", "leave"); err == nil || !strings.Contains(err.Error(), "job tombolo-leave failed") {
		t.Fatalf("without a hub the cluster left, or failed by something else: %v", err)
	}
	t.Logf("helm failed after %s", time.Since(begin).Round(100*time.Millisecond))
	if has := n.traces("west"); has != had {
		t.Errorf("something was taken down in west before it was drained:\n%s\nwas\n%s", has, had)
	}
	begin = time.Now()
	n.must(fleet.Lab.Manual(n.ctx, "west", "force"))
	t.Logf("west has left by force after %s", time.Since(begin).Round(100*time.Millisecond))
	if left := n.traces("west"); left != "" {
		t.Errorf("left in west:\n%s", left)
	}

	n.scaleHub(n.ctx, 2)
	n.must(fleet.Lab.Manual(n.ctx, "west", "return"))
	n.must(pod2.Delete(n.ctx)) // it has lost its interface
	n.must(fleet.Lab.AgentsReady(n.ctx))
	pod2 = n.pod("west", "pod-3", "vpc-2")
	n.verified("one-two")
	n.reach(pod1, pod2, 62)
}

// scaleHub gives the hub so many pods.
func (n *tenant) scaleHub(ctx context.Context, replicas int32) {
	n.Helper()
	hub := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: charts.Namespace, Name: charts.Hub}}
	n.check(fleet.Hub.Get(ctx, client.ObjectKeyFromObject(hub), hub))
	hub.Spec.Replicas = &replicas
	n.check(fleet.Hub.Update(ctx, hub))
}
