// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net/netip"
)

// entries are a map's content: key bytes → value bytes.
type entries map[string][]byte

// device is what the maps need of a network interface.
type device struct {
	index, mtu int
	mac        [6]byte
}

// compile turns a valid cfg into the content of every map, by the map's name. Ports whose interface is not in devices
// are left out: their packets are dropped as of an unknown VNI, which is better than into another interface.
func compile(cfg Config, devices map[string]device) map[string]entries {
	out := map[string]entries{}
	for _, name := range fillOrder {
		out[name] = entries{}
	}
	under, tunnel := devices[cfg.Underlay.Interface], devices[cfg.Underlay.Tunnel]
	nodes := setOf(cfg.Own.Nodes)
	put := func(name string, key, value []byte) { out[name][string(key)] = value }

	put(gatewayMapTomboloUnderlay, encodeUint32(0), underlayEntry{
		ifindex:   uint32(under.index),
		mtu:       uint32(under.mtu),
		address:   cfg.Underlay.Address,
		port:      cfg.Underlay.UDPPort,
		mac:       under.mac,
		tunnel:    uint32(tunnel.index),
		tunnelMTU: uint32(tunnel.mtu),
		vxlan:     uint32(devices[cfg.Underlay.VXLAN].index),
		own:       ownID(cfg.Own),
		echo:      cfg.Underlay.EchoPort,
		quiet:     cfg.Underlay.Quiet,
	}.encode())
	for vni, name := range vpcNames(cfg) {
		put(gatewayMapTomboloNames, encodeUint32(vni), encodeName(name))
	}
	for _, c := range cfg.Clusters {
		way := under
		if c.Encrypted {
			way = tunnel
		}
		put(gatewayMapTomboloClusters, encodeUint64(clusterID(c.Name)), clusterEntry{name: c.Name, endpoints: firstOf(c.Endpoints), encrypted: c.Encrypted, mtu: mtuTo(c, way)}.encode())
		for _, a := range sendersOf(c, nodes) {
			put(gatewayMapTomboloSources, a.AsSlice(), sourceEntry{cluster: clusterID(c.Name), ifindex: uint32(way.index)}.encode())
		}
	}
	for _, p := range cfg.Ports {
		d, ok := devices[p.Interface]
		if !ok && p.Interface != "" {
			continue
		}
		router, _ := parseMAC(p.RouterMAC) // validate has seen both
		gw, _ := parseMAC(p.GatewayMAC)
		if ok {
			put(gatewayMapTomboloPorts, encodeUint32(uint32(d.index)), encodeUint32(p.VNI))
		}
		put(gatewayMapTomboloVnis, encodeUint32(p.VNI), deliveryEntry{ifindex: uint32(d.index), router: router, gw: gw, mtu: uint32(d.mtu), address: p.Address}.encode())
		for _, prefix := range p.Local {
			put(gatewayMapTomboloLocals, prefixKey{p.VNI, prefix}.encode(), encodeUint32(1))
		}
		for _, r := range p.Remotes {
			compileRemote(p.VNI, r, put)
		}
		for _, prefix := range withinRemotes(p) {
			put(gatewayMapTomboloRemotes, prefixKey{p.VNI, prefix}.encode(), remoteEntry{here: true}.encode())
		}
		if p.Address.IsValid() {
			put(gatewayMapTomboloRemotes, prefixKey{p.VNI, netip.PrefixFrom(p.Address, 32)}.encode(), remoteEntry{own: true}.encode())
		}
	}
	for _, r := range cfg.Relays {
		compileRelay(r, put)
	}
	compileOwn(cfg, under, put)
	compilePods(cfg, devices, put)
	return out
}

// mtuTo is the longest encapsulated packet to a cluster.
func mtuTo(c Cluster, way device) uint32 {
	if c.MTU == 0 {
		return uint32(way.mtu)
	}
	return uint32(min(c.MTU, way.mtu))
}

// compileRelay gives each prefix its cluster, whichever end it is: the pair in tombolo_relays says the direction.
func compileRelay(r Relay, put func(name string, key, value []byte)) {
	from, to := clusterID(r.From), clusterID(r.To)
	for _, prefix := range r.Sources {
		put(gatewayMapTomboloTransit, prefixKey{r.VNI, prefix}.encode(), remoteEntry{cluster: from, vni: r.VNI}.encode())
	}
	for _, prefix := range r.Destinations {
		put(gatewayMapTomboloTransit, prefixKey{r.VNI, prefix}.encode(), remoteEntry{cluster: to, vni: r.VNI}.encode())
	}
	put(gatewayMapTomboloRelays, relayKey{from: from, to: to, vni: r.VNI}.encode(), nil)
}

func compileRemote(vni uint32, r Remote, put func(name string, key, value []byte)) {
	id := clusterID(r.Cluster)
	for _, prefix := range r.Prefixes {
		put(gatewayMapTomboloRemotes, prefixKey{vni, prefix}.encode(), remoteEntry{cluster: id, vni: r.VNI}.encode())
	}
	for direction := range flowDirections {
		for path := range flowPaths {
			if flowDirections[direction] == "out" && flowPaths[path] == "node" {
				continue
			}
			key := flowKey{id, vni, r.VNI, uint32(direction), uint32(path)}.encode()
			put(gatewayMapTomboloFlows, key, nil)
			if flowPaths[path] == "pod" {
				put(gatewayMapTomboloSlots, key, encodeUint32(0)) // Set gives the number
			}
		}
	}
}

// fillOrder is the order in which maps get their new entries, so that an entry which leads packets to others comes
// after them. Old entries go in the reverse order, after all new ones have come.
var fillOrder = []string{
	gatewayMapTomboloNames,
	gatewayMapTomboloFlows,
	gatewayMapTomboloSlots,
	gatewayMapTomboloClusters,
	gatewayMapTomboloSources,
	gatewayMapTomboloTransit,
	gatewayMapTomboloRelays,
	gatewayMapTomboloRemotes,
	gatewayMapTomboloLocals,
	gatewayMapTomboloPlaces,
	gatewayMapTomboloUnderlay,
	gatewayMapTomboloVnis,
	gatewayMapTomboloPorts,
	gatewayMapTomboloPods,
}
