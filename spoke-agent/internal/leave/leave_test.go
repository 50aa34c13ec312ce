// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

func configMap(installation string, data ...string) *corev1.ConfigMap {
	cm := New(types.UID(installation), "", false)
	for i := 0; i < len(data); i += 2 {
		cm.Data[data[i]] = data[i+1]
	}
	return cm
}

func TestRead(t *testing.T) {
	going := configMap("a")
	going.DeletionTimestamp = new(metav1.Now())
	cases := map[string]struct {
		reason string
		cm     *corev1.ConfigMap
		own    types.UID
		want   State
	}{
		"None":     {reason: "everyday life"},
		"Going":    {reason: "nobody leaves any more", cm: going, own: "a"},
		"Ours":     {reason: "this installation leaves", cm: configMap("a"), own: "a", want: State{Leaving: true}},
		"Other":    {reason: "another one left: this one was installed later", cm: configMap("a"), own: "b", want: State{Outdated: true}},
		"Late":     {reason: "the DaemonSet is gone, and this is the last pod: it must not set everything up again", cm: configMap("a"), want: State{Leaving: true}},
		"Nameless": {reason: "agents that no DaemonSet runs leave all together", cm: configMap(""), own: "b", want: State{Leaving: true}},
		"Done": {
			reason: "who is done says so", own: "a",
			cm:   configMap("a", "clean", "done", "node.n2", "done", "node.n1", "done", "problem.n3", "no", "cluster", "done", "controller", "done", "force", "done", "detached", "u"),
			want: State{Leaving: true, Clean: true, Cluster: true, Controller: true, Force: true, Detached: "u", Nodes: []string{"n1", "n2"}, Problems: map[string]string{"n3": "no"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Read(tc.cm, tc.own)
			if len(got.Problems) == 0 {
				got.Problems = nil
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func node(name string, marked bool, ready corev1.ConditionStatus) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if marked {
		n.Annotations = map[string]string{local.AnnotationAgent: "0.2.0"}
	}
	if ready != "" {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
	}
	return n
}

func TestAwaited(t *testing.T) {
	nodes := []corev1.Node{
		node("clean", true, "True"), node("busy", true, "True"), node("dead", true, "Unknown"), node("foreign", false, "True"), node("foreign-dead", false, "False"), node("bare", true, ""),
	}
	for name, tc := range map[string]struct {
		reason  string
		force   bool
		awaited []string
	}{
		"Everybody": {reason: "a node that is not Ready is waited for: it may come back", awaited: []string{"busy", "dead", "bare"}},
		"Force":     {reason: "unless somebody says otherwise", force: true, awaited: []string{"busy", "bare"}},
	} {
		t.Run(name, func(t *testing.T) {
			awaited, notReady := State{Nodes: []string{"clean"}, Force: tc.force}.Awaited(nodes)
			if !slices.Equal(awaited, tc.awaited) || !slices.Equal(notReady, []string{"dead"}) {
				t.Errorf("awaited %v, not ready %v: %s", awaited, notReady, tc.reason)
			}
		})
	}
}

func gatewayThat(is spokev1alpha1.Membership, detached bool) *spokev1alpha1.InterconnectGateway {
	return &spokev1alpha1.InterconnectGateway{Spec: spokev1alpha1.InterconnectGatewaySpec{Membership: is, Detached: detached}}
}

func TestNext(t *testing.T) {
	drained := gatewayThat(spokev1alpha1.MembershipDrained, false)
	for name, tc := range map[string]struct {
		reason string
		state  State
		own    *spokev1alpha1.InterconnectGateway
		want   step
	}{
		"Everyday":    {reason: "nothing is to be done", own: gatewayThat("", false), want: stay},
		"Outdated":    {reason: "the former installation's word is taken away", state: State{Outdated: true}, own: drained, want: forget},
		"Asked":       {reason: "flows go on until the hub has drained the cluster", state: State{Leaving: true}, own: gatewayThat(spokev1alpha1.MembershipDraining, false), want: stay},
		"NoHub":       {reason: "a hub that was never heard of has not drained it", state: State{Leaving: true}, want: stay},
		"Drained":     {reason: "then what is there can go", state: State{Leaving: true}, own: drained, want: clean},
		"Once":        {reason: "that is said once", state: State{Leaving: true, Clean: true}, own: drained, want: stay},
		"Reinstalled": {reason: "a hub that has not heard yet that the cluster is back does not send it away", own: drained, want: stay},
		"Detached":    {reason: "the hub lets go of the cluster, and nobody here has asked", own: gatewayThat(spokev1alpha1.MembershipDrained, true), want: begin},
		"Detaching":   {reason: "not before it is drained", own: gatewayThat(spokev1alpha1.MembershipDraining, true), want: stay},
		"Force":       {reason: "somebody does not wait", state: State{Leaving: true, Force: true}, want: clean},
		"ForceEnd":    {reason: "nor for the hub to hear of it", state: State{Leaving: true, Force: true, Clean: true, Cluster: true}, want: end},
	} {
		t.Run(name, func(t *testing.T) {
			if got := next(tc.state, tc.own); got != tc.want {
				t.Errorf("%q, want %q: %s", got, tc.want, tc.reason)
			}
		})
	}
}

// TestWords holds what the Job says against what it waits for: a cause and a cure.
func TestWords(t *testing.T) {
	nodes := []corev1.Node{node("n1", true, "True"), node("n2", true, "False")}
	awaiting := gatewayThat(spokev1alpha1.MembershipDraining, false)
	awaiting.Spec.AwaitedClusters = []string{"north"}
	for name, tc := range map[string]struct {
		view      view
		now, late []string
	}{
		"Unheard":  {view: view{}, now: []string{"hub to hear"}, late: []string{"log of deployment/tombolo-agent-controller", force, "delete configmap"}},
		"Awaiting": {view: view{own: awaiting}, now: []string{"north"}, late: []string{"clusters north", "--gone", force, "delete configmap"}},
		"Nodes": {
			view: view{state: State{Clean: true, Problems: map[string]string{"n1": "ovs is away"}}, nodes: nodes[:1]},
			now:  []string{"waiting for nodes n1", "node n1: ovs is away"}, late: []string{"nodes n1", "ovs is away", "log of daemonset"},
		},
		"NotReady":   {view: view{state: State{Clean: true}, nodes: nodes}, now: []string{"n1, n2", "not Ready: n2"}, late: []string{"nodes n2 are not Ready", force}},
		"Controller": {view: view{state: State{Clean: true}}, now: []string{"OVN"}, late: []string{"northbound"}},
		"Hub":        {view: view{state: State{Clean: true, Cluster: true}}, now: []string{"tell the hub"}, late: []string{force}},
	} {
		t.Run(name, func(t *testing.T) {
			j := Job{Timeout: time.Minute}
			for _, said := range []struct {
				text string
				want []string
			}{{j.progress(tc.view, nil), tc.now}, {j.late(tc.view, t.Context().Err()).Error(), tc.late}} {
				for _, want := range said.want {
					if !strings.Contains(said.text, want) {
						t.Errorf("%q does not say %q", said.text, want)
					}
				}
			}
		})
	}
}
