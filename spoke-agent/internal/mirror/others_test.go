// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
)

// testOthersAreAsked: what the hub asks another cluster, and what that answers, makes this one neither write nor work.
func (f *fleet) testOthersAreAsked(t *testing.T) {
	const questions = 20
	west, copy := hubGateway("west"), &spokev1alpha1.InterconnectGateway{}
	if err := f.spoke.Client.Get(t.Context(), localKey("west"), copy); err != nil {
		t.Fatal(err)
	}
	before, worked := copy.ResourceVersion, reconciles(t)
	for i := range questions {
		if err := f.hub.Client.Get(t.Context(), client.ObjectKeyFromObject(west), west); err != nil {
			t.Fatal(err)
		}
		was := west.DeepCopy()
		west.Spec.ReleasedVpcs = []string{fmt.Sprintf("uid-%d", i)}
		if err := f.hub.Client.Patch(t.Context(), west, client.MergeFrom(was)); err != nil {
			t.Fatal(err)
		}
		was = west.DeepCopy()
		west.Status.Holds, west.Status.HoldsGeneration = &[]spokev1alpha1.Hold{}, west.Generation
		if err := f.hub.Client.Status().Patch(t.Context(), west, client.MergeFrom(was)); err != nil {
			t.Fatal(err)
		}
	}
	last := hubGateway("north")
	last.Namespace = "west" // it is passed over, but seen
	f.mustCreate(t, last)
	clustertest.Eventually(t, "the agent to have seen all of it", func(context.Context) error {
		if reconciles(t) == worked {
			return fmt.Errorf("%v reconciles", worked)
		}
		return nil
	})
	if worked := reconciles(t) - worked; worked >= questions {
		t.Errorf("%d questions to another cluster, and their answers, made the agent work %v times", questions, worked)
	}
	if err := f.spoke.Client.Get(t.Context(), localKey("west"), copy); err != nil || copy.ResourceVersion != before || len(copy.Spec.ReleasedVpcs) > 0 {
		t.Errorf("the copy was written: %+v, %v", copy.ObjectMeta, err)
	}

	was := west.DeepCopy()
	west.Spec.Endpoints = append(west.Spec.Endpoints, spokev1alpha1.GatewayEndpoint{Node: "w2", Address: "192.0.2.99", Index: 7})
	if err := f.hub.Client.Patch(t.Context(), west, client.MergeFrom(was)); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the copy to have the new gateway", func(ctx context.Context) error {
		if err := f.spoke.Client.Get(ctx, localKey("west"), copy); err != nil || len(copy.Spec.Endpoints) != len(west.Spec.Endpoints) {
			return fmt.Errorf("it has %v: %w", copy.Spec.Endpoints, err)
		}
		return nil
	})
}

// reconciles of gateways so far, in this process.
func reconciles(t *testing.T) (n float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "controller" && label.GetValue() == "mirror-gateways" {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// TestWithoutOthers: of the own InterconnectGateway everything is kept.
func TestWithoutOthers(t *testing.T) {
	full := func(cluster string) *spokev1alpha1.InterconnectGateway {
		g := hubGateway(cluster, "n1")
		g.Spec.ReleasedVpcs, g.Status.Holds = []string{"u"}, &[]spokev1alpha1.Hold{{VpcUID: "u"}}
		return g
	}
	for name, test := range map[string]struct {
		got, want *spokev1alpha1.InterconnectGateway
	}{
		"Own": {full("east"), full("east")}, "Other": {full("west"), hubGateway("west", "n1")},
	} {
		got, err := withoutOthers("east")(test.got)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got):\n%s%v", name, diff, err)
		}
	}
}

// TestTrustChanged: only another hub to believe makes the agent look at everything again.
func TestTrustChanged(t *testing.T) {
	own := func(trusted, label string) *spokev1alpha1.InterconnectGateway {
		g := hubGateway("east")
		g.Annotations, g.Labels = map[string]string{annotationTrustedHub: trusted}, map[string]string{"spoke.tombolo.io/own-cluster": label}
		return g
	}
	for name, test := range map[string]struct {
		was, is *spokev1alpha1.InterconnectGateway
		want    bool
	}{
		"Same": {own("a", "true"), own("a", "true"), false}, "Another": {own("a", "true"), own("b", "true"), true}, "OfAnother": {own("a", ""), own("b", ""), false},
	} {
		if got := trustChanged().Update(event.UpdateEvent{ObjectOld: test.was, ObjectNew: test.is}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
