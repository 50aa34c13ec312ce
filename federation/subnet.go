// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"net/netip"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

type subnetNode struct {
	tracked[*networkv1alpha1.Subnet]
	vpcKey Key
	// vpc is nil when there is no such Vpc.
	vpc     *vpcNode
	view    cell[subnetView]
	verdict cell[subnetVerdict]
	status  cell[networkv1alpha1.SubnetStatus]
	shelved *networkv1alpha1.SubnetStatus
}

// read takes from a new object which Vpc it belongs to.
func (n *subnetNode) read() { n.vpcKey = joinKey(n.obj.Namespace, n.obj.Spec.Vpc) }

// subnetView is what a Subnet says, read once against its Vpc.
type subnetView struct {
	node            *subnetNode
	namespace, name string
	uid             string
	generation      int64
	deleting        bool
	// needs has an entry for each cluster that the subnet should be in, with the owner's name in ledgers.
	needs []linkNeed
	// prefix and gateway of a subnet with a cidrBlock.
	prefix  netip.Prefix
	gateway netip.Addr
	// request of a subnet from a pool.
	request *networkv1alpha1.PoolRequest
	exclude []string
	// isDefault and namespaces are handed on to the clusters.
	isDefault  bool
	namespaces []string
	// settled are the clusters in which the hub had accepted the subnet before, and its CIDR there.
	settled []networkv1alpha1.SubnetCluster
	refused *refusal
}

// settledIn is true when the hub had accepted the subnet with this prefix in the cluster.
func (v *subnetView) settledIn(cluster string, p netip.Prefix) bool {
	return slices.ContainsFunc(v.settled, func(c networkv1alpha1.SubnetCluster) bool {
		return string(c.Name) == cluster && c.CIDR == p.String()
	})
}

// reservedRanges are the clusters' own pod, service and node ranges, as they report them. They keep new subnets out of that cluster, and
// nothing else: a subnet that is there stays, whatever the cluster says later.
type reservedRanges struct {
	byCluster map[string]ipam.Set
}

// readSubnet reads the spec of a Subnet. a is the verdict on its Vpc, nil when there is none.
func readSubnet(n *subnetNode, a *admission, links *linkRanges) *subnetView {
	o := n.obj
	v := &subnetView{
		node: n, namespace: o.Namespace, name: o.Name, uid: string(o.UID), generation: o.Generation,
		deleting: o.DeletionTimestamp != nil, request: o.Spec.FromPool, isDefault: o.Spec.Default,
	}
	if slices.ContainsFunc(o.Status.Conditions, accepted) {
		v.settled = o.Status.Clusters
	}
	for _, name := range o.Spec.Namespaces {
		v.namespaces = append(v.namespaces, string(name))
	}
	slices.Sort(v.namespaces)
	v.refused = v.read(&o.Spec, a, links)
	return v
}

func (v *subnetView) read(spec *networkv1alpha1.SubnetSpec, a *admission, links *linkRanges) *refusal {
	switch {
	case v.deleting:
		return refuse(networkv1alpha1.ReasonDeleting, "the Subnet is being deleted")
	case a == nil:
		return refuse(networkv1alpha1.ReasonVpcNotFound, "spec.vpc %q does not exist in namespace %q: make it or name another", spec.Vpc, v.namespace)
	case !a.usable:
		return refuse(networkv1alpha1.ReasonVpcNotAccepted, "Vpc %s is not accepted: %s", a.key(), a.refused.message)
	case (spec.CIDRBlock == "") == (spec.FromPool == nil):
		return refuse(networkv1alpha1.ReasonInvalid, "set exactly one of spec.cidrBlock and spec.fromPool")
	}
	if refused := v.chooseClusters(spec, a); refused != nil {
		return refused
	}
	if spec.FromPool == nil {
		if refused := v.readBlock(spec, a, links); refused != nil {
			return refused
		}
	}
	return v.readExcluded(spec.ExcludeIPs)
}

// chooseClusters finds the clusters that the subnet should be in.
func (v *subnetView) chooseClusters(spec *networkv1alpha1.SubnetSpec, a *admission) *refusal {
	clusters := a.selection.usable
	cluster := string(spec.Cluster)
	if cluster == "" && spec.FromPool == nil {
		cluster = v.onlyCluster(a)
		if cluster == "" {
			return refuse(networkv1alpha1.ReasonAmbiguousCluster, "spec.cidrBlock %s can't be in %d clusters at once (%s): set spec.cluster, or take spec.fromPool", spec.CIDRBlock, len(a.selection.spans), strings.Join(a.selection.spans, ", "))
		}
	}
	if cluster != "" {
		if !slices.Contains(clusters, cluster) {
			return refuse(networkv1alpha1.ReasonClusterNotFound, "spec.cluster %q is not a usable cluster of Vpc %s, which has %s: choose one of these or let the Vpc select it", cluster, a.key(), strings.Join(clusters, ", "))
		}
		clusters = []string{cluster}
	}
	base := "Subnet/" + string(joinKey(v.namespace, v.name)) + "/"
	for _, c := range clusters {
		v.needs = append(v.needs, linkNeed{cluster: c, owner: owner{name: base + c, uid: v.uid}})
	}
	return nil
}

// onlyCluster is where a cidrBlock without a cluster goes: where it is already, or else the one cluster of its Vpc.
// So it never moves because its Vpc grows.
func (v *subnetView) onlyCluster(a *admission) string {
	if len(v.settled) == 1 && slices.Contains(a.selection.usable, string(v.settled[0].Name)) {
		return string(v.settled[0].Name)
	}
	if len(a.selection.spans) == 1 {
		return a.selection.spans[0]
	}
	return ""
}

// readBlock reads spec.cidrBlock and spec.gateway.
func (v *subnetView) readBlock(spec *networkv1alpha1.SubnetSpec, a *admission, links *linkRanges) *refusal {
	var refused *refusal
	if v.prefix, refused = readCIDR("spec.cidrBlock", string(spec.CIDRBlock)); refused != nil {
		return refused
	}
	if v.prefix.Bits() > smallestSubnetBits {
		return refuse(networkv1alpha1.ReasonInvalid, "spec.cidrBlock %s has no room for pods: use a /%d or larger", v.prefix, smallestSubnetBits)
	}
	v.gateway = ipam.Nth(v.prefix, 1)
	if spec.Gateway != "" {
		gateway, err := ipam.ParseAddr(string(spec.Gateway))
		if err != nil {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.gateway: %v", err)
		}
		if !isHost(v.prefix, gateway) {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.gateway %s is not a host address of %s: use one from %s to %s", gateway, v.prefix, ipam.Nth(v.prefix, 1), ipam.Last(v.prefix).Prev())
		}
		v.gateway = gateway
	}
	return keepsClear("spec.cidrBlock", v.prefix, a, links)
}

// isHost is true for the addresses of a prefix that a host may have: not the network's own and not broadcast.
func isHost(p netip.Prefix, a netip.Addr) bool {
	return p.Contains(a) && a != p.Addr() && a != ipam.Last(p)
}

// readExcluded reads spec.excludeIps. Of a subnet from a pool only the form is known beforehand.
func (v *subnetView) readExcluded(ranges []networkv1alpha1.IPRange) *refusal {
	for _, r := range ranges {
		first, last, err := ipam.ParseRange(string(r))
		if err != nil {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.excludeIps: %v", err)
		}
		if v.prefix.IsValid() && !(v.prefix.Contains(first) && v.prefix.Contains(last)) {
			return refuse(networkv1alpha1.ReasonInvalid, "spec.excludeIps %q is not inside %s: remove it", r, v.prefix)
		}
		v.exclude = append(v.exclude, string(r))
	}
	slices.Sort(v.exclude)
	return nil
}

// keepsClear holds a prefix against its Vpc's CIDRs and the link ranges.
func keepsClear(field string, p netip.Prefix, a *admission, links *linkRanges) *refusal {
	if len(a.cidrs) > 0 && !slices.ContainsFunc(a.cidrs, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) }) {
		return refuse(networkv1alpha1.ReasonOutsideVpc, "%s %s is outside %s %s of Vpc %s: choose a CIDR inside, or widen the Vpc", field, p, a.field, strings.Join(texts(a.cidrs), ", "), a.key())
	}
	if q, holder, found := links.overlap(p); found {
		return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s %s overlaps %s of %s: choose another CIDR", field, p, q, holder)
	}
	return nil
}

// keepsOut holds a prefix against what a cluster has reserved for itself.
func (r *reservedRanges) keepsOut(field string, p netip.Prefix, cluster string) *refusal {
	if q, found := r.byCluster[cluster].Overlap(p); found {
		return refuse(networkv1alpha1.ReasonOverlappingCIDRs, "%s %s overlaps %s, which cluster %q uses for its own pods, services or nodes: choose another CIDR", field, p, q, cluster)
	}
	return nil
}
