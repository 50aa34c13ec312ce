// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var fleetRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: Fleet
metadata: {name: fleet}`,
	rules: join(
		boundRules("spec.maxRemovalPercent", "spec: {maxRemovalPercent: %d}", 1, 100),
		lengthRule("status.hubUID", "status: {hubUID: %q}", 64),
		setRule("status.formerHubUIDs", "status: {formerHubUIDs: %s}", "a", "b"),
		sizeRules("status.formerHubUIDs", "status: {formerHubUIDs: %s}", 16, "u%d"),
		sizeRules("status.pendingRemoval.examples", "status: {pendingRemoval: {digest: a, objects: 1, totalObjects: 1, routers: 1, totalRouters: 1, remotes: 1, totalRemotes: 1, gateways: 1, totalGateways: 1, endpoints: 1, totalEndpoints: 1, examples: %s}}", 10, "e%d"),
		conditionRules(),
		map[string]rule{
			"there is one": {
				reason: "Of two fleets nobody could say which one counts.",
				accept: `{}`,
				refuse: `metadata: {name: fleet-2}`,
				says:   []string{"there is one Fleet, and its name is fleet"},
			},
			"a digest is hexadecimal": {
				reason: "It is copied from the status; what is none is a mistake.",
				accept: `spec: {confirmedRemoval: 0123abcd}`,
				refuse: `spec: {confirmedRemoval: "yes"}`,
				says:   []string{"spec.confirmedRemoval:"},
			},
		},
	),
}
