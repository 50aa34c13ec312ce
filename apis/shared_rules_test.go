// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"fmt"
	"maps"
	"strings"
)

// The words of the API that several kinds share have their rules here. Each
// function takes where the word stands (field, as the apiserver names it) and a
// patch with %s in place of its value.

// join makes one map of rules. A name may stand once.
func join(all ...map[string]rule) map[string]rule {
	joined := map[string]rule{}
	for _, rules := range all {
		for name := range rules {
			if _, ok := joined[name]; ok {
				panic("two rules of one kind are called " + name)
			}
		}
		maps.Copy(joined, rules)
	}
	return joined
}

// cidrRules are those of type CIDR.
func cidrRules(field, at string) map[string]rule {
	put := func(value string) string { return fmt.Sprintf(at, value) }
	return map[string]rule{
		field + " is a CIDR": {
			reason: "RFC 4632 notation.",
			accept: put("192.168.0.0/24"),
			refuse: put("10.0.0.0"),
			says:   []string{field + ":", "'10.0.0.0' is not a CIDR: write address/length such as 10.0.0.0/16"},
		},
		field + " has at most 32 bits": {
			reason: "IPv4 has no more.",
			accept: put("192.168.0.0/16"),
			refuse: put("10.0.0.0/33"),
			says:   []string{field + ":", "'10.0.0.0/33' is not a CIDR: write address/length such as 10.0.0.0/16"},
		},
		field + " has no leading zeros": {
			reason: "010 is 8 to some parsers and 10 to others.",
			accept: put("10.0.0.0/16"),
			refuse: put("010.0.0.0/16"),
			says:   []string{field + ":", "'010.0.0.0/16' is not a CIDR"},
		},
		field + " is IPv4": {
			reason: "IPv6 is refused by name, so that nobody takes it for a typing mistake.",
			accept: put("172.16.0.0/12"),
			refuse: put(`"2001:db8::/32"`),
			says:   []string{field + ":", "'2001:db8::/32' is an IPv6 CIDR, which is not supported yet: use an IPv4 CIDR such as 10.0.0.0/16"},
		},
		field + " has no host bits": {
			reason: "One range has one spelling; the refusal tells it.",
			accept: put("10.1.0.0/16"),
			refuse: put("10.1.2.3/16"),
			says:   []string{field + ":", "'10.1.2.3/16' is not canonical: write '10.1.0.0/16'"},
		},
		field + " is not endless": {
			reason: "The bound keeps the cost of the rules in the apiserver's budget; IPv6's longest form fits, to be refused by name.",
			accept: put("100.100.100.0/24"),
			refuse: put(long(44)),
			says:   []string{field + ":", "may not be more than 43"},
		},
	}
}

// labelRules are those of names that are DNS labels (RFC 1123): clusters and namespaces.
func labelRules(field, at string) map[string]rule {
	put := func(value string) string { return fmt.Sprintf(at, value) }
	return join(nameRules(field, at, 63), map[string]rule{
		field + " is a DNS label": {
			reason: "Clusters and tenants are namespaces, and namespaces have no other names.",
			accept: put("east-1"),
			refuse: put("East.1"),
			says:   []string{field + ":", `"East.1"`, `'^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'`},
		},
	})
}

// nameRules are those of names of at most limit characters.
func nameRules(field, at string, limit int) map[string]rule {
	put := func(value string) string { return fmt.Sprintf(at, value) }
	return map[string]rule{
		field + " is not empty": {
			reason: "It names something; where it may be left out, it is left out.",
			accept: put("e"),
			refuse: put(`""`),
			says:   []string{field + ":", "at least 1 chars long"},
		},
		field + " is not longer than a name": {
			reason: "Nothing could have that name.",
			accept: put(long(limit)),
			refuse: put(long(limit + 1)),
			says:   []string{field + ":", fmt.Sprintf("may not be more than %d", limit)},
		},
	}
}

// setRule is that of lists whose entries differ: two values that do, and the refusal of the first one twice.
func setRule(field, at, first, second string) map[string]rule {
	return map[string]rule{
		field + " has each entry once": {
			reason: "A second mention says nothing, or something else.",
			accept: fmt.Sprintf(at, "["+first+", "+second+"]"),
			refuse: fmt.Sprintf(at, "["+first+", "+first+"]"),
			says:   []string{field + "[1]:", "Duplicate value"},
		},
	}
}

// sizeRules are those of lists of at most limit entries, each made of a number by entry.
func sizeRules(field, at string, limit int, entry string) map[string]rule {
	list := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf(entry, i)
		}
		return fmt.Sprintf(at, "["+strings.Join(all, ", ")+"]")
	}
	return map[string]rule{
		fmt.Sprintf("%s has at most %d entries", field, limit): {
			reason: "The bound keeps the object small, and the cost of the rules in the apiserver's budget.",
			accept: list(limit),
			refuse: list(limit + 1),
			says:   []string{field + ":", fmt.Sprint(limit + 1), fmt.Sprintf("at most %d items", limit)},
		},
	}
}

// lengthRule is that of a text of at most limit characters.
func lengthRule(field, at string, limit int) map[string]rule {
	return map[string]rule{
		fmt.Sprintf("%s has at most %d characters", field, limit): {
			reason: "The bound keeps the object small.",
			accept: fmt.Sprintf(at, strings.Repeat("x", limit)),
			refuse: fmt.Sprintf(at, strings.Repeat("x", limit+1)),
			says:   []string{field + ":", "Too long", fmt.Sprint(limit)},
		},
	}
}

// boundRules are those of numbers from low to high.
func boundRules(field, at string, low, high int) map[string]rule {
	put := func(value int) string { return fmt.Sprintf(at, value) }
	return map[string]rule{
		fmt.Sprintf("%s is at least %d", field, low): {
			reason: "What is less has no meaning; see the field's description.",
			accept: put(low),
			refuse: put(low - 1),
			says:   []string{field + ":", fmt.Sprint(low - 1), "should be greater than or equal to"},
		},
		fmt.Sprintf("%s is at most %d", field, high): {
			reason: "What is more has no meaning; see the field's description.",
			accept: put(high),
			refuse: put(high + 1),
			says:   []string{field + ":", "should be less than or equal to"},
		},
	}
}

// conditionRules are those of status.conditions.
func conditionRules() map[string]rule {
	return conditionRulesAt("status.conditions", "status: {conditions: %s}")
}

// conditionRulesAt are those of conditions elsewhere.
func conditionRulesAt(field, at string) map[string]rule {
	const condition = `{type: %s, status: "True", reason: Test, message: "", lastTransitionTime: "2026-01-01T00:00:00Z"}`
	return setRule(field, at, fmt.Sprintf(condition, "Accepted"), fmt.Sprintf(condition, "Programmed"))
}

// clusterStatusRules are those of status.clusters, whose entries have a name and other fields.
func clusterStatusRules(others string) map[string]rule {
	return join(
		setRule("status.clusters", "status: {clusters: %s}", "{name: east, "+others+"}", "{name: west, "+others+"}"),
		labelRules("status.clusters[0].name", "status: {clusters: [{name: %s, "+others+"}]}"),
	)
}

// ovnNameRules are those of metadata.name of what OVN knows by namespace and name.
func ovnNameRules(realized string) map[string]rule {
	const cure = "without colliding with another: use at most 63 of a-z, 0-9 and '-', no dot"
	return map[string]rule{
		"metadata.name has no dot": {
			reason: `OVN names join namespace and name with a dot: Vpc "a.b" and Subnet "c" would get the name of Vpc "a" and Subnet "b.c".`,
			accept: "metadata: {name: shop-front}",
			refuse: "metadata: {name: shop.front}",
			says:   []string{"metadata.name 'shop.front' can't name a " + realized + " in OVN " + cure},
		},
		"metadata.name is at most 63 characters": {
			reason: "The name is a label's value on the objects of the clusters.",
			accept: "metadata: {name: " + long(63) + "}",
			refuse: "metadata: {name: " + long(64) + "}",
			says:   []string{"metadata.name '" + long(64) + "' can't name a " + realized + " in OVN " + cure},
		},
	}
}
