// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plan decides what OVN must have for the objects of this cluster. It is pure.
//
//	LocalRouters · own InterconnectGateway · Pods · Namespaces ──Make──▶ ovn.Desired + what to tell whom
package plan

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/binding"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// Inputs are all that the plan looks at. Make changes none of them.
type Inputs struct {
	// Routers are the copies of this cluster's LocalRouters, those under deletion among them.
	Routers []spokev1alpha1.LocalRouter
	// Gateway is the copy of this cluster's own InterconnectGateway; nil while there is none.
	Gateway *spokev1alpha1.InterconnectGateway
	// Pods of the cluster.
	Pods []corev1.Pod
	// Namespaces of the cluster, by name.
	Namespaces map[string]*corev1.Namespace
	// PodMTU of the pods' interfaces, in bytes.
	PodMTU int
}

// Plan is what OVN must have, and who is to hear what about it.
type Plan struct {
	// Desired is for ovn.Northbound.Set.
	Desired ovn.Desired
	// Silent are the gateway nodes that routers do not send to, because another one of the cluster gets no answer from them: which one.
	Silent map[string]string
	// Ports are the pods' ports by name.
	Ports map[string]Port
	// RouterErrors are LocalRouters (by name) whose spec can't be realized. Their rows are left as they are.
	RouterErrors map[string]error
	// PodErrors are pods (by UID) that ask for a Vpc and can't join it.
	PodErrors []PodError
}

// Port is a pod's port, complete but for what OVN decides.
type Port struct {
	Pod    *corev1.Pod
	Vpc    string
	Subnet string
	Prefix netip.Prefix
	// Gateway of the pod's default route.
	Gateway netip.Addr
	MTU     int
}

// Attachment is the port with what OVN decided.
func (p Port) Attachment(name string, b ovn.PortBinding) attachment.Attachment {
	return attachment.Attachment{
		Vpc: p.Vpc, Subnet: p.Subnet, Port: name, MAC: b.MAC, Gateway: p.Gateway, MTU: p.MTU,
		Address: netip.PrefixFrom(b.Address, p.Prefix.Bits()),
	}
}

// PodError is why a pod can't join.
type PodError struct {
	Pod *corev1.Pod
	Err error
}

// Make is the plan for in.
func Make(in Inputs) Plan {
	p := Plan{Ports: map[string]Port{}, RouterErrors: map[string]error{}, Silent: findSilent(in.Gateway)}
	subnetPorts := p.bindPods(in)
	live, made := liveOwners(in.Routers), map[string]string{}
	for i := range in.Routers {
		router := &in.Routers[i]
		if router.DeletionTimestamp != nil {
			if !live[router.Spec.VpcUID] {
				p.Desired.Removed = append(p.Desired.Removed, router.Spec.VpcUID)
			}
			continue
		}
		desired, err := makeRouter(router, in.Gateway, p.Silent, subnetPorts)
		if other, twice := made[router.Spec.VpcUID]; twice {
			err = fmt.Errorf("check spec.vpcUID: %q is already that of LocalRouter %s: delete one of the two", router.Spec.VpcUID, other)
		}
		if err != nil {
			p.RouterErrors[router.Name] = err
			continue
		}
		made[router.Spec.VpcUID] = router.Name
		p.Desired.Routers = append(p.Desired.Routers, desired)
	}
	slices.SortFunc(p.Desired.Routers, func(a, b ovn.Router) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(p.Desired.Removed)
	p.Desired.Removed = slices.Compact(p.Desired.Removed)
	return p
}

// liveOwners are the owners that a router not under deletion has: a tombstone under another name must not remove them.
func liveOwners(routers []spokev1alpha1.LocalRouter) map[string]bool {
	live := map[string]bool{}
	for _, router := range routers {
		if router.DeletionTimestamp == nil {
			live[router.Spec.VpcUID] = true
		}
	}
	return live
}

// bindPods fills Ports and PodErrors, and returns the ports by SubnetKey, sorted by name.
func (p *Plan) bindPods(in Inputs) map[string][]ovn.Port {
	index := binding.NewIndex(in.Routers)
	ports := map[string][]ovn.Port{}
	for i := range in.Pods {
		pod := &in.Pods[i]
		namespace, known := in.Namespaces[pod.Namespace]
		if !known {
			namespace = &corev1.Namespace{} // its watch is a moment behind: no consent yet
		}
		bound, err := index.Resolve(pod, namespace)
		if err != nil {
			p.PodErrors = append(p.PodErrors, PodError{Pod: pod, Err: err})
			continue
		}
		if bound == nil {
			continue
		}
		prefix, prefixErr := netip.ParsePrefix(bound.Subnet.CIDR)
		gateway, gatewayErr := netip.ParseAddr(bound.Subnet.Gateway)
		if prefixErr != nil || gatewayErr != nil {
			continue // makeRouter says so for the whole router
		}
		name, key := naming.PodPort(pod.UID), bound.SubnetKey()
		ports[key] = append(ports[key], ovn.Port{Name: name, Owner: string(pod.UID), Pod: pod.Namespace + "/" + pod.Name})
		p.Ports[name] = Port{
			Pod: pod, Vpc: naming.VpcKey(bound.Router.Spec.Vpc), Subnet: key, Prefix: prefix, Gateway: gateway, MTU: in.PodMTU,
		}
	}
	for _, list := range ports {
		slices.SortFunc(list, func(a, b ovn.Port) int { return cmp.Compare(a.Name, b.Name) })
	}
	return ports
}

// makeRouter is one Vpc. An error leaves the whole Vpc out: half a router is worse than yesterday's.
func makeRouter(
	lr *spokev1alpha1.LocalRouter, gateway *spokev1alpha1.InterconnectGateway, silent map[string]string, ports map[string][]ovn.Port,
) (ovn.Router, error) {
	vpc := lr.Spec.Vpc
	router := ovn.Router{Owner: lr.Spec.VpcUID, Name: naming.Router(vpc)}
	var errs []error
	for _, s := range lr.Spec.Subnets {
		subnet, err := makeSubnet(vpc, s, ports)
		errs = append(errs, err)
		router.Subnets = append(router.Subnets, subnet)
	}
	transit, hops, err := makeTransit(lr, gateway, silent)
	errs = append(errs, err)
	router.Transit = transit

	routes := map[netip.Prefix][]netip.Addr{}
	errs = append(errs, addGatewayRoutes(routes, lr.Spec.Routes, hops))
	for _, p := range lr.Spec.Peers {
		peer, err := makePeer(vpc, p, routes)
		errs = append(errs, err)
		router.Peers = append(router.Peers, peer)
	}
	for prefix, hops := range routes {
		router.Routes = append(router.Routes, ovn.Route{Prefix: prefix, NextHops: hops})
	}
	sortRouter(&router)
	if err := errors.Join(errs...); err != nil {
		return ovn.Router{}, fmt.Errorf("plan router %s: %w", router.Name, err)
	}
	return router, nil
}

// sortRouter gives every list one order, so that the same inputs in another order are the same plan.
func sortRouter(r *ovn.Router) {
	slices.SortFunc(r.Subnets, func(a, b ovn.Subnet) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Peers, func(a, b ovn.Peer) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(r.Routes, func(a, b ovn.Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
}
