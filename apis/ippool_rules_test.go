// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var ipPoolRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: IPPool
spec: {purpose: Vpc, cidrs: [10.0.0.0/8]}`,
	rules: join(
		cidrRules("spec.cidrs[0]", "spec: {cidrs: [%s]}"),
		setRule("spec.cidrs", "spec: {cidrs: %s}", "10.0.0.0/16", "10.1.0.0/16"),
		sizeRules("spec.cidrs", "spec: {cidrs: %s}", 64, "10.%d.0.0/16"),
		boundRules("spec.prefixLengths.min", "spec: {prefixLengths: {min: %d, default: 30, max: 30}}", 8, 30),
		boundRules("spec.prefixLengths.default", "spec: {prefixLengths: {min: 8, default: %d, max: 30}}", 8, 30),
		boundRules("spec.prefixLengths.max", "spec: {prefixLengths: {min: 8, default: 8, max: %d}}", 8, 30),
		boundRules("spec.vnis.first", "spec: {purpose: VNI, cidrs: null, vnis: {first: %d, last: 16777215}}", 1, 1<<24-1),
		boundRules("spec.vnis.last", "spec: {purpose: VNI, cidrs: null, vnis: {first: 1, last: %d}}", 1, 1<<24-1),
		conditionRules(),
		poolRequestRules,
		map[string]rule{
			"purpose is one of five": {
				reason: "The hub takes addresses for one purpose from pools of that purpose only.",
				accept: `spec: {purpose: Link}`,
				refuse: `spec: {purpose: Pod}`,
				says:   []string{`spec.purpose:`, `"Pod"`, `"Vpc", "Link", "VNI", "External", "ServiceVIP"`},
			},
			"purpose VNI has numbers": {
				reason: "A pool of numbers can't hand out addresses.",
				accept: `spec: {purpose: VNI, cidrs: null, vnis: {first: 100, last: 200}}`,
				refuse: `spec: {purpose: VNI}`,
				says:   []string{"a pool of purpose VNI takes spec.vnis and no spec.cidrs"},
			},
			"purpose Vpc has no numbers": {
				reason: "A pool of addresses can't hand out VNIs.",
				accept: `spec: {purpose: Vpc}`,
				refuse: `spec: {vnis: {first: 100, last: 200}}`,
				says:   []string{"every other purpose takes spec.cidrs and no spec.vnis"},
			},
			"purpose VNI has no prefix lengths": {
				reason: "A field that does nothing hides a mistake.",
				accept: `spec: {prefixLengths: {min: 16, default: 24, max: 28}}`,
				refuse: `spec: {purpose: VNI, cidrs: null, vnis: {first: 1, last: 2}, prefixLengths: {min: 16, default: 24, max: 28}}`,
				says:   []string{"spec.prefixLengths has no meaning for purpose VNI: remove it"},
			},
			"purpose stays": {
				reason: "What was handed out for one purpose can't serve another.",
				update: true,
				accept: `spec: {cidrs: [10.0.0.0/8, 172.16.0.0/12]}`,
				refuse: `spec: {purpose: Link}`,
				says:   []string{"spec.purpose can't be changed: make another IPPool"},
			},
			"at least one CIDR": {
				reason: "An empty pool hands out nothing.",
				accept: `spec: {cidrs: [10.0.0.0/8]}`,
				refuse: `spec: {cidrs: []}`,
				says:   []string{"spec.cidrs:", "at least 1 items"},
			},
			"prefix lengths are in order": {
				reason: "A default out of bounds could never be handed out.",
				accept: `spec: {prefixLengths: {min: 8, default: 24, max: 30}}`,
				refuse: `spec: {prefixLengths: {min: 16, default: 29, max: 28}}`,
				says:   []string{"spec.prefixLengths:", "min <= default <= max"},
			},
			"VNIs are in order": {
				reason: "A range that ends before it begins is empty.",
				accept: `spec: {purpose: VNI, cidrs: null, vnis: {first: 7, last: 7}}`,
				refuse: `spec: {purpose: VNI, cidrs: null, vnis: {first: 8, last: 7}}`,
				says:   []string{"spec.vnis:", "vnis.first must not be larger than vnis.last"},
			},
		},
	),
}
