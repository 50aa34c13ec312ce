// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// render writes a Result as text that a person can check.
func render(r Result) string {
	var b strings.Builder
	if r.Doubt != nil {
		fmt.Fprintf(&b, "doubt %s: %s\n", r.Doubt.Reason, r.Doubt.Message)
	}
	if m := r.Removal; m != nil {
		fmt.Fprintf(&b, "%s removal: of %d objects of %d; %d of %d routers, %d of %d ways, %d of %d gateways, %d of %d endpoints\n", either(m.Held, "held", "confirmed"),
			m.Objects, m.TotalObjects, m.Routers, m.TotalRouters, m.Ways, m.TotalWays, m.Gateways, m.TotalGateways, m.Endpoints, m.TotalEndpoints)
		for _, e := range m.Examples {
			fmt.Fprintf(&b, "  %s\n", e)
		}
	}
	for key, s := range inOrder(r.Pools) {
		fmt.Fprintf(&b, "pool %s: %d of %d\n", key, s.Allocated, s.Capacity)
		for _, a := range s.Allocations {
			fmt.Fprintf(&b, "  %s  %s%s\n", a.Value, a.Owner, either(a.Released, " released", ""))
		}
		renderConditions(&b, s.Conditions)
	}
	for key, s := range inOrder(r.Vpcs) {
		fmt.Fprintf(&b, "vpc %s: vni %d\n", key, s.VNI)
		if len(s.CIDRs) > 0 {
			fmt.Fprintf(&b, "  %s\n", strings.Join(s.CIDRs, " "))
		}
		for _, c := range s.Clusters {
			line := fmt.Sprintf("  %s: link %s", c.Name, cmp.Or(c.LinkCIDR, "none"))
			if len(c.Subnets) > 0 {
				line += ", subnets " + strings.Join(c.Subnets, " ")
			}
			fmt.Fprintf(&b, "%s, %s\n", line, either(c.Programmed, "programmed", c.Message))
		}
		renderConditions(&b, s.Conditions)
	}
	for key, s := range inOrder(r.Subnets) {
		fmt.Fprintf(&b, "subnet %s\n", key)
		for _, c := range s.Clusters {
			fmt.Fprintf(&b, "  %s: %s gateway %s\n", c.Name, c.CIDR, c.Gateway)
		}
		renderConditions(&b, s.Conditions)
	}
	for key, s := range inOrder(r.Peerings) {
		fmt.Fprintf(&b, "peering %s: %s\n", key, s.State)
		for _, c := range s.Clusters {
			fmt.Fprintf(&b, "  %s: %s, %s\n", c.Name, either(c.Programmed, "programmed", "not programmed"), either(c.Verified, "verified", c.Message))
		}
		renderConditions(&b, s.Conditions)
	}
	for key, o := range inOrder(r.Routers) {
		renderRouter(&b, key, &o.Spec)
	}
	for key, o := range inOrder(r.Gateways) {
		fmt.Fprintf(&b, "gateway %s: %s port %d, links %s\n", key, o.Spec.Encapsulation, o.Spec.Port, strings.Join(o.Spec.LinkCIDRs, " "))
		if o.Spec.Membership != spokev1alpha1.MembershipMember {
			fmt.Fprintf(&b, "  %s\n", strings.TrimSpace(string(o.Spec.Membership)+" "+strings.Join(o.Spec.AwaitedClusters, " ")))
		}
		if h := o.Spec.Hub; h.UID != "" {
			fmt.Fprintf(&b, "  hub %s epoch %d%s\n", h.UID, h.Epoch, either(h.RestoredEpoch > 0, fmt.Sprintf(", restored in %d", h.RestoredEpoch), ""))
		}
		if o.Spec.Encryption != "" {
			fmt.Fprintf(&b, "  encryption %s\n", o.Spec.Encryption)
		}
		for _, e := range o.Spec.Endpoints {
			fmt.Fprintf(&b, "  endpoint %d: %s %s\n", e.Index, e.Node, e.Address)
			if e.PublicKey != "" {
				fmt.Fprintf(&b, "    key %s port %d\n", e.PublicKey, e.WireGuardPort)
			}
		}
		for _, n := range o.Spec.Nodes {
			fmt.Fprintf(&b, "  node %s %s\n", n.Node, n.Address)
		}
		if len(o.Spec.ReleasedVpcs) > 0 {
			fmt.Fprintf(&b, "  asked about %s\n", strings.Join(o.Spec.ReleasedVpcs, " "))
		}
		for _, r := range o.Spec.Refused {
			fmt.Fprintf(&b, "  refused %s %s, %s: %s\n", r.Node, r.Address, r.Reason, r.Message)
		}
	}
	for _, d := range r.Deletions {
		fmt.Fprintf(&b, "delete %s %s: %s\n", d.Kind, d.Key, d.Because)
	}
	for _, o := range r.Released {
		fmt.Fprintf(&b, "release %s %s\n", o.Kind, o.Key)
	}
	return b.String()
}

func renderRouter(b *strings.Builder, key Key, s *spokev1alpha1.LocalRouterSpec) {
	fmt.Fprintf(b, "router %s: vni %d, link %s\n", key, s.Vpc.VNI, s.LinkCIDR)
	if len(s.Namespaces) > 0 {
		fmt.Fprintf(b, "  namespaces %s\n", strings.Join(s.Namespaces, " "))
	}
	for _, n := range s.Subnets {
		line := fmt.Sprintf("  subnet %s: %s gateway %s", n.Name, n.CIDR, n.Gateway)
		if len(n.ExcludeIPs) > 0 {
			line += " without " + strings.Join(n.ExcludeIPs, " ")
		}
		fmt.Fprintf(b, "%s%s\n", line, either(n.Default, " default", ""))
	}
	if len(s.Routes) > 0 {
		fmt.Fprintf(b, "  to gateways: %s\n", strings.Join(s.Routes, " "))
	}
	for _, r := range s.Remotes {
		fmt.Fprintf(b, "  %s/%s vni %d in %s: %s, probe %s\n", r.Vpc.Namespace, r.Vpc.Name, r.Vpc.VNI, r.Cluster, strings.Join(r.Prefixes, " "), r.ProbeAddress)
	}
	for _, p := range s.Peers {
		fmt.Fprintf(b, "  %s/%s here, %s to %s: %s, probe %s\n", p.Vpc.Namespace, p.Vpc.Name, p.LocalConnectIP, p.RemoteConnectIP, strings.Join(p.Prefixes, " "), p.ProbeAddress)
	}
}

// renderConditions writes each condition with its reason, and with its message when it is not True.
func renderConditions(b *strings.Builder, conditions []metav1.Condition) {
	for _, c := range conditions {
		if c.Status == metav1.ConditionTrue {
			fmt.Fprintf(b, "  %s%s\n", c.Type, either(c.Reason == networkv1alpha1.ReasonNearlyExhausted, ", "+c.Reason+": "+c.Message, ""))
		} else {
			fmt.Fprintf(b, "  not %s, %s: %s\n", c.Type, c.Reason, c.Message)
		}
	}
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// inOrder goes through a map in order of its keys.
func inOrder[V any](m map[Key]V) func(yield func(Key, V) bool) {
	return func(yield func(Key, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
