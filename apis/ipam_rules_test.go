// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var ipAddressRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: IPAddress
metadata: {name: external.203-0-113-7}
spec: {address: 203.0.113.7, pool: public, owner: {kind: ElasticIP, namespace: shop, name: web, uid: u}}`,
	rules: join(
		nameRules("spec.pool", "spec: {pool: %s}", 253),
		nameRules("spec.owner.kind", "spec: {owner: {kind: %s}}", 63),
		nameRules("spec.owner.name", "spec: {owner: {name: %s}}", 253),
		nameRules("spec.owner.uid", "spec: {owner: {uid: %s}}", 64),
		lengthRule("spec.owner.namespace", "spec: {owner: {namespace: %q}}", 63),
		map[string]rule{
			"address is IPv4": {
				reason: "The name is the address with dashes.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: "2001:db8::1"}`,
				says:   []string{"spec.address:", "IPv6"},
			},
			"address is an address": {
				reason: "The name is the address with dashes.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: banana}`,
				says:   []string{"spec.address:", "'banana' is not an IPv4 address"},
			},
			"address is short": {
				reason: "The bound keeps the object small.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: ` + long(40) + `}`,
				says:   []string{"spec.address:", "Too long"},
			},
			"the name is the address": {
				reason: "Two objects for one address could be held by two.",
				accept: `metadata: {name: dmz.203-0-113-7}`,
				refuse: `metadata: {name: external.203-0-113-8}`,
				says:   []string{"metadata.name 'external.203-0-113-8' must be the routing domain, a dot, and spec.address with dashes, such as external.203-0-113-7"},
			},
			"the holder stays": {
				reason: "An address that changes hands under one name would be used by both for a while.",
				update: true,
				accept: `metadata: {name: one.203-0-113-7, labels: {a: b}}`,
				refuse: `{metadata: {name: two.203-0-113-7}, spec: {owner: {uid: v}}}`,
				says:   []string{"spec can't be changed: an address is given away by deleting its IPAddress"},
			},
		},
	),
}

var elasticIPRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: ElasticIP
metadata: {namespace: default}
spec: {pool: public}`,
	rules: join(
		nameRules("spec.pool", "spec: {pool: %s}", 253),
		lengthRule("status.usedBy", "status: {usedBy: %q}", 380),
		conditionRules(),
		map[string]rule{
			"address is IPv4": {
				reason: "The data path has no other yet.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: "2001:db8::1"}`,
				says:   []string{"spec.address:", "IPv6"},
			},
			"address is an address": {
				reason: "What is no address can't be had.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: 203.0.113.0/24}`,
				says:   []string{"spec.address:", "is not an IPv4 address"},
			},
			"address is short": {
				reason: "The bound keeps the object small.",
				accept: `spec: {address: 203.0.113.7}`,
				refuse: `spec: {address: ` + long(40) + `}`,
				says:   []string{"spec.address:", "Too long"},
			},
			"what is asked stays": {
				reason: "The address is the object's for as long as it exists.",
				update: true,
				accept: `metadata: {labels: {a: b}}`,
				refuse: `spec: {pool: other}`,
				says:   []string{"spec can't be changed: make another ElasticIP"},
			},
		},
	),
}

// poolRequestRules are those of pools that are nested, imported into, or routed.
var poolRequestRules = join(
	nameRules("spec.parent.name", "spec: {parent: {name: %s}}", 253),
	boundRules("spec.parent.prefixLength", "spec: {cidrs: null, parent: {name: big, prefixLength: %d}}", 8, 30),
	setRule("spec.exclude", "spec: {exclude: %s}", "10.0.0.1", "10.0.0.2..10.0.0.9"),
	sizeRules("spec.exclude", "spec: {exclude: %s}", 64, "10.0.0.%d"),
	setRule("spec.imports", "spec: {imports: %s}", "{value: 10.0.0.0/24, holder: legacy}", "{value: 10.0.1.0/24, holder: legacy}"),
	sizeRules("spec.imports", "spec: {imports: %s}", 256, "{value: 10.%d.0.0/24, holder: legacy}"),
	nameRules("spec.imports[0].holder", "spec: {imports: [{value: 10.0.0.0/24, holder: %s}]}", 63),
	labelRules("spec.routingDomain", "spec: {purpose: External, routingDomain: %s}"),
	boundRules("spec.warnPercent", "spec: {warnPercent: %d}", 1, 100),
	setRule("status.cidrs", "status: {cidrs: %s}", "10.0.0.0/16", "10.1.0.0/16"),
	map[string]rule{
		"an excluded range is one": {
			reason: "What can't be read would exclude nothing.",
			accept: `spec: {exclude: ["10.0.0.2..10.0.0.9"]}`,
			refuse: `spec: {exclude: ["10.0.0.0/24"]}`,
			says:   []string{"spec.exclude[0]:", "is not an IPv4 address or range"},
		},
		"an excluded range is short": {
			reason: "The bound keeps the object small.",
			accept: `spec: {exclude: [10.0.0.1]}`,
			refuse: `spec: {exclude: [` + long(33) + `]}`,
			says:   []string{"spec.exclude[0]:", "Too long"},
		},
		"a nested pool has ranges": {
			reason: "Ranges of its own and a prefix length to be cut could mean either.",
			accept: `spec: {cidrs: null, parent: {name: big, prefixLength: 16}}`,
			refuse: `spec: {parent: {name: big, prefixLength: 16}}`,
			says:   []string{"spec.cidrs, or spec.parent with a prefixLength"},
		},
		"numbers are not nested": {
			reason: "Only ranges of addresses lie inside each other.",
			accept: `spec: {parent: {name: big}}`,
			refuse: `spec: {purpose: VNI, cidrs: null, vnis: {first: 1, last: 2}, parent: {name: big}}`,
			says:   []string{"spec.parent has no meaning for purpose VNI: remove it"},
		},
		"the parent stays": {
			reason: "What was handed out of it lies in the old parent.",
			update: true,
			accept: `spec: {warnPercent: 50}`,
			refuse: `spec: {parent: {name: big}}`,
			says:   []string{"spec.parent can't be changed: make another IPPool"},
		},
		"numbers are imported, not excluded": {
			reason: "A field that does nothing hides a mistake.",
			accept: `spec: {purpose: VNI, cidrs: null, vnis: {first: 1, last: 9}, imports: [{value: "7", holder: fabric}]}`,
			refuse: `spec: {purpose: VNI, cidrs: null, vnis: {first: 1, last: 9}, exclude: [10.0.0.1]}`,
			says:   []string{"spec.exclude has no meaning for purpose VNI"},
		},
		"an import is what the pool has": {
			reason: "What can't be read would keep nothing.",
			accept: `spec: {imports: [{value: 10.0.0.0/24, holder: legacy}]}`,
			refuse: `spec: {imports: [{value: 10.0.0.1/24, holder: legacy}]}`,
			says:   []string{"spec.imports takes VNIs such as 4097 in a pool of purpose VNI, and canonical IPv4 CIDRs"},
		},
		"an import is not empty": {
			reason: "It says what is in use.",
			accept: `spec: {imports: [{value: 10.0.0.0/24, holder: legacy}]}`,
			refuse: `spec: {imports: [{value: "", holder: legacy}]}`,
			says:   []string{"spec.imports[0].value:", "at least 1 chars long"},
		},
		"an import is short": {
			reason: "The bound keeps the object small.",
			accept: `spec: {imports: [{value: 100.100.100.100/32, holder: legacy}]}`,
			refuse: `spec: {imports: [{value: ` + long(19) + `, holder: legacy}]}`,
			says:   []string{"spec.imports[0].value:", "Too long"},
		},
		"a holder is a word": {
			reason: "It is part of the owner's name in the ledger.",
			accept: `spec: {imports: [{value: 10.0.0.0/24, holder: Legacy_dc.2}]}`,
			refuse: `spec: {imports: [{value: 10.0.0.0/24, holder: a/b}]}`,
			says:   []string{"spec.imports[0].holder:", `"a/b"`},
		},
		"only single addresses have a routing domain": {
			reason: "A field that does nothing hides a mistake.",
			accept: `spec: {purpose: ServiceVIP, routingDomain: dmz}`,
			refuse: `spec: {routingDomain: dmz}`,
			says:   []string{"spec.routingDomain has a meaning for purposes External and ServiceVIP only: remove it"},
		},
		"the routing domain stays": {
			reason: "The names of addresses have it.",
			update: true,
			accept: `spec: {warnPercent: 50}`,
			refuse: `spec: {routingDomain: dmz}`,
			says:   []string{"spec.routingDomain can't be changed: make another IPPool"},
		},
	},
)

// vpcCIDRRules are those of a Vpc that takes its range from a pool.
var vpcCIDRRules = join(
	nameRules("spec.cidr.fromPool", "spec: {cidrs: null, cidr: {fromPool: %s}}", 253),
	boundRules("spec.cidr.prefixLength", "spec: {cidrs: null, cidr: {fromPool: tenants, prefixLength: %d}}", 8, 29),
	setRule("status.cidrs", "status: {cidrs: %s}", "10.0.0.0/16", "10.1.0.0/16"),
	map[string]rule{
		"a range is given or asked for": {
			reason: "Both together could mean either.",
			accept: `spec: {cidrs: null, cidr: {fromPool: tenants}}`,
			refuse: `spec: {cidr: {fromPool: tenants}}`,
			says:   []string{"set spec.cidr or spec.cidrs, not both"},
		},
		"the range stays": {
			reason: "Subnets lie in it.",
			update: true,
			accept: `spec: {cidrs: [10.0.0.0/16, 10.1.0.0/16]}`,
			refuse: `spec: {cidrs: null, cidr: {fromPool: tenants}}`,
			says:   []string{"spec.cidr can't be changed: make another Vpc"},
		},
	},
)
