// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

func validateMACs(macs map[string]string) []error {
	var errs []error
	for _, field := range slices.Sorted(maps.Keys(macs)) {
		if _, err := parseMAC(macs[field]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		}
	}
	return errs
}

// validateSenders: an outer source tells the cluster, so it is one cluster's.
func validateSenders(cfg Config) []error {
	var errs []error
	own, owner := setOf(cfg.Own.Nodes), map[netip.Addr]string{cfg.Underlay.Address: "this node"}
	for _, c := range cfg.Clusters {
		for _, a := range c.Endpoints {
			if !own[a] {
				owner[a] = c.Name
			}
		}
	}
	for _, c := range cfg.Clusters {
		for _, a := range c.Senders {
			other, ok := owner[a]
			switch {
			case !a.Is4():
				errs = append(errs, fmt.Errorf("cluster %s: sender %s is not IPv4; only IPv4 is encapsulated", c.Name, a))
			case own[a]:
				errs = append(errs, fmt.Errorf("cluster %s: sender %s is a node of this cluster; leave it out, as it may send anyway", c.Name, a))
			case ok && other != c.Name:
				errs = append(errs, fmt.Errorf("cluster %s: sender %s is %s's too; a sender is one cluster's", c.Name, a, other))
			}
			owner[a] = c.Name
		}
	}
	return errs
}

func validateOwn(cfg Config) []error {
	var errs []error
	o := cfg.Own
	if o.Name == "" && len(o.Gateways)+len(o.Nodes)+len(o.Hosts) > 0 {
		errs = append(errs, fmt.Errorf("own cluster: name is empty, and it has nodes; give the ClusterID"))
	}
	if len(o.Name) > maxClusterName || strings.ContainsRune(o.Name, 0) {
		errs = append(errs, fmt.Errorf("own cluster %q: name has %d characters or a zero octet; give it 1 to %d, a DNS label", o.Name, len(o.Name), maxClusterName))
	}
	nodes := map[netip.Addr]bool{}
	for _, a := range o.Nodes {
		switch {
		case !a.Is4():
			errs = append(errs, fmt.Errorf("own cluster: node %s is not IPv4; only IPv4 is encapsulated", a))
		case a == cfg.Underlay.Address:
			errs = append(errs, fmt.Errorf("own cluster: node %s is this one; list the others", a))
		case nodes[a]:
			errs = append(errs, fmt.Errorf("own cluster: node %s is there twice; list it once", a))
		}
		nodes[a] = true
	}
	for _, a := range o.Gateways {
		if !nodes[a] {
			errs = append(errs, fmt.Errorf("own cluster: gateway %s is none of the nodes; add it to them, or leave it out if it is this node", a))
		}
	}
	return errs
}

func validateHosts(o Own) []error {
	var errs []error
	nodes, hosts := setOf(o.Nodes), map[endpointKey]netip.Addr{}
	for _, h := range o.Hosts {
		key := endpointKey{h.VNI, h.Address}
		if err := validateVNI(h.VNI); err != nil {
			errs = append(errs, fmt.Errorf("host of %s: %w", h.Address, err))
		}
		if !h.Address.Is4() {
			errs = append(errs, fmt.Errorf("host of %s: address is not IPv4; only IPv4 is forwarded", h.Address))
		}
		if !nodes[h.Node] {
			errs = append(errs, fmt.Errorf("host of %s: node %s is none of the own cluster's; add it to the nodes", h.Address, h.Node))
		}
		if other, ok := hosts[key]; ok {
			errs = append(errs, fmt.Errorf("host of %s in vni %d: is %s and %s; a pod is in one place", h.Address, h.VNI, other, h.Node))
		}
		hosts[key] = h.Node
	}
	return errs
}

func validatePods(cfg Config) []error {
	var errs []error
	local := map[uint32][]netip.Prefix{}
	taken := map[string]string{cfg.Underlay.Interface: "the underlay", cfg.Underlay.Tunnel: "the tunnel", cfg.Underlay.VXLAN: "the VXLAN device"}
	for _, p := range cfg.Ports {
		local[p.VNI] = p.Local
		taken[p.Interface] = "the gateway port of " + p.Vpc
	}
	delete(taken, "")
	pods := map[endpointKey]string{}
	for _, p := range cfg.Pods {
		where := fmt.Sprintf("pod %s of vni %d", p.Address, p.VNI)
		if p.Interface == "" {
			errs = append(errs, fmt.Errorf("%s: interface is empty; name the node's end of the pod's veth", where))
		}
		for _, name := range []string{p.Interface, p.Switch} {
			if other, ok := taken[name]; ok && name != "" {
				errs = append(errs, fmt.Errorf("%s: interface %s is %s too; each has its own", where, name, other))
			}
			taken[name] = where
		}
		if other, ok := pods[endpointKey{p.VNI, p.Address}]; ok {
			errs = append(errs, fmt.Errorf("%s: is behind %s and %s; an address is one pod's", where, other, p.Interface))
		}
		pods[endpointKey{p.VNI, p.Address}] = p.Interface
		for _, err := range validateAddress(p, local) {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
	}
	return errs
}

func validateAddress(p Pod, local map[uint32][]netip.Prefix) []error {
	errs := validateMACs(map[string]string{"MAC": p.MAC, "router MAC": p.RouterMAC})
	prefixes, ok := local[p.VNI]
	switch {
	case !ok:
		errs = append(errs, fmt.Errorf("vni %d has no port; add one, without an interface if the node is no gateway", p.VNI))
	case !p.Address.Is4():
		errs = append(errs, fmt.Errorf("address %s is not IPv4; only IPv4 is forwarded", p.Address))
	case !slices.ContainsFunc(prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(p.Address) }):
		errs = append(errs, fmt.Errorf("address %s is in none of the port's local prefixes %v; add its subnet", p.Address, prefixes))
	}
	return errs
}
