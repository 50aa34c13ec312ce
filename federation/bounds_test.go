// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"testing"
	"time"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// TestStatusAtTheBound: a cluster that reports as much as the API lets it costs the planner little, and gets no more than its share.
func TestStatusAtTheBound(t *testing.T) {
	o := &spokev1alpha1.InterconnectGateway{}
	for i := range spokev1alpha1.MaxNodes {
		node := fmt.Sprintf("n%d", i)
		address := fmt.Sprintf("198.18.%d.%d", i/256, i%256)
		if i < spokev1alpha1.MaxGateways {
			o.Status.Endpoints = append(o.Status.Endpoints, spokev1alpha1.ReportedEndpoint{Node: node, Address: address})
		}
		o.Status.Nodes = append(o.Status.Nodes, spokev1alpha1.ClusterNode{Node: node, Address: address})
		o.Spec.Nodes = append(o.Spec.Nodes, spokev1alpha1.ClusterNode{Node: node, Address: address})
	}
	for i := range spokev1alpha1.MaxReservedCIDRs {
		o.Status.ReservedCIDRs = append(o.Status.ReservedCIDRs, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	var probes []spokev1alpha1.ProbeResult
	for i := range spokev1alpha1.MaxProbes {
		probes = append(probes, spokev1alpha1.ProbeResult{Node: "n1", Vpc: fmt.Sprintf("shop/v%d", i), Cluster: "west"})
	}
	cluster := Cluster{Name: "east", Accepted: true, Labels: map[string]string{networkv1alpha1.LabelNodeToNode: "true"}}
	o.Name, o.Namespace = "east", "east"

	start := time.Now()
	result := Plan(Snapshot{Clusters: []Cluster{cluster}, Gateways: []*spokev1alpha1.InterconnectGateway{o}})
	reached := readProbes(probes)
	took := time.Since(start)
	g := result.Gateways["east/east"]
	if g == nil || len(g.Spec.Nodes) != spokev1alpha1.MaxNodes || len(g.Spec.Refused) > maxRefused || len(reached) != spokev1alpha1.MaxProbes {
		t.Fatalf("the plan is %+v, %d reached", g, len(reached))
	}
	if took > 2*time.Second { // milliseconds, unless something is quadratic
		t.Errorf("the plan took %s", took)
	}
}
