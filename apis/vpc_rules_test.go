// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var vpcRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {namespace: default}
spec: {clusters: {names: [east]}, cidrs: [10.0.0.0/16]}`,
	rules: join(
		ovnNameRules("router"),
		labelRules("spec.clusters.names[0]", "spec: {clusters: {names: [%s]}}"),
		setRule("spec.clusters.names", "spec: {clusters: {names: %s}}", "east", "west"),
		sizeRules("spec.clusters.names", "spec: {clusters: {names: %s}}", 1024, "c%d"),
		cidrRules("spec.cidrs[0]", "spec: {cidrs: [%s]}"),
		setRule("spec.cidrs", "spec: {cidrs: %s}", "10.0.0.0/16", "10.1.0.0/16"),
		sizeRules("spec.cidrs", "spec: {cidrs: %s}", 16, "10.%d.0.0/16"),
		labelRules("spec.namespaces[0]", "spec: {namespaces: [%s]}"),
		setRule("spec.namespaces", "spec: {namespaces: %s}", "shop", "shop-test"),
		sizeRules("spec.namespaces", "spec: {namespaces: %s}", 256, "n%d"),
		labelRules("spec.peeringDecisions[0].namespace", "spec: {peeringDecisions: [{namespace: %s, name: p, decision: Accept}]}"),
		nameRules("spec.peeringDecisions[0].name", "spec: {peeringDecisions: [{namespace: bank, name: %s, decision: Accept}]}", 63),
		setRule("spec.peeringDecisions", "spec: {peeringDecisions: %s}",
			"{namespace: bank, name: p, decision: Accept}", "{namespace: mill, name: p, decision: Reject}"),
		sizeRules("spec.peeringDecisions", "spec: {peeringDecisions: %s}", 256, "{namespace: bank, name: p%d, decision: Accept}"),
		clusterStatusRules("programmed: true"),
		setRule("status.clusters[0].subnets", "status: {clusters: [{name: east, programmed: true, subnets: %s}]}", "10.0.0.0/24", "10.0.1.0/24"),
		conditionRules(),
		vpcCIDRRules,
		map[string]rule{
			"clusters are selected in one way": {
				reason: "Names and a selector together could mean either's union or intersection.",
				accept: `spec: {clusters: {names: null, selector: {matchLabels: {zone: west}}}}`,
				refuse: `spec: {clusters: {selector: {matchLabels: {zone: west}}}}`,
				says:   []string{"spec.clusters:", "set exactly one of names, selector and placement"},
			},
			"clusters are selected": {
				reason: "A Vpc of no cluster is most likely a mistake.",
				accept: `spec: {clusters: {names: null, placement: gold}}`,
				refuse: `spec: {clusters: {names: null}}`,
				says:   []string{"spec.clusters:", "set exactly one of names, selector and placement"},
			},
			"at least one cluster is named": {
				reason: "A Vpc of no cluster is most likely a mistake.",
				accept: `spec: {clusters: {names: [east]}}`,
				refuse: `spec: {clusters: {names: []}}`,
				says:   []string{"spec.clusters.names:", "at least 1 items"},
			},
			"placement is not longer than a name": {
				reason: "Nothing could have that name.",
				accept: `spec: {clusters: {names: null, placement: ` + long(253) + `}}`,
				refuse: `spec: {clusters: {names: null, placement: ` + long(254) + `}}`,
				says:   []string{"spec.clusters.placement:", "may not be more than 253"},
			},
			"at least one CIDR, or none said": {
				reason: "Unset means the sum of the Subnets; an empty list would mean nothing else.",
				accept: `spec: {cidrs: null}`,
				refuse: `spec: {cidrs: []}`,
				says:   []string{"spec.cidrs:", "at least 1 items"},
			},
			"decision is yes or no": {
				reason: "Silence is what leaves a peering pending.",
				accept: `spec: {peeringDecisions: [{namespace: bank, name: p, decision: Reject}]}`,
				refuse: `spec: {peeringDecisions: [{namespace: bank, name: p, decision: Maybe}]}`,
				says:   []string{"spec.peeringDecisions[0].decision:", `"Maybe"`, `"Accept", "Reject"`},
			},
		},
	),
}
