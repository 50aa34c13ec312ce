// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// TestAddOnLeaves takes the cluster with the add-on out of the fleet, once by the add-on and once by its ManagedCluster: OCM runs the Job of
// the chart and takes everything away when that is done, and a peering inside the other cluster loses no packet. Each time it comes back.
func TestAddOnLeaves(t *testing.T) {
	n := newTenant(t, "addon-leave")
	_, pod2 := n.peered()
	n.vpc("vpc-3", "west", "192.168.0.0/24")
	n.peer("two-three", "vpc-2", "vpc-3")
	pod3 := n.pod("west", "pod-3", "vpc-3")
	n.verified("two-three")
	if had := n.installation(); len(had) < 30 {
		t.Fatalf("the test does not see what is installed: %q", had)
	}
	n.leaveAndReturn("leave-addon", pod2, pod3, "pod-4", func() {})
	n.leaveAndReturn("detach-addon", pod2, pod3, "pod-5", func() { n.must(fleet.Lab.Rejoin(n.ctx, addonCluster)) })
}

// leaveAndReturn follows the manual for one occasion, and lets the cluster in again.
func (n *tenant) leaveAndReturn(occasion string, from, to *story.Pod, again string, rejoin func()) {
	n.Helper()
	flow := n.ping(from, to, 40*time.Second)
	memberships := n.memberships(addonCluster)
	begin := time.Now()
	n.must(fleet.Lab.Manual(n.ctx, addonCluster, occasion))
	n.Logf("%s: %s is out after %s", occasion, addonCluster, time.Since(begin).Round(100*time.Millisecond))
	want := []spokev1alpha1.Membership{spokev1alpha1.MembershipMember, spokev1alpha1.MembershipDraining, spokev1alpha1.MembershipDrained}
	if told := memberships(); !slices.Equal(told, want) {
		n.Errorf("%s: the hub told %s that it is %q, want %q", occasion, addonCluster, told, want)
	}
	if left := n.traces(addonCluster); left != "" {
		n.Errorf("%s: left in %s:\n%s", occasion, addonCluster, left)
	}
	n.must(story.Eventually(n.ctx, "OCM to take away what it has installed", func(context.Context) error {
		if left := n.installation(); len(left) > 0 {
			return fmt.Errorf("left are %q", left)
		}
		return nil
	}))
	n.Logf("%s: all is gone after %s", occasion, time.Since(begin).Round(100*time.Millisecond))

	n.must(fleet.Spokes[addonCluster].DeletePods(n.ctx, n.name)) // they have lost their interfaces
	begin = time.Now()
	rejoin()
	n.must(fleet.Lab.Manual(n.ctx, addonCluster, "addon"))
	n.must(fleet.Lab.AgentsReady(n.ctx))
	pod := n.pod(addonCluster, again, "vpc-1")
	n.verified("one-two")
	n.reach(pod, from, 62)
	n.lossless(flow, "another cluster leaves and comes back: "+occasion)
	n.Logf("%s: %s is back after %s", occasion, addonCluster, time.Since(begin).Round(100*time.Millisecond))
}

// memberships collects what the hub tells a cluster, until the function that it gives is called.
func (n *tenant) memberships(cluster string) func() []spokev1alpha1.Membership {
	n.Helper()
	config, err := fleet.Lab.Hub.REST()
	n.must(err)
	hub, err := client.NewWithWatch(config, client.Options{Scheme: fleet.Hub.Scheme()})
	n.must(err)
	w, err := hub.Watch(n.ctx, &spokev1alpha1.InterconnectGatewayList{}, client.InNamespace(cluster))
	n.must(err)
	told := make(chan []spokev1alpha1.Membership, 1)
	go func() {
		var all []spokev1alpha1.Membership
		for event := range w.ResultChan() {
			if gateway, is := event.Object.(*spokev1alpha1.InterconnectGateway); is {
				all = append(all, cmp.Or(gateway.Spec.Membership, spokev1alpha1.MembershipMember))
			}
		}
		told <- slices.Compact(all)
	}()
	return func() []spokev1alpha1.Membership {
		w.Stop()
		return <-told
	}
}

// installation is what OCM has in the cluster of the agent's chart, and the chart of its own: workloads, Jobs, pods and the identity. CRDs stay.
func (n *tenant) installation() []string {
	n.Helper()
	objects, err := charts.Render(charts.SpokeAgent, map[string]any{"clusterName": addonCluster})
	n.must(err)
	secret := &unstructured.Unstructured{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	secret.SetNamespace(charts.Namespace)
	secret.SetName("tombolo-hub-kubeconfig")
	var there []string
	spoke := fleet.Spokes[addonCluster]
	for _, o := range append(objects, secret) {
		if o.GetKind() == "CustomResourceDefinition" {
			continue
		}
		err := spoke.Get(n.ctx, client.ObjectKeyFromObject(o), o)
		if !apierrors.IsNotFound(err) {
			there = append(there, o.GetKind()+" "+o.GetName())
			n.must(err)
		}
	}
	for _, kind := range []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("PodList"), {Group: "batch", Version: "v1", Kind: "JobList"}} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind)
		n.must(spoke.List(n.ctx, list, client.InNamespace(charts.Namespace)))
		for _, o := range list.Items {
			there = append(there, o.GetKind()+" "+o.GetName())
		}
	}
	return there
}
