// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
)

// FlowCounter counts the packets between a Vpc here and a Vpc in another cluster, in one direction.
type FlowCounter struct {
	// VNI of the Vpc here, RemoteVNI of the Vpc there.
	VNI, RemoteVNI uint32
	// Vpc and RemoteVpc are their "namespace/name", empty until Set has named them.
	Vpc, RemoteVpc string
	// Cluster where the remote Vpc is.
	Cluster string
	// Direction is "out" (to the other cluster) or "in".
	Direction string
	// Path is "gateway" (through the Vpc's gateway port), "pod" (from or into the pod itself), or "node" (in only: passed on to
	// another node of this cluster).
	Path string
	// Packets, where each segment of a super-packet counts.
	Packets uint64
	// Bytes of the inner IPv4 packets, as they crossed the program: a super-packet has one header.
	Bytes uint64
}

// Counters is what the programs have counted since the entries came into the maps, across restarts of the agent.
type Counters struct {
	// Flows are packets and bytes per flow direction, sorted.
	Flows []FlowCounter
	// Drops are the packets that are gone, and Slow those left to the kernel, by reason: all reasons, also those with none.
	Drops, Slow map[string]uint64
}

// Counters reads the counters.
func (f *Fastpath) Counters() (Counters, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clusters, err := f.clusterNames()
	if err != nil {
		return Counters{}, err
	}
	vpcs, err := f.vpcNames()
	if err != nil {
		return Counters{}, err
	}
	c := Counters{Drops: map[string]uint64{}, Slow: map[string]uint64{}}
	if c.Flows, err = f.flowCounters(clusters, vpcs); err != nil {
		return Counters{}, err
	}
	for i, reason := range dropReasons {
		if c.Drops[reason], err = f.event(i); err != nil {
			return Counters{}, err
		}
	}
	for i, reason := range slowReasons {
		if c.Slow[reason], err = f.event(len(dropReasons) + i); err != nil {
			return Counters{}, err
		}
	}
	return c, nil
}

func (f *Fastpath) event(index int) (sum uint64, err error) {
	var perCPU []uint64
	if err := f.maps[gatewayMapTomboloEvents].Lookup(uint32(index), &perCPU); err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}

func (f *Fastpath) flowCounters(clusters map[uint64]string, vpcs map[uint32]string) ([]FlowCounter, error) {
	var (
		flows  []FlowCounter
		key    []byte
		perCPU []flowCount
	)
	it := f.maps[gatewayMapTomboloFlows].Iterate()
	for it.Next(&key, &perCPU) {
		k, err := decodeFlow(key)
		if err != nil {
			return nil, err
		}
		c := FlowCounter{
			VNI: k.vni, RemoteVNI: k.remoteVNI,
			Vpc: vpcs[k.vni], RemoteVpc: vpcs[k.remoteVNI],
			Cluster:   clusterName(clusters, k.cluster),
			Direction: flowDirections[k.direction],
			Path:      flowPaths[k.path],
		}
		for _, n := range perCPU {
			c.Packets += n.Packets
			c.Bytes += n.Bytes
		}
		flows = append(flows, c)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	slices.SortFunc(flows, func(a, b FlowCounter) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.Cluster, b.Cluster),
			cmp.Compare(a.RemoteVNI, b.RemoteVNI), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Path, b.Path))
	})
	return flows, nil
}

func (f *Fastpath) clusterNames() (map[uint64]string, error) {
	all, err := f.read(gatewayMapTomboloClusters)
	if err != nil {
		return nil, err
	}
	names := map[uint64]string{}
	for key, value := range all {
		id, err := decodeUint64([]byte(key))
		if err != nil {
			return nil, err
		}
		c, err := decodeCluster(value)
		if err != nil {
			return nil, err
		}
		names[id] = c.name
	}
	return names, nil
}

// vpcNames names VNIs, as the newest Config did.
func (f *Fastpath) vpcNames() (map[uint32]string, error) {
	all, err := f.read(gatewayMapTomboloNames)
	if err != nil {
		return nil, err
	}
	names := map[uint32]string{}
	for key, value := range all {
		vni, err := decodeUint32([]byte(key))
		if err != nil {
			return nil, err
		}
		if names[vni], err = decodeName(value); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func clusterName(names map[uint64]string, id uint64) string {
	if name, ok := names[id]; ok {
		return name
	}
	return fmt.Sprintf("%#x", id)
}

// RelayCounter counts what passed this node from one cluster to another with one VNI.
type RelayCounter struct {
	VNI            uint32
	From, To       string
	Packets, Bytes uint64
}

// RelayCounters returns packets and bytes per relay, sorted; they are counted as Counters does.
func (f *Fastpath) RelayCounters() ([]RelayCounter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	clusters, err := f.clusterNames()
	if err != nil {
		return nil, err
	}
	var (
		relays []RelayCounter
		key    []byte
		perCPU []flowCount
	)
	it := f.maps[gatewayMapTomboloRelays].Iterate()
	for it.Next(&key, &perCPU) {
		k, err := decodeRelay(key)
		if err != nil {
			return nil, err
		}
		c := RelayCounter{VNI: k.vni, From: clusterName(clusters, k.from), To: clusterName(clusters, k.to)}
		for _, n := range perCPU {
			c.Packets += n.Packets
			c.Bytes += n.Bytes
		}
		relays = append(relays, c)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read relays: %w", err)
	}
	slices.SortFunc(relays, func(a, b RelayCounter) int {
		return cmp.Or(cmp.Compare(a.VNI, b.VNI), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return relays, nil
}

// Lookups returns how many questions to the longest-prefix-match maps the cache has answered, and how many it could not.
func (f *Fastpath) Lookups() (hits, misses uint64, err error) {
	for i, total := range []*uint64{&hits, &misses} {
		var perCPU []uint64
		if err := f.maps[gatewayMapTomboloLookups].Lookup(uint32(i), &perCPU); err != nil {
			return 0, 0, fmt.Errorf("read lookups: %w", err)
		}
		for _, n := range perCPU {
			*total += n
		}
	}
	return hits, misses, nil
}

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
		vni, err := decodeUint32(key)
		if err != nil {
			return "", err
		}
		vpc, err := decodeName(value)
		return fmt.Sprintf("name vni=%d %s", vni, vpc), err
	case gatewayMapTomboloUnderlay:
		return d.underlay(value)
	case gatewayMapTomboloPorts:
		ifindex, err := decodeUint32(key)
		if err != nil {
			return "", err
		}
		vni, err := decodeUint32(value)
		return fmt.Sprintf("port %s → vni=%d", d.device(ifindex), vni), err
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
		e, err := decodeCluster(value)
		line := fmt.Sprintf("cluster %s mtu=%d endpoints=%v", e.name, e.mtu, e.endpoints)
		if e.encrypted {
			line += " encrypted"
		}
		return line, err
	case gatewayMapTomboloSources:
		return d.source(key, value)
	case gatewayMapTomboloFlows:
		k, err := decodeFlow(key)
		return fmt.Sprintf("count vni=%d cluster=%s vni=%d %s by %s", k.vni, clusterName(d.clusters, k.cluster), k.remoteVNI,
			flowDirections[k.direction], flowPaths[k.path]), err
	case gatewayMapTomboloPods:
		return d.pod(key, value)
	case gatewayMapTomboloPlaces:
		return d.place(key, value)
	}
	return "", fmt.Errorf("map %s has no words", name)
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
