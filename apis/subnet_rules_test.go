// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

var subnetRules = kindRules{
	object: `
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {namespace: default}
spec: {vpc: shop, cidrBlock: 10.0.0.0/24}`,
	rules: join(
		ovnNameRules("switch"),
		nameRules("spec.vpc", "spec: {vpc: %s}", 63),
		labelRules("spec.cluster", "spec: {cluster: %s}"),
		cidrRules("spec.cidrBlock", "spec: {cidrBlock: %s}"),
		nameRules("spec.fromPool.name", "spec: {cidrBlock: null, fromPool: {name: %s}}", 253),
		boundRules("spec.fromPool.prefixLength", "spec: {cidrBlock: null, fromPool: {name: p, prefixLength: %d}}", 8, 29),
		setRule("spec.excludeIps", "spec: {excludeIps: %s}", "10.0.0.2", "10.0.0.3"),
		sizeRules("spec.excludeIps", "spec: {excludeIps: %s}", 64, "10.0.0.%d"),
		labelRules("spec.namespaces[0]", "spec: {namespaces: [%s]}"),
		setRule("spec.namespaces", "spec: {namespaces: %s}", "shop", "shop-test"),
		sizeRules("spec.namespaces", "spec: {namespaces: %s}", 256, "n%d"),
		clusterStatusRules("cidr: 10.0.0.0/24, gateway: 10.0.0.1"),
		conditionRules(),
		map[string]rule{
			"one source of the CIDR": {
				reason: "A CIDR is either written down or asked for.",
				accept: `spec: {cidrBlock: null, fromPool: {name: p}}`,
				refuse: `spec: {fromPool: {name: p}}`,
				says:   []string{"spec:", "set exactly one of cidrBlock and fromPool"},
			},
			"a source of the CIDR": {
				reason: "A CIDR is either written down or asked for.",
				accept: `spec: {cidrBlock: 10.0.1.0/24}`,
				refuse: `spec: {cidrBlock: null}`,
				says:   []string{"spec:", "set exactly one of cidrBlock and fromPool"},
			},
			"cidrBlock has room for a pod": {
				reason: "A /30 is full with its network, router and broadcast addresses and one pod.",
				accept: `spec: {cidrBlock: 10.0.0.8/29}`,
				refuse: `spec: {cidrBlock: 10.0.0.4/30}`,
				says:   []string{"spec:", "spec.cidrBlock '10.0.0.4/30' is too small for a router and a pod: use a /29 or larger"},
			},
			"vpc stays": {
				reason: "Its pods would change their tenant's network under way.",
				update: true,
				accept: `spec: {default: true}`,
				refuse: `spec: {vpc: bank}`,
				says:   []string{"spec.vpc can't be changed: make another Subnet"},
			},
			"cidrBlock stays": {
				reason: "Its pods have addresses in it.",
				update: true,
				accept: `spec: {excludeIps: [10.0.0.9]}`,
				refuse: `spec: {cidrBlock: 10.0.1.0/24}`,
				says:   []string{"spec.cidrBlock can't be changed: make another Subnet"},
			},
			"cidrBlock is not given up for a pool's": {
				reason: "Its pods have addresses in it.",
				update: true,
				accept: `spec: {gateway: 10.0.0.254}`,
				refuse: `spec: {cidrBlock: null, fromPool: {name: p}}`,
				says:   []string{"spec.cidrBlock can't be changed: make another Subnet"},
			},
			"gateway goes with cidrBlock": {
				reason: "Nobody knows an address of a CIDR that is not there yet.",
				accept: `spec: {gateway: 10.0.0.254}`,
				refuse: `spec: {cidrBlock: null, fromPool: {name: p}, gateway: 10.0.0.254}`,
				says:   []string{"spec.gateway goes with spec.cidrBlock: a CIDR from a pool takes its first address as gateway"},
			},
			"gateway is in cidrBlock": {
				reason: "Pods reach it without a route.",
				accept: `spec: {gateway: 10.0.0.1}`,
				refuse: `spec: {gateway: 10.0.1.1}`,
				says:   []string{"spec:", "spec.gateway '10.0.1.1' is not in spec.cidrBlock '10.0.0.0/24': use an address of it"},
			},
			"gateway is an address": {
				reason: "RFC 6943: four numbers, no other spelling.",
				accept: `spec: {gateway: 10.0.0.200}`,
				refuse: `spec: {gateway: 10.0.0}`,
				says:   []string{"spec.gateway:", "'10.0.0' is not an IPv4 address: write four numbers such as 10.0.0.1"},
			},
			"gateway is IPv4": {
				reason: "IPv6 is refused by name, so that nobody takes it for a typing mistake.",
				accept: `spec: {gateway: 10.0.0.2}`,
				refuse: `spec: {gateway: "fd00::1"}`,
				says:   []string{"spec.gateway:", "'fd00::1' is an IPv6 address, which is not supported yet: use an IPv4 address such as 10.0.0.1"},
			},
			"gateway is not endless": {
				reason: "The bound keeps the cost of the rules in the apiserver's budget.",
				accept: `spec: {cidrBlock: 100.100.100.0/24, gateway: 100.100.100.100}`,
				refuse: `spec: {gateway: ` + long(40) + `}`,
				says:   []string{"spec.gateway:", "may not be more than 39"},
			},
			"excludeIps are addresses or ranges": {
				reason: "OVN's exclude_ips knows these two.",
				accept: `spec: {excludeIps: [10.0.0.2..10.0.0.9]}`,
				refuse: `spec: {excludeIps: [10.0.0.2-10.0.0.9]}`,
				says:   []string{"spec.excludeIps[0]:", "'10.0.0.2-10.0.0.9' is not an IPv4 address or range: write 10.0.0.2 or 10.0.0.2..10.0.0.9"},
			},
			"excludeIps are no prefixes": {
				reason: "OVN's exclude_ips knows addresses and ranges only.",
				accept: `spec: {excludeIps: [10.0.0.7]}`,
				refuse: `spec: {excludeIps: [10.0.0.0/28]}`,
				says:   []string{"spec.excludeIps[0]:", "'10.0.0.0/28' is not an IPv4 address or range: write 10.0.0.2 or 10.0.0.2..10.0.0.9"},
			},
			"excludeIps have two ends": {
				reason: "A third end has no meaning.",
				accept: `spec: {excludeIps: [10.0.0.2..10.0.0.3]}`,
				refuse: `spec: {excludeIps: [10.0.0.2..10.0.0.3..10.0.0.4]}`,
				says:   []string{"spec.excludeIps[0]:", "is not an IPv4 address or range"},
			},
			"excludeIps are not endless": {
				reason: "The bound is the longest range.",
				accept: `spec: {excludeIps: [100.100.100.100..100.100.100.110]}`,
				refuse: `spec: {excludeIps: [` + long(33) + `]}`,
				says:   []string{"spec.excludeIps[0]:", "may not be more than 32"},
			},
		},
	),
}
