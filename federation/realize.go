// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation/ipam"
)

type routerNode struct {
	tracked[*spokev1alpha1.LocalRouter]
	cluster string
	vpcKey  Key
	// desired is what this plan wants of it; nil when it wants nothing.
	desired  *spokev1alpha1.LocalRouter
	realized cell[realized]
	loss     cell[loss]
	// writer is the hub that last wrote obj.
	writer string
	// spec is that of obj, and stays the same pointer as long as it says the same.
	spec *spokev1alpha1.LocalRouterSpec
	// linkPrefix is its link, the zero prefix when that can't be read.
	linkPrefix netip.Prefix
	// vpcOwner and linkOwner own the router's VNI and link in the ledger.
	vpcOwner, linkOwner string
	// vni and link are the entries in which these were found last.
	vni, link *entry
}

// readRouter takes from a new object whose router it is: by its labels, or else by its name.
func (p *Planner) readRouter(n *routerNode) {
	n.cluster, n.writer = n.obj.Namespace, n.obj.Annotations[spokev1alpha1.AnnotationHub]
	namespace, name := n.obj.Labels[spokev1alpha1.LabelVpcNamespace], n.obj.Labels[spokev1alpha1.LabelVpcName]
	if namespace == "" || name == "" {
		namespace, name, _ = strings.Cut(n.obj.Name, ".")
	}
	if key := joinKey(namespace, name); key != n.vpcKey {
		n.vpcKey, p.routersByVpc = key, nil
		n.vpcOwner = "Vpc/" + string(key)
		n.linkOwner = n.vpcOwner + "/" + n.cluster
	}
	if n.spec == nil || !sameSpec(n.spec, &n.obj.Spec) {
		n.spec, p.carried = &n.obj.Spec, new(int)
		n.linkPrefix, _ = ipam.ParsePrefix(n.spec.LinkCIDR)
	}
}

// realized is how far a cluster has come with a router.
type realized struct {
	// synced is true when the cluster has nothing older than the newest decision.
	synced bool
	// own is the state of all but the ways to other Vpcs, and toward that of the ways to each Vpc that are not as those to any other.
	own    partState
	toward map[Key]partState
	// reached are the newest probe results, in order.
	reached []reach
}

// partState is how far a cluster has come with a part of a router.
type partState struct {
	programmed bool
	// failed is true when the cluster says that it can't.
	failed bool
	// message says why it is not programmed.
	message string
}

// to is the state of the ways to a Vpc.
func (r *realized) to(vpc Key) partState {
	if state, ok := r.toward[vpc]; ok {
		return state
	}
	return r.own
}

// reach is whether all gateways of a cluster reach a router.
type reach struct {
	vpc, cluster string
	reachable    bool
}

// waitsForHub is the state of what was not written yet.
var (
	waitsForHub    = partState{message: "waits for the hub to distribute the newest decision"}
	notDistributed = realized{own: waitsForHub}
)

// compareRouter compares what a cluster has realized with what is wanted of it, part by part: a change of the ways to one Vpc says nothing
// of those to others.
func compareRouter(o, desired *spokev1alpha1.LocalRouter) *realized {
	r := &realized{reached: readProbes(o.Status.Probes), toward: map[Key]partState{}}
	if o.DeletionTimestamp != nil {
		return &realized{own: partState{message: "waits until the former router is gone"}, reached: r.reached}
	}
	r.synced = sameSpec(&o.Spec, &desired.Spec) && o.Status.ObservedGeneration >= o.Generation
	s := readSince(o)
	r.own = waitsForHub
	if sameOwn(&o.Spec, &desired.Spec) {
		r.own = programmedSince(o, s.of(ownPart))
	}
	have, want := waysByVpc(&o.Spec), waysByVpc(&desired.Spec)
	for vpc := range want {
		state := waitsForHub
		if have[vpc].same(want[vpc]) {
			state = programmedSince(o, s.of(string(vpc)))
		}
		if state != r.own {
			r.toward[vpc] = state
		}
	}
	return r
}

// programmedSince is the state of what a router says since a generation. What a cluster has realized once, it has while it is at work on a newer
// generation that says the same of it.
func programmedSince(o *spokev1alpha1.LocalRouter, generation int64) partState {
	var s partState
	condition := programmedOf(o.Status.Conditions)
	switch {
	case o.Status.ObservedGeneration < generation:
		s.message = fmt.Sprintf("has realized generation %d of %d", o.Status.ObservedGeneration, o.Generation)
		s.failed = says(condition) && condition.ObservedGeneration >= o.Generation && condition.Message != ""
	case o.Status.ObservedGeneration < o.Generation && !says(condition):
		s.programmed = true
	default:
		s.programmed = condition.Status == metav1.ConditionTrue
		s.failed = says(condition)
		s.message = "has not said that it is programmed"
	}
	if s.failed {
		s.message = cmp.Or(condition.Message, "says that it is not programmed")
	}
	for _, g := range o.Status.Gateways {
		if g.Message != "" && !s.programmed {
			s.failed, s.message = true, fmt.Sprintf("gateway node %s: %s", g.Node, g.Message)
		}
	}
	if s.programmed {
		s.message = ""
	}
	s.message = clip(s.message, maxMessage)
	return s
}

// programmedOf finds the condition that a cluster reports.
func programmedOf(conditions []metav1.Condition) metav1.Condition {
	for _, c := range conditions {
		if c.Type == spokev1alpha1.ConditionProgrammed {
			return c
		}
	}
	return metav1.Condition{}
}

// says is whether a cluster says that it can't, as opposed to not yet.
func says(programmed metav1.Condition) bool {
	return programmed.Status == metav1.ConditionFalse && !spokev1alpha1.Waiting(programmed.Reason)
}

// readProbes sums up the results of all gateway nodes for each router that they probe.
func readProbes(results []spokev1alpha1.ProbeResult) []reach {
	var all []reach
	index := map[[2]string]int{}
	for _, p := range results {
		i, found := index[[2]string{p.Vpc, p.Cluster}]
		if !found {
			index[[2]string{p.Vpc, p.Cluster}] = len(all)
			all = append(all, reach{vpc: p.Vpc, cluster: p.Cluster, reachable: p.Reachable})
			continue
		}
		all[i].reachable = all[i].reachable && p.Reachable
	}
	slices.SortFunc(all, func(a, b reach) int {
		return cmp.Or(cmp.Compare(a.vpc, b.vpc), cmp.Compare(a.cluster, b.cluster))
	})
	return all
}

// realization is how far the clusters of a Vpc have come, in order of cluster.
type realization struct {
	sites []siteState
}

// nothingRealized is the realization where there is no Vpc.
var nothingRealized realization

type siteState struct {
	cluster string
	realized
}

// in finds the state of a cluster; nil when the Vpc has no router there.
func (r *realization) in(cluster string) *siteState {
	i := slices.IndexFunc(r.sites, func(s siteState) bool { return s.cluster == cluster })
	if i < 0 {
		return nil
	}
	return &r.sites[i]
}

// sameRouter is true when two routers say the same.
func sameRouter(a, b *spokev1alpha1.LocalRouter) bool {
	return a.Namespace == b.Namespace && a.Name == b.Name && sameSpec(&a.Spec, &b.Spec)
}

// sameSpec is true when two specs say the same; an empty list is the same as none. It is written out because it
// is called for each router of the fleet.
func sameSpec(a, b *spokev1alpha1.LocalRouterSpec) bool {
	return a.Vpc == b.Vpc && a.VpcUID == b.VpcUID && a.LinkCIDR == b.LinkCIDR &&
		slices.Equal(a.Namespaces, b.Namespaces) && slices.Equal(a.Routes, b.Routes) &&
		slices.EqualFunc(a.Subnets, b.Subnets, sameSubnet) &&
		slices.EqualFunc(a.Remotes, b.Remotes, sameRemote) &&
		slices.EqualFunc(a.Peers, b.Peers, samePeer)
}

func sameSubnet(a, b spokev1alpha1.RouterSubnet) bool {
	return a.Name == b.Name && a.CIDR == b.CIDR && a.Gateway == b.Gateway && a.Default == b.Default &&
		slices.Equal(a.ExcludeIPs, b.ExcludeIPs) && slices.Equal(a.Namespaces, b.Namespaces)
}

func sameRemote(a, b spokev1alpha1.Remote) bool {
	return a.Vpc == b.Vpc && a.Cluster == b.Cluster && a.ProbeAddress == b.ProbeAddress && slices.Equal(a.Prefixes, b.Prefixes)
}

func samePeer(a, b spokev1alpha1.LocalPeer) bool {
	return a.Vpc == b.Vpc && a.LocalConnectIP == b.LocalConnectIP && a.RemoteConnectIP == b.RemoteConnectIP &&
		a.ProbeAddress == b.ProbeAddress && slices.Equal(a.Prefixes, b.Prefixes)
}

// compareRouters compares all that is wanted with what the clusters have realized.
func (p *Planner) compareRouters() {
	for _, n := range p.routers.sorted {
		n.desired = nil
	}
	var inputs []any
	for _, n := range p.vpcs.sorted {
		inputs = inputs[:0]
		routers := n.routers.value.list
		for i, desired := range routers {
			state := &notDistributed
			if o := p.routers.byKey[n.routers.value.keys[i]]; o != nil {
				o.desired = desired
				state = o.realized.get(func() *realized { return compareRouter(o.obj, desired) }, o.obj, desired)
			}
			if i < len(routers)-n.routers.value.staying { // what stays for a while is nothing that anybody waits for
				inputs = append(inputs, desired, state)
			}
		}
		n.realization.get(func() *realization { return newRealization(inputs) }, inputs...)
	}
}

func newRealization(inputs []any) *realization {
	r := &realization{}
	for i := 0; i < len(inputs); i += 2 {
		r.sites = append(r.sites, siteState{cluster: inputs[i].(*spokev1alpha1.LocalRouter).Namespace, realized: *inputs[i+1].(*realized)})
	}
	return r
}
