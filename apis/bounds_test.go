// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const since = `lastTransitionTime: "2026-11-20T20:00:00Z"`

// gatewayBounds are those of what a cluster may say of its gateways.
func gatewayBounds() map[string]rule {
	tunnel := "{cluster: west, node: n%d, reachable: true, lossPermille: 0, " + since + "}"
	return join(
		sizeRules("status.endpoints", "status: {endpoints: %s}", spokev1alpha1.MaxGateways, "{node: n%[1]d, address: 192.0.2.1}"),
		sizeRules("status.gateways", "status: {gateways: %s}", spokev1alpha1.MaxGateways, "{node: n%d}"),
		sizeRules("status.reservedCIDRs", "status: {reservedCIDRs: %s}", spokev1alpha1.MaxReservedCIDRs, "c%d"),
		sizeRules("status.tunnels", "status: {tunnels: %s}", spokev1alpha1.MaxTunnels, tunnel),
		sizeRules("status.tunnels[0].unreachable",
			"status: {tunnels: [{cluster: west, node: n1, reachable: false, lossPermille: 0, "+since+", unreachable: %s}]}", 64, "w%d"),
		sizeRules("status.conditions", "status: {conditions: %s}", 16, "{type: t%d, status: \"True\", reason: R, message: m, "+since+"}"),
		sizeRules("status.gateways[0].conditions", "status: {gateways: [{node: n1, conditions: %s}]}", 16, "{type: t%d, status: \"True\", reason: R, message: m, "+since+"}"),
		lengthRule("status.endpoints[0].node", "status: {endpoints: [{node: %q, address: 192.0.2.1}]}", 253),
		lengthRule("status.endpoints[0].address", "status: {endpoints: [{node: n1, address: %q}]}", 64),
		lengthRule("status.nodes[0].node", "status: {nodes: [{node: %q, address: 192.0.2.1}]}", 253),
		lengthRule("status.nodes[0].address", "status: {nodes: [{node: n1, address: %q}]}", 64),
		lengthRule("spec.nodes[0].node", "spec: {nodes: [{node: %q, address: 192.0.2.1}]}", 253),
		lengthRule("spec.nodes[0].address", "spec: {nodes: [{node: n1, address: %q}]}", 64),
		lengthRule("status.gateways[0].node", "status: {gateways: [{node: %q}]}", 253),
		lengthRule("status.gateways[0].podNodes[0]", "status: {gateways: [{node: n1, podNodes: [%q]}]}", 253),
		lengthRule("status.reservedCIDRs[0]", "status: {reservedCIDRs: [%q]}", 64),
		lengthRule("status.tunnels[0].node", "status: {tunnels: [{cluster: west, node: %q, reachable: true, lossPermille: 0, "+since+"}]}", 253),
		lengthRule("status.tunnels[0].cluster", "status: {tunnels: [{cluster: %q, node: n1, reachable: true, lossPermille: 0, "+since+"}]}", 63),
		lengthRule("status.tunnels[0].unreachable[0]", "status: {tunnels: [{cluster: west, node: n1, reachable: false, lossPermille: 0, "+since+", unreachable: [%q]}]}", 253),
	)
}

// routerBounds are those of what a cluster may say of a router.
func routerBounds() map[string]rule {
	return join(
		sizeRules("status.probes", "status: {probes: %s}", spokev1alpha1.MaxProbes, "{node: n%d, vpc: shop/b, cluster: west, reachable: true, "+since+"}"),
		sizeRules("status.gateways", "status: {gateways: %s}", spokev1alpha1.MaxGateways, "{node: n%d, observedGeneration: 1}"),
		sizeRules("status.conditions", "status: {conditions: %s}", 16, "{type: t%d, status: \"True\", reason: R, message: m, "+since+"}"),
		lengthRule("status.gateways[0].node", "status: {gateways: [{node: %q, observedGeneration: 1}]}", 253),
		lengthRule("status.gateways[0].message", "status: {gateways: [{node: n1, observedGeneration: 1, message: %q}]}", 4096),
		lengthRule("status.probes[0].node", "status: {probes: [{node: %q, vpc: shop/b, cluster: west, reachable: true, "+since+"}]}", 253),
		lengthRule("status.probes[0].vpc", "status: {probes: [{node: n1, vpc: %q, cluster: west, reachable: true, "+since+"}]}", 320),
		lengthRule("status.probes[0].cluster", "status: {probes: [{node: n1, vpc: shop/b, cluster: %q, reachable: true, "+since+"}]}", 63),
	)
}

// TestSpokesListsAreBounded: no list and no text that a cluster may write is without an end.
func TestSpokesListsAreBounded(t *testing.T) {
	for _, crd := range definitions(t) {
		if crd.Spec.Group != "spoke.tombolo.io" {
			continue
		}
		for _, version := range crd.Spec.Versions {
			for _, path := range unbounded("status", version.Schema.OpenAPIV3Schema.Properties["status"]) {
				t.Errorf("%s %s has no bound: give it MaxItems or MaxLength, and bounds.go the same", crd.Spec.Names.Kind, path)
			}
		}
	}
}

func unbounded(path string, s apiextensionsv1.JSONSchemaProps) []string {
	var found []string
	if s.Type == "array" && s.MaxItems == nil || s.Type == "string" && s.MaxLength == nil && s.Pattern == "" && s.Format == "" && len(s.Enum) == 0 {
		found = append(found, path)
	}
	for name, field := range s.Properties {
		found = append(found, unbounded(path+"."+name, field)...)
	}
	if s.Items != nil {
		found = append(found, unbounded(path+"[]", *s.Items.Schema)...)
	}
	return found
}

// TestBound: what an agent has bounded the API server takes.
func TestBound(t *testing.T) {
	long := strings.Repeat("ü", 20000)
	gateway := spokev1alpha1.InterconnectGatewayStatus{Conditions: []metav1.Condition{{Type: "Programmed", Status: "False", Reason: "R", Message: long, LastTransitionTime: metav1.Now()}}}
	router := spokev1alpha1.LocalRouterStatus{Conditions: gateway.Conditions}
	for i := range 5000 {
		node := fmt.Sprintf("n%04d", i)
		gateway.Endpoints = append(gateway.Endpoints, spokev1alpha1.ReportedEndpoint{Node: node, Address: "192.0.2.1"})
		gateway.Gateways = append(gateway.Gateways, spokev1alpha1.GatewayNode{Node: node})
		gateway.ReservedCIDRs = append(gateway.ReservedCIDRs, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
		gateway.Tunnels = append(gateway.Tunnels, spokev1alpha1.Tunnel{Cluster: "west", Node: node, LastTransitionTime: metav1.Now()})
		router.Gateways = append(router.Gateways, spokev1alpha1.RouterGateway{Node: node, Message: long})
		router.Probes = append(router.Probes, spokev1alpha1.ProbeResult{Node: node, Vpc: "shop/a", Cluster: "west", LastTransitionTime: metav1.Now()})
		gateway.Tunnels[0].Unreachable = append(gateway.Tunnels[0].Unreachable, node)
	}
	last := &gateway.Tunnels[4999]
	last.Unreachable = []string{"w1"}
	gateway.Bound()
	router.Bound()
	if !slices.ContainsFunc(gateway.Tunnels, func(t spokev1alpha1.Tunnel) bool { return t.Node == "n4999" }) {
		t.Error("the way on which nobody answers was left away, and those that are well were kept")
	}
	for object, status := range map[string]any{gatewayRules.object: &gateway, routerRules.object: &router} {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(status)
		if err != nil {
			t.Fatal(err)
		}
		base := parse(t, object)
		base.SetGenerateName("bound-")
		base.SetName("")
		if err := create(t, base); err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedMap(base.Object, fields, "status"); err != nil {
			t.Fatal(err)
		}
		if err := hub.client.Status().Update(t.Context(), base); err != nil {
			t.Errorf("%s: %v", base.GetKind(), err)
		}
	}
}
