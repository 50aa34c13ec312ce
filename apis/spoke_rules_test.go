// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"fmt"
	"strings"
)

var gatewayRules = kindRules{
	object: `
apiVersion: spoke.tombolo.io/v1alpha1
kind: InterconnectGateway
metadata: {namespace: default}
spec: {cluster: east, encapsulation: VXLAN, port: 4789}`,
	rules: join(
		boundRules("spec.port", "spec: {port: %d}", 1, 65535),
		boundRules("spec.endpoints[0].wireGuardPort", "spec: {endpoints: [{node: n1, address: 192.0.2.1, index: 0, wireGuardPort: %d}]}", 1, 65535),
		boundRules("status.endpoints[0].wireGuardPort", "status: {endpoints: [{node: n1, address: 192.0.2.1, wireGuardPort: %d}]}", 1, 65535),
		publicKeyRule("spec.endpoints[0].publicKey", "spec: {endpoints: [{node: n1, address: 192.0.2.1, index: 0, publicKey: %s}]}"),
		publicKeyRule("status.endpoints[0].publicKey", "status: {endpoints: [{node: n1, address: 192.0.2.1, publicKey: %s}]}"),
		setRule("spec.linkCIDRs", "spec: {linkCIDRs: %s}", "100.64.0.0/16", "100.65.0.0/16"),
		setRule("spec.awaitedClusters", "spec: {awaitedClusters: %s}", "west", "south"),
		setRule("spec.endpoints", "spec: {endpoints: %s}",
			"{node: n1, address: 192.0.2.1, index: 0}", "{node: n2, address: 192.0.2.2, index: 1}"),
		setRule("status.endpoints", "status: {endpoints: %s}", "{node: n1, address: 192.0.2.1}", "{node: n2, address: 192.0.2.2}"),
		setRule("status.gateways", "status: {gateways: %s}", "{node: n1}", "{node: n2}"),
		setRule("status.gateways[0].podNodes", "status: {gateways: [{node: n1, podNodes: %s}]}", "n2", "n3"),
		sizeRules("status.gateways[0].podNodes", "status: {gateways: [{node: n1, podNodes: %s}]}", 8, "n%d"),
		conditionRulesAt("status.gateways[0].conditions", "status: {gateways: [{node: n1, conditions: %s}]}"),
		setRule("spec.nodes", "spec: {nodes: %s}", "{node: n1, address: 192.0.2.1}", "{node: n2, address: 192.0.2.2}"),
		setRule("status.nodes", "status: {nodes: %s}", "{node: n1, address: 192.0.2.1}", "{node: n2, address: 192.0.2.2}"),
		sizeRules("spec.nodes", "spec: {nodes: %s}", 1024, "{node: n%[1]d, address: 192.0.2.1}"),
		sizeRules("status.nodes", "status: {nodes: %s}", 1024, "{node: n%[1]d, address: 192.0.2.1}"),
		setRule("spec.releasedVpcs", "spec: {releasedVpcs: %s}", "u", "v"),
		sizeRules("spec.releasedVpcs", "spec: {releasedVpcs: %s}", 1024, "u%d"),
		sizeRules("status.holds", "status: {holds: %s}", 4096, "{vpcUID: u%d, vni: 100, linkCIDR: 100.64.0.0/29}"),
		lengthRule("status.holds[0].vpcUID", "status: {holds: [{vpcUID: %s, vni: 100, linkCIDR: 100.64.0.0/29}]}", 64),
		lengthRule("status.holds[0].linkCIDR", "status: {holds: [{vpcUID: u, vni: 100, linkCIDR: %s}]}", 43),
		sizeRules("spec.refused", "spec: {refused: %s}", 16, "{node: n%[1]d, address: 192.0.2.1, reason: AddressTaken, message: m}"),
		boundRules("status.tunnels[0].lossPermille", "status: {tunnels: [{cluster: west, node: n1, reachable: true, lossPermille: %d, lastTransitionTime: \"2026-11-20T20:00:00Z\"}]}", 0, 1000),
		setRule("status.tunnels", "status: {tunnels: %s}",
			`{cluster: west, node: n1, reachable: true, lossPermille: 0, lastTransitionTime: "2026-11-20T20:00:00Z"}`,
			`{cluster: west, node: n2, reachable: true, lossPermille: 0, lastTransitionTime: "2026-11-20T20:00:00Z"}`),
		setRule("status.tunnels[0].unreachable",
			"status: {tunnels: [{cluster: west, node: n1, reachable: false, lossPermille: 0, lastTransitionTime: \"2026-11-20T20:00:00Z\", unreachable: %s}]}", "w1", "w2"),
		setRule("status.reservedCIDRs", "status: {reservedCIDRs: %s}", "10.96.0.0/12", "10.244.0.0/16"),
		conditionRules(),
		gatewayBounds(),
		lengthRule("spec.hubVersion", "spec: {hubVersion: %q}", 64),
		lengthRule("spec.hub.uid", "spec: {hub: {uid: %q}}", 64),
		lengthRule("status.agentVersion", "status: {agentVersion: %q}", 64),
		lengthRule("status.holdsVersion", "status: {holdsVersion: %q}", 64),
		lengthRule("status.clusterID", "status: {clusterID: %q}", 64),
		map[string]rule{
			"membership is Member, Draining or Drained": {
				reason: "An agent must not take an unknown word for leave to remove what it has made.",
				accept: `spec: {membership: Draining}`,
				refuse: `spec: {membership: Gone}`,
				says:   []string{"spec.membership:", `"Gone"`, `"Member", "Draining", "Drained"`},
			},
			"encapsulation is VXLAN": {
				reason: "The data path knows no other (RFC 7348).",
				accept: `spec: {encapsulation: VXLAN}`,
				refuse: `spec: {encapsulation: GRE}`,
				says:   []string{"spec.encapsulation:", `"GRE"`, `"VXLAN"`},
			},
			"encryption is None or WireGuard": {
				reason: "A word that agents don't know must not mean that nothing is encrypted.",
				accept: `spec: {encryption: WireGuard}`,
				refuse: `spec: {encryption: IPsec}`,
				says:   []string{"spec.encryption:", `"IPsec"`, `"None", "WireGuard"`},
			},
			"index is not negative": {
				reason: "The link address of a gateway node is 2+index.",
				accept: `spec: {endpoints: [{node: n1, address: 192.0.2.1, index: 0}]}`,
				refuse: `spec: {endpoints: [{node: n1, address: 192.0.2.1, index: -1}]}`,
				says:   []string{"spec.endpoints[0].index:", "-1", "greater than or equal to 0"},
			},
		},
	),
}

// publicKeyRule: %s in the object stands for the key.
func publicKeyRule(field, object string) map[string]rule {
	const key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
	return map[string]rule{
		field + " is a WireGuard key": {
			reason: "32 octets in base64 leave two bits of the last letter zero.",
			accept: fmt.Sprintf(object, key),
			refuse: fmt.Sprintf(object, strings.Replace(key, "w=", "x=", 1)),
			says:   []string{field + ":", "should match"},
		},
	}
}

var routerRules = kindRules{
	object: `
apiVersion: spoke.tombolo.io/v1alpha1
kind: LocalRouter
metadata: {namespace: default}
spec: {vpc: {namespace: default, name: shop, vni: 100}, vpcUID: u, linkCIDR: 100.64.0.0/29}`,
	rules: join(
		setRule("spec.namespaces", "spec: {namespaces: %s}", "shop", "shop-test"),
		setRule("spec.subnets", "spec: {subnets: %s}",
			"{name: a, cidr: 10.0.0.0/24, gateway: 10.0.0.1}", "{name: b, cidr: 10.0.1.0/24, gateway: 10.0.1.1}"),
		setRule("spec.subnets[0].excludeIPs", "spec: {subnets: [{name: a, cidr: 10.0.0.0/24, gateway: 10.0.0.1, excludeIPs: %s}]}", "10.0.0.2", "10.0.0.3"),
		setRule("spec.subnets[0].namespaces", "spec: {subnets: [{name: a, cidr: 10.0.0.0/24, gateway: 10.0.0.1, namespaces: %s}]}", "shop", "shop-test"),
		setRule("spec.routes", "spec: {routes: %s}", "10.1.0.0/16", "10.2.0.0/16"),
		setRule("spec.remotes[0].prefixes",
			"spec: {remotes: [{vpc: {namespace: default, name: shop, vni: 100}, cluster: west, prefixes: %s}]}", "10.1.0.0/24", "10.1.1.0/24"),
		setRule("spec.peers[0].prefixes",
			"spec: {peers: [{vpc: {namespace: default, name: bank, vni: 101}, localConnectIP: 100.64.9.1/30, remoteConnectIP: 100.64.9.2/30, prefixes: %s}]}",
			"10.2.0.0/24", "10.2.1.0/24"),
		setRule("status.gateways", "status: {gateways: %s}", "{node: n1, observedGeneration: 1}", "{node: n2, observedGeneration: 1}"),
		conditionRules(),
		routerBounds(),
	),
}
