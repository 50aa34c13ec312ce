// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
	"slices"
)

// ownID is 0 where the Config has no own cluster.
func ownID(o Own) uint64 {
	if o.Name == "" {
		return 0
	}
	return clusterID(o.Name)
}

// firstOf is what there is room for: more gateways than that send to us all the same; we send to the first ones.
func firstOf(endpoints []netip.Addr) []netip.Addr {
	return endpoints[:min(len(endpoints), maxEndpoints)]
}

// sendersOf are the outer sources of a cluster's packets. Where it is reached through this cluster's own gateways, these are
// endpoints of it, and what they send is no less this cluster's for that.
func sendersOf(c Cluster, own map[netip.Addr]bool) []netip.Addr {
	if len(c.Senders) > 0 {
		return c.Senders
	}
	return slices.DeleteFunc(slices.Clone(c.Endpoints), func(a netip.Addr) bool { return own[a] })
}

func setOf[T comparable](list []T) map[T]bool {
	set := map[T]bool{}
	for _, v := range list {
		set[v] = true
	}
	return set
}

// withinRemotes are the prefixes of this cluster that lie in a remote one. A router takes the longest match among both, and
// so must a program that does its work.
func withinRemotes(p Port) []netip.Prefix {
	var within []netip.Prefix
	for _, local := range p.Local {
		for _, r := range p.Remotes {
			if slices.ContainsFunc(r.Prefixes, func(remote netip.Prefix) bool { return remote.Bits() <= local.Bits() && remote.Contains(local.Addr()) }) {
				within = append(within, local)
			}
		}
	}
	return within
}

func compileOwn(cfg Config, under device, put func(name string, key, value []byte)) {
	if cfg.Own.Name == "" {
		return
	}
	id := clusterID(cfg.Own.Name)
	put(gatewayMapTomboloClusters, encodeUint64(id), clusterEntry{name: cfg.Own.Name, endpoints: firstOf(cfg.Own.Gateways), mtu: uint32(under.mtu)}.encode())
	for _, a := range cfg.Own.Nodes {
		put(gatewayMapTomboloSources, a.AsSlice(), sourceEntry{cluster: id, ifindex: uint32(under.index), own: true}.encode())
	}
	for _, h := range cfg.Own.Hosts {
		put(gatewayMapTomboloPlaces, endpointKey{h.VNI, h.Address}.encode(), placeEntry{node: h.Node}.encode())
	}
}

// compilePods comes after the hosts: what is here, is here.
func compilePods(cfg Config, devices map[string]device, put func(name string, key, value []byte)) {
	for _, p := range cfg.Pods {
		d, other, ok := podDevices(p, devices)
		if !ok {
			continue
		}
		mac, _ := parseMAC(p.MAC) // validate has seen both
		router, _ := parseMAC(p.RouterMAC)
		put(gatewayMapTomboloPods, encodeUint32(uint32(d.index)), podEntry{vni: p.VNI, address: p.Address, mac: mac, router: router, other: uint32(other.index)}.encode())
		if p.Switch != "" {
			put(gatewayMapTomboloPods, encodeUint32(uint32(other.index)), podEntry{mac: mac, other: uint32(d.index)}.encode())
		}
		put(gatewayMapTomboloPlaces, endpointKey{p.VNI, p.Address}.encode(), placeEntry{ifindex: uint32(d.index), mtu: uint32(d.mtu), mac: mac, router: router}.encode())
	}
}

// podDevices are the pod's interfaces; without one of them it is as if the pod were not there.
func podDevices(p Pod, devices map[string]device) (own, other device, ok bool) {
	own, ok = devices[p.Interface]
	if !ok || p.Switch == "" {
		return own, other, ok
	}
	other, ok = devices[p.Switch]
	return own, other, ok
}
