// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var peeringRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: VpcPeering
metadata: {namespace: default}
spec: {vpc: shop, peerVpc: {namespace: bank, name: vault}}`,
	rules: join(
		ovnNameRules("router port"),
		nameRules("spec.vpc", "spec: {vpc: %s}", 63),
		nameRules("spec.peerVpc.name", "spec: {peerVpc: {name: %s}}", 63),
		labelRules("spec.peerVpc.namespace", "spec: {peerVpc: {namespace: %s}}"),
		clusterStatusRules("programmed: true, verified: true"),
		conditionRules(),
		map[string]rule{
			"the ends stay": {
				reason: "Another end is another agreement between tenants.",
				update: true,
				accept: `metadata: {labels: {team: till}}`,
				refuse: `spec: {peerVpc: {name: till}}`,
				says:   []string{"spec can't be changed: delete the VpcPeering and make another"},
			},
			"state is one of six": {
				reason: "Scripts and people wait for these words.",
				accept: `status: {state: PendingAcceptance}`,
				refuse: `status: {state: Broken}`,
				says:   []string{"status.state:", `"Broken"`, `"PendingAcceptance", "Provisioning", "Active", "Rejected", "Failed", "Deleting"`},
			},
		},
	),
}
