// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Dump returns all that the maps hold, but for the counters and the cache, as sorted lines.
func (f *Fastpath) Dump() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clusters, err := f.clusterNames()
	if err != nil {
		return "", err
	}
	d := dumper{clusters: clusters, interfaces: interfaceNames()}
	var lines []string
	for _, name := range fillOrder {
		all, err := f.read(name)
		if err != nil {
			return "", err
		}
		for key, value := range all {
			line, err := d.line(name, []byte(key), value)
			if err != nil {
				return "", fmt.Errorf("dump %s: %w", name, err)
			}
			lines = append(lines, line+"\n")
		}
	}
	origins, err := f.origins()
	if err != nil {
		return "", err
	}
	for _, e := range origins {
		lines = append(lines, fmt.Sprintf("origin vni=%d %s → %s\n", e.pod.vni, e.pod.address, e.origin))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}

// dumper has the names of what the maps only number.
type dumper struct {
	clusters   map[uint64]string
	interfaces map[uint32]string
}

func (d dumper) line(name string, key, value []byte) (string, error) {
	switch name {
	case gatewayMapTomboloNames:
		return d.name(key, value)
	case gatewayMapTomboloUnderlay:
		return d.underlay(value)
	case gatewayMapTomboloPorts:
		return d.port(key, value)
	case gatewayMapTomboloVnis:
		return d.delivery(key, value)
	case gatewayMapTomboloRemotes:
		return d.route(key, value)
	case gatewayMapTomboloTransit:
		return d.transit(key, value)
	case gatewayMapTomboloRelays:
		k, err := decodeRelay(key)
		return fmt.Sprintf("relay vni=%d cluster=%s → cluster=%s", k.vni, clusterName(d.clusters, k.from), clusterName(d.clusters, k.to)), err
	case gatewayMapTomboloLocals:
		k, err := decodePrefix(key)
		return fmt.Sprintf("local vni=%d %s", k.vni, k.prefix), err
	case gatewayMapTomboloClusters:
		return d.cluster(value)
	case gatewayMapTomboloSources:
		return d.source(key, value)
	case gatewayMapTomboloFlows:
		return d.flow("count", key)
	case gatewayMapTomboloSlots:
		return d.number(key, value)
	case gatewayMapTomboloPods:
		return d.pod(key, value)
	case gatewayMapTomboloPlaces:
		return d.place(key, value)
	}
	return "", fmt.Errorf("map %s has no words", name)
}

func (d dumper) port(key, value []byte) (string, error) {
	ifindex, err := decodeUint32(key)
	if err != nil {
		return "", err
	}
	vni, err := decodeUint32(value)
	return fmt.Sprintf("port %s → vni=%d", d.device(ifindex), vni), err
}

func (d dumper) number(key, value []byte) (string, error) {
	slot, err := decodeUint32(value)
	if err != nil {
		return "", err
	}
	return d.flow(fmt.Sprintf("number %d:", slot), key)
}

func (d dumper) flow(what string, key []byte) (string, error) {
	k, err := decodeFlow(key)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s vni=%d cluster=%s vni=%d %s by %s", what, k.vni, clusterName(d.clusters, k.cluster), k.remoteVNI,
		flowDirections[k.direction], flowPaths[k.path]), nil
}

func (d dumper) name(key, value []byte) (string, error) {
	vni, err := decodeUint32(key)
	if err != nil {
		return "", err
	}
	vpc, err := decodeName(value)
	return fmt.Sprintf("name vni=%d %s", vni, vpc), err
}

func (d dumper) cluster(value []byte) (string, error) {
	e, err := decodeCluster(value)
	line := fmt.Sprintf("cluster %s mtu=%d endpoints=%v", e.name, e.mtu, e.endpoints)
	if e.encrypted {
		line += " encrypted"
	}
	return line, err
}

func (d dumper) underlay(value []byte) (string, error) {
	e, err := decodeUnderlay(value)
	line := fmt.Sprintf("underlay %s mtu=%d address=%s port=%d", d.device(e.ifindex), e.mtu, e.address, e.port)
	if e.tunnel != 0 {
		line += fmt.Sprintf(" tunnel=%s mtu=%d", d.device(e.tunnel), e.tunnelMTU)
	}
	if e.vxlan != 0 {
		line += " slow path " + d.device(e.vxlan)
	}
	if e.own != 0 {
		line += " of " + clusterName(d.clusters, e.own)
	}
	if e.echo != 0 {
		line += fmt.Sprintf(" echo port=%d", e.echo)
	}
	if e.quiet {
		line += " quiet"
	}
	return line, err
}

func (d dumper) delivery(key, value []byte) (string, error) {
	vni, err := decodeUint32(key)
	if err != nil {
		return "", err
	}
	e, err := decodeDelivery(value)
	line := fmt.Sprintf("deliver vni=%d → %s mtu=%d router=%s gateway=%s", vni, d.device(e.ifindex), e.mtu,
		net.HardwareAddr(e.router[:]), net.HardwareAddr(e.gw[:]))
	if e.address.IsValid() {
		line += " " + e.address.String()
	}
	return line, err
}

func (d dumper) route(key, value []byte) (string, error) {
	k, err := decodePrefix(key)
	if err != nil {
		return "", err
	}
	e, err := decodeRemote(value)
	if err != nil {
		return "", err
	}
	if e.own {
		return fmt.Sprintf("route vni=%d %s → this gateway", k.vni, k.prefix), nil
	}
	if e.here {
		return fmt.Sprintf("route vni=%d %s → this cluster", k.vni, k.prefix), nil
	}
	return fmt.Sprintf("route vni=%d %s → cluster=%s vni=%d", k.vni, k.prefix, clusterName(d.clusters, e.cluster), e.vni), nil
}

func (d dumper) transit(key, value []byte) (string, error) {
	k, err := decodePrefix(key)
	if err != nil {
		return "", err
	}
	e, err := decodeRemote(value)
	return fmt.Sprintf("transit vni=%d %s → cluster=%s", k.vni, k.prefix, clusterName(d.clusters, e.cluster)), err
}

func (d dumper) source(key, value []byte) (string, error) {
	addr, err := decodeAddr(key)
	if err != nil {
		return "", err
	}
	e, err := decodeSource(value)
	line := fmt.Sprintf("source %s by %s → cluster=%s", addr, d.device(e.ifindex), clusterName(d.clusters, e.cluster))
	if e.own {
		line += ", this one"
	}
	return line, err
}

func (d dumper) pod(key, value []byte) (string, error) {
	ifindex, err := decodeUint32(key)
	if err != nil {
		return "", err
	}
	e, err := decodePod(value)
	if e.vni == 0 {
		return fmt.Sprintf("switch %s → pod %s %s", d.device(ifindex), d.device(e.other), net.HardwareAddr(e.mac[:])), err
	}
	line := fmt.Sprintf("pod %s → vni=%d %s %s router=%s", d.device(ifindex), e.vni, e.address, net.HardwareAddr(e.mac[:]), net.HardwareAddr(e.router[:]))
	if e.other != 0 {
		line += " switch " + d.device(e.other)
	}
	return line, err
}

func (d dumper) place(key, value []byte) (string, error) {
	k, err := decodeEndpoint(key)
	if err != nil {
		return "", err
	}
	e, err := decodePlace(value)
	if e.ifindex == 0 {
		return fmt.Sprintf("place vni=%d %s → node %s", k.vni, k.address, e.node), err
	}
	return fmt.Sprintf("place vni=%d %s → %s mtu=%d %s router=%s", k.vni, k.address, d.device(e.ifindex), e.mtu, net.HardwareAddr(e.mac[:]), net.HardwareAddr(e.router[:])), err
}

func (d dumper) device(ifindex uint32) string {
	if name, ok := d.interfaces[ifindex]; ok {
		return name
	}
	if ifindex == 0 {
		return "none"
	}
	return fmt.Sprintf("interface-%d", ifindex)
}

func interfaceNames() map[uint32]string {
	names := map[uint32]string{}
	all, _ := net.Interfaces() // without names a dump has numbers
	for _, i := range all {
		names[uint32(i.Index)] = i.Name
	}
	return names
}
