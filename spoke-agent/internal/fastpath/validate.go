// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxVNI is the largest VXLAN network identifier (RFC 7348: 24 bits).
const maxVNI = 1<<24 - 1

// minMTU is what every IPv4 path takes in one piece that one may count on (RFC 791: every host does).
const minMTU = 576

// validate says what of cfg can't be forwarded. Each error names the field, the value and the cure.
func validate(cfg Config) error {
	errs := []error{validateUnderlay(cfg.Underlay)}
	clusters := map[string]bool{}
	for _, c := range cfg.Clusters {
		clusters[c.Name] = true
	}
	errs = append(errs, validateClusters(cfg)...)
	errs = append(errs, validateSenders(cfg)...)
	errs = append(errs, validateOwn(cfg)...)
	errs = append(errs, validateHosts(cfg.Own)...)
	vnis, interfaces := map[uint32]string{}, map[string]string{}
	for _, p := range cfg.Ports {
		if other, ok := vnis[p.VNI]; ok {
			errs = append(errs, fmt.Errorf("port of %s: vni %d is %s's too; give each Vpc its own", p.Vpc, p.VNI, other))
		}
		if other, ok := interfaces[p.Interface]; ok && p.Interface != "" {
			errs = append(errs, fmt.Errorf("port of %s: interface %s is %s's too; give each Vpc its own", p.Vpc, p.Interface, other))
		}
		vnis[p.VNI], interfaces[p.Interface] = p.Vpc, p.Vpc
		if u := cfg.Underlay; p.Interface != "" && slices.Contains([]string{u.Interface, u.Tunnel, u.VXLAN}, p.Interface) {
			errs = append(errs, fmt.Errorf("port of %s: interface %s is the underlay, the tunnel or the VXLAN device; name the gateway port", p.Vpc, p.Interface))
		}
		for _, err := range append(validatePort(p, clusters), validateName(p.Vpc)) {
			if err == nil {
				continue
			}
			errs = append(errs, fmt.Errorf("port of %s: %w", p.Vpc, err))
		}
	}
	errs = append(errs, validatePods(cfg)...)
	errs = append(errs, validateRelays(cfg, clusters)...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check gateway config: %w", err)
	}
	return nil
}

func validateUnderlay(u Underlay) error {
	switch {
	case u.Interface == "":
		return errors.New("underlay: interface is empty; name the interface that reaches the other clusters")
	case !u.Address.Is4():
		return fmt.Errorf("underlay: address %s is not IPv4; give this node's IPv4 address on %s", u.Address, u.Interface)
	case u.UDPPort == 0:
		return errors.New("underlay: UDP port is 0; VXLAN's is 4789")
	case u.Tunnel == u.Interface:
		return fmt.Errorf("underlay: tunnel %s is the underlay itself; name the interface that encrypts", u.Tunnel)
	case u.VXLAN == u.Interface || u.VXLAN != "" && u.VXLAN == u.Tunnel:
		return fmt.Errorf("underlay: VXLAN device %s is the underlay or the tunnel; name the VXLAN device above it", u.VXLAN)
	}
	return nil
}

func validateClusters(cfg Config) []error {
	var errs []error
	ids, owner := map[uint64]string{0: "no cluster"}, map[netip.Addr]string{cfg.Underlay.Address: "this node"}
	own := setOf(cfg.Own.Nodes)
	if cfg.Own.Name != "" {
		ids[clusterID(cfg.Own.Name)] = "this node's own cluster"
	}
	for _, c := range cfg.Clusters {
		if c.Name == "" || len(c.Name) > maxClusterName {
			errs = append(errs, fmt.Errorf("cluster %q: name has %d characters; give it 1 to %d", c.Name, len(c.Name), maxClusterName))
		}
		if strings.ContainsRune(c.Name, 0) {
			errs = append(errs, fmt.Errorf("cluster %q: name has a zero octet, where a name in the maps ends; give it a DNS label", c.Name))
		}
		if c.MTU != 0 && (c.MTU < minMTU || c.MTU > 65535) {
			errs = append(errs, fmt.Errorf("cluster %s: MTU %d is not between %d (RFC 791) and 65535; give 0 for the interface's", c.Name, c.MTU, minMTU))
		}
		if other, ok := ids[clusterID(c.Name)]; ok {
			errs = append(errs, fmt.Errorf("cluster %q: has the id of %q; list it once, or rename one", c.Name, other))
		}
		ids[clusterID(c.Name)] = c.Name
		for _, a := range c.Endpoints {
			if !a.Is4() {
				errs = append(errs, fmt.Errorf("cluster %s: endpoint %s is not IPv4; only IPv4 is encapsulated", c.Name, a))
			}
			// The endpoint tells which cluster sent a packet, so it can't be two's.
			if other, ok := owner[a]; ok && !own[a] {
				errs = append(errs, fmt.Errorf("cluster %s: endpoint %s is %s's too; an endpoint is one gateway's", c.Name, a, other))
			}
			owner[a] = c.Name
		}
	}
	return errs
}

func validatePort(p Port, clusters map[string]bool) []error {
	var errs []error
	if err := validateVNI(p.VNI); err != nil {
		errs = append(errs, err)
	}
	if p.Interface != "" {
		errs = append(errs, validateMACs(map[string]string{"gateway MAC": p.GatewayMAC, "router MAC": p.RouterMAC})...)
	}
	if p.Address.IsValid() && !p.Address.Is4() {
		errs = append(errs, fmt.Errorf("address %s is not IPv4; only IPv4 is forwarded", p.Address))
	}
	for _, prefix := range p.Local {
		if err := validatePrefix(prefix); err != nil {
			errs = append(errs, fmt.Errorf("local: %w", err))
		}
	}
	var remotes []netip.Prefix
	for _, r := range p.Remotes {
		if !clusters[r.Cluster] {
			errs = append(errs, fmt.Errorf("remote %s: cluster %q is unknown; add it to the clusters, with its endpoints", r.Vpc, r.Cluster))
		}
		if err := errors.Join(validateVNI(r.VNI), validateName(r.Vpc)); err != nil {
			errs = append(errs, fmt.Errorf("remote %s: %w", r.Vpc, err))
		}
		for _, prefix := range r.Prefixes {
			if err := validatePrefix(prefix); err != nil {
				errs = append(errs, fmt.Errorf("remote %s: %w", r.Vpc, err))
			}
			if p.Address.IsValid() && prefix == netip.PrefixFrom(p.Address, 32) {
				errs = append(errs, fmt.Errorf("remote %s: prefix %s is this port's own address; give one of the two another", r.Vpc, prefix))
			}
		}
		remotes = append(remotes, r.Prefixes...)
	}
	return append(errs, overlaps(remotes)...)
}

func validateRelays(cfg Config, clusters map[string]bool) []error {
	var errs []error
	encrypted := map[string]bool{}
	for _, c := range cfg.Clusters {
		encrypted[c.Name] = c.Encrypted
	}
	for _, r := range cfg.Relays {
		where := fmt.Sprintf("relay of vni %d from %s to %s", r.VNI, r.From, r.To)
		if err := validateVNI(r.VNI); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
		for _, name := range []string{r.From, r.To} {
			if name == cfg.Own.Name && name != "" {
				if name == r.To {
					errs = append(errs, fmt.Errorf("%s: %s is this node's own cluster, which Ports are for; name another one", where, name))
				}
				continue
			}
			if !clusters[name] {
				errs = append(errs, fmt.Errorf("%s: cluster %q is unknown; add it to the clusters, with its endpoints", where, name))
			}
			if encrypted[name] {
				errs = append(errs, fmt.Errorf("%s: cluster %s is encrypted, and nothing encrypts what is relayed; let the two reach each other", where, name))
			}
		}
		if r.From == r.To {
			errs = append(errs, fmt.Errorf("%s: both are one cluster; packets don't go back where they came from", where))
		}
		for _, prefix := range slices.Concat(r.Sources, r.Destinations) {
			if err := validatePrefix(prefix); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", where, err))
			}
		}
	}
	return append(errs, relayOverlaps(cfg.Relays)...)
}

// relayOverlaps reports prefixes of one VNI that two clusters have. Relays may name a cluster's prefix often.
func relayOverlaps(relays []Relay) []error {
	var errs []error
	owner, byVNI := map[prefixKey]string{}, map[uint32][]netip.Prefix{}
	add := func(vni uint32, cluster string, prefixes []netip.Prefix) {
		for _, prefix := range prefixes {
			key := prefixKey{vni, prefix}
			switch now, ok := owner[key]; {
			case !ok:
				owner[key] = cluster
				byVNI[vni] = append(byVNI[vni], prefix)
			case now != cluster:
				errs = append(errs, fmt.Errorf("relays of vni %d: prefix %s is %s's and %s's; an address is in one place", vni, prefix, now, cluster))
			}
		}
	}
	for _, r := range relays {
		add(r.VNI, r.From, r.Sources)
		add(r.VNI, r.To, r.Destinations)
	}
	for vni, all := range byVNI {
		for _, err := range overlaps(all) {
			errs = append(errs, fmt.Errorf("relays of vni %d: %w", vni, err))
		}
	}
	return errs
}

func validateName(vpc string) error {
	if len(vpc) >= maxVpc || strings.ContainsRune(vpc, 0) {
		return fmt.Errorf("name %q is none; give at most %d octets, none of them zero, where a name in the maps ends", vpc, maxVpc-1)
	}
	return nil
}

func validateVNI(vni uint32) error {
	if vni == 0 || vni > maxVNI {
		return fmt.Errorf("vni %d is not between 1 and %d (RFC 7348: 24 bits)", vni, maxVNI)
	}
	return nil
}

func validatePrefix(p netip.Prefix) error {
	if !p.Addr().Is4() || !p.IsValid() {
		return fmt.Errorf("prefix %s is not IPv4; only IPv4 is forwarded", p)
	}
	if p.Masked() != p {
		return fmt.Errorf("prefix %s has host bits; write %s", p, p.Masked())
	}
	return nil
}

// overlaps reports prefixes that hold one another: the destination would have two clusters. In the order of their
// first addresses, a prefix overlaps its neighbour if it overlaps anything.
func overlaps(prefixes []netip.Prefix) []error {
	var errs []error
	sorted := slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
	for i := 1; i < len(sorted); i++ {
		if sorted[i-1].Overlaps(sorted[i]) {
			errs = append(errs, fmt.Errorf("remote prefixes %s and %s overlap; a destination is in one place", sorted[i-1], sorted[i]))
			// The wider one is what the next may overlap as well.
			sorted[i] = sorted[i-1]
		}
	}
	return errs
}
