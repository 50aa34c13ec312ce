// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

func conditions(available string) []metav1.Condition {
	return []metav1.Condition{{Type: networkv1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Accepted"}, {Type: networkv1alpha1.ConditionAvailable, Status: metav1.ConditionTrue, Reason: available, Message: "m"}}
}

func newFacts() *facts.Facts {
	gateway := func(name string, holds *[]spokev1alpha1.Hold, reserved ...string) spokev1alpha1.InterconnectGateway {
		return spokev1alpha1.InterconnectGateway{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: name}, Status: spokev1alpha1.InterconnectGatewayStatus{Holds: holds, ReservedCIDRs: reserved}}
	}
	return &facts.Facts{
		Hub: true,
		Pools: []networkv1alpha1.IPPool{
			{
				ObjectMeta: metav1.ObjectMeta{Name: "links"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink},
				Status: networkv1alpha1.IPPoolStatus{CIDRs: []string{"100.64.0.0/26"}, Capacity: 64, Allocated: 32, Conditions: conditions("Available"), Allocations: []networkv1alpha1.Allocation{
					{Value: "100.64.0.0/29", Owner: "Vpc/shop/old/east", UID: "u", Released: true},
					{Value: "100.64.0.8/29", Owner: "Vpc/shop/old/west", UID: "u", Released: true},
					{Value: "100.64.0.16/29", Owner: "Vpc/shop/old/north", UID: "u", Released: true},
					{Value: "100.64.0.40/29", Owner: "Vpc/shop/new/east", UID: "v"},
				}},
			},
			{
				ObjectMeta: metav1.ObjectMeta{Name: "vnis"}, Spec: networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 1, Last: 10}},
				Status: networkv1alpha1.IPPoolStatus{Capacity: 10, Allocated: 9, Conditions: conditions(networkv1alpha1.ReasonNearlyExhausted), Allocations: []networkv1alpha1.Allocation{{Value: "7", Owner: "Vpc/shop/old", UID: "u", Released: true}}},
			},
		},
		Vpcs: []networkv1alpha1.Vpc{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "new"}, Status: networkv1alpha1.VpcStatus{CIDRs: []string{"10.96.0.0/16"}, Clusters: []networkv1alpha1.VpcCluster{{Name: "east"}}}}},
		Gateways: []spokev1alpha1.InterconnectGateway{
			gateway("east", &[]spokev1alpha1.Hold{{VpcUID: "u"}}, "10.96.0.0/12"), gateway("west", nil, "10.96.0.0/12"), gateway("south", &[]spokev1alpha1.Hold{}),
		},
	}
}

func TestReport(t *testing.T) {
	r, err := Of(newFacts(), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []Pool{
		{Name: "links", Purpose: "Link", Ranges: []string{"100.64.0.0/26"}, Capacity: 64, Allocated: 32, Released: 3, LargestFree: "100.64.0.48/28", FragmentedPercent: 50, State: terminal.Well},
		{Name: "vnis", Purpose: "VNI", Ranges: []string{"1-10"}, Capacity: 10, Allocated: 9, Released: 1, State: terminal.Waiting, Reason: "NearlyExhausted", Message: "m"},
	}
	if diff := cmp.Diff(want, r.Pools); diff != "" {
		t.Errorf("pools (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Overlap{{Of: "Vpc shop/new", CIDR: "10.96.0.0/16", Cluster: "east", ClusterCIDR: "10.96.0.0/12"}}, r.Overlaps); diff != "" {
		t.Errorf("overlaps: west does not have the Vpc (-want +got):\n%s", diff)
	}
	if r.State != terminal.Waiting {
		t.Errorf("state is %s", r.State)
	}
	if _, err := Of(newFacts(), "none"); err == nil || !strings.Contains(err.Error(), `IPPool "none" does not exist`) {
		t.Errorf("got %v", err)
	}
}

func TestAwaited(t *testing.T) {
	r, err := Of(newFacts(), "links")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range r.Holdings {
		got = append(got, h.Value+" "+strings.Join(h.Awaited, "; "))
	}
	want := []string{
		"100.64.0.0/29 east still has it", "100.64.0.8/29 west has never said what it holds: upgrade its agent",
		"100.64.0.16/29 north is not known: if it is gone for good, kubectl tombolo leave north --gone", "100.64.0.40/29 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if r, err = Of(newFacts(), "vnis"); err != nil || len(r.Holdings) != 1 || len(r.Holdings[0].Awaited) != 3 {
		t.Errorf("a VNI waits for all links of its Vpc: %+v, %v", r.Holdings, err)
	}
	f := newFacts()
	f.Gateways[0].Status.HoldsVersion, f.Gateways[0].Status.AgentVersion = "0.3.0", "0.2.0"
	rolledBack := "east does not say what it holds since its agent was rolled back from 0.3.0 to 0.2.0: upgrade it again"
	if r, err := Of(f, "links"); err != nil || !cmp.Equal(r.Holdings[0].Awaited, []string{rolledBack}) {
		t.Errorf("nobody knows whether it still has it: %+v, %v", r.Holdings, err)
	}
	var text bytes.Buffer
	w := terminal.NewWriter(&text)
	r.Print(w)
	for _, part := range []string{"NearlyExhausted", "Vpc/shop/old", "released", "9/10"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the tables lack %q:\n%s", part, text.String())
		}
	}
}
