// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net/netip"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/probe"
)

// makeNodePort is what a node that is no gateway knows of a router that it has pods of.
func makeNodePort(_ Inputs, _ string, _ spokev1alpha1.GatewayEndpoint, lr *spokev1alpha1.LocalRouter) (Port, error) {
	vpc, err := makeVpc(lr)
	return Port{Router: lr.Name, Generation: local.HubGeneration(lr), Fastpath: vpc}, err
}

// makeVpc is what the programs know of a router on every node.
func makeVpc(lr *spokev1alpha1.LocalRouter) (fastpath.Port, error) {
	vpc := lr.Spec.Vpc
	localPrefixes, err := parsePrefixes(subnetCIDRs(lr), lr.Spec.LinkCIDR)
	if err != nil {
		return fastpath.Port{}, fmt.Errorf("parse spec.subnets: %w", err)
	}
	p := fastpath.Port{Vpc: naming.VpcKey(vpc), VNI: uint32(vpc.VNI), Local: localPrefixes}
	for _, r := range lr.Spec.Remotes {
		prefixes, err := parsePrefixes(r.Prefixes)
		if err != nil {
			return fastpath.Port{}, fmt.Errorf("parse spec.remotes[%s in %s].prefixes: %w", naming.VpcKey(r.Vpc), r.Cluster, err)
		}
		p.Remotes = append(p.Remotes, fastpath.Remote{
			Vpc: naming.VpcKey(r.Vpc), VNI: uint32(r.Vpc.VNI), Cluster: r.Cluster, Prefixes: prefixes,
		})
	}
	return p, nil
}

// makeGatewayPort is one router's port on this node.
func makeGatewayPort(in Inputs, cluster string, endpoint spokev1alpha1.GatewayEndpoint, lr *spokev1alpha1.LocalRouter) (Port, error) {
	vpc := lr.Spec.Vpc
	linkCIDR, err := netip.ParsePrefix(lr.Spec.LinkCIDR)
	if err != nil {
		return Port{}, fmt.Errorf("parse spec.linkCIDR: %w", err)
	}
	address, err := naming.LinkGateway(linkCIDR, endpoint.Index)
	if err != nil {
		return Port{}, err
	}
	fast, err := makeVpc(lr)
	if err != nil {
		return Port{}, err
	}
	fast.Interface, fast.Address = naming.GatewayEnd(vpc.VNI), address
	fast.GatewayMAC, fast.RouterMAC = naming.MAC(address), naming.MAC(naming.LinkRouter(linkCIDR))
	p := Port{
		Router: lr.Name, Generation: local.HubGeneration(lr),
		Link:     link.Pair{GatewayEnd: naming.GatewayEnd(vpc.VNI), OVSEnd: naming.OVSEnd(vpc.VNI), MAC: naming.MAC(address), MTU: in.MTU},
		Vswitch:  ovn.VswitchPort{Interface: naming.OVSEnd(vpc.VNI), IfaceID: naming.GatewayPort(vpc, in.Node), Owner: lr.Spec.VpcUID},
		Fastpath: fast,
		SlowPath: link.SlowVpc{
			Interface: naming.GatewayEnd(vpc.VNI), VNI: uint32(vpc.VNI), Local: fast.Local,
			Router: naming.LinkRouter(linkCIDR), RouterMAC: naming.MAC(naming.LinkRouter(linkCIDR)),
		},
	}
	return p, p.addProbes(cluster, lr)
}

// addProbes probes every remote router, and every peer's in the same cluster, by the way that pods' packets take.
func (p *Port) addProbes(cluster string, lr *spokev1alpha1.LocalRouter) error {
	add := func(vpc spokev1alpha1.VpcIdentity, cluster, to string) error {
		if to == "" {
			return nil
		}
		address, err := netip.ParseAddr(to)
		if err != nil {
			return fmt.Errorf("parse probeAddress of %s in %s: %w", naming.VpcKey(vpc), cluster, err)
		}
		p.Probes = append(p.Probes, Probe{
			Vpc: naming.VpcKey(vpc), Cluster: cluster,
			Target: probe.Target{
				Interface: p.Link.GatewayEnd, SrcMAC: p.Fastpath.GatewayMAC, DstMAC: p.Fastpath.RouterMAC,
				Src: p.Fastpath.Address, Dst: address, Key: lr.Name + " " + naming.VpcKey(vpc) + " " + cluster,
			},
		})
		return nil
	}
	for _, r := range lr.Spec.Remotes {
		if err := add(r.Vpc, r.Cluster, r.ProbeAddress); err != nil {
			return err
		}
	}
	for _, peer := range lr.Spec.Peers {
		if err := add(peer.Vpc, cluster, peer.ProbeAddress); err != nil {
			return err
		}
	}
	return nil
}

func subnetCIDRs(lr *spokev1alpha1.LocalRouter) []string {
	var cidrs []string
	for _, s := range lr.Spec.Subnets {
		cidrs = append(cidrs, s.CIDR)
	}
	return cidrs
}

func parsePrefixes(texts []string, more ...string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range append(texts, more...) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}
