// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"cmp"
	"fmt"
	"slices"
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
	slots, err := f.read(gatewayMapTomboloSlots)
	if err != nil {
		return nil, err
	}
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
		if slot, ok := slots[string(key)]; ok {
			var more []flowCount
			if err := f.maps[gatewayMapTomboloCounts].Lookup(slot, &more); err != nil {
				return nil, fmt.Errorf("read counts: %w", err)
			}
			perCPU = append(perCPU, more...)
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
