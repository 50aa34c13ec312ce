// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// FuzzConfig reads a Config as the agent's files and tests have it, in JSON. Whatever is in it, nothing panics; and what
// validate accepts is in the maps as it was written, nothing in another's place.
func FuzzConfig(f *testing.F) {
	encrypted, odd := relayConfig(), directConfig()
	encrypted.Underlay.Tunnel, encrypted.Underlay.VXLAN = "tbwg0", vxlanDevice
	odd.Ports[0].Remotes[0].Prefixes = append(odd.Ports[0].Remotes[0].Prefixes, netip.PrefixFrom(odd.Ports[0].Address, 32))
	same := storyConfig()
	same.Underlay.Tunnel, same.Underlay.VXLAN = "tbg100", "tbg300"
	for _, cfg := range []Config{{}, storyConfig(), relayConfig(), directConfig(), encrypted, odd, same,
		transitConfig("192.0.2.1", "west", "198.51.100.1", "0.0.0.0/0", "10.1.2.0/24")} {
		text, err := json.Marshal(cfg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{`null`, `{"Ports":[null],"Clusters":[{}],"Relays":[{}],"Pods":[{}],"Own":{"Hosts":[{}]}}`,
		`{"Underlay":{"Interface":"ul0","Address":"::ffff:192.0.2.1","UDPPort":1},"Ports":[{"Local":["10.0.0.0/8","::/0"],"Remotes":[{"Prefixes":["0.0.0.0/0"]}]}]}`} {
		f.Add([]byte(text))
	}
	spec, err := loadGateway()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var cfg Config
		if json.Unmarshal(text, &cfg) == nil {
			wantCompiled(t, spec, cfg)
		}
	})
}

// wantCompiled is false when validate refuses cfg.
func wantCompiled(t *testing.T, spec *ebpf.CollectionSpec, cfg Config) bool {
	t.Helper()
	if validate(cfg) != nil {
		return false
	}
	devices := everyDevice(cfg)
	m := compiled{t, compile(cfg, devices)}
	m.wantReadable(spec, cfg)
	m.want(cfg, devices)
	if problem := twoRoles(cfg); problem != "" {
		t.Error(problem)
	}
	return true
}

// TestRandomConfigs takes Configs that are right, and puts into some of their fields what stands in others.
func TestRandomConfigs(t *testing.T) {
	spec, err := loadGateway()
	if err != nil {
		t.Fatal(err)
	}
	encrypted := directConfig()
	encrypted.Underlay.Tunnel, encrypted.Underlay.VXLAN = "tbwg0", vxlanDevice
	var texts [][]byte
	for _, cfg := range []Config{relayConfig(), directConfig(), encrypted} {
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	seed := newSeed()
	random := rand.New(rand.NewPCG(seed, 0))
	accepted := 0
	for range 5000 {
		var tree any
		if err := json.Unmarshal(texts[random.IntN(len(texts))], &tree); err != nil {
			t.Fatal(err)
		}
		for range 1 + random.IntN(3) {
			leaves := leavesOf(tree, nil)
			to, from := leaves[random.IntN(len(leaves))], leaves[random.IntN(len(leaves))]
			if fmt.Sprintf("%T", to.value) == fmt.Sprintf("%T", from.value) {
				to.set(from.value)
			}
		}
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var cfg Config
		if json.Unmarshal(text, &cfg) == nil && wantCompiled(t, spec, cfg) {
			accepted++
		}
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, text)
		}
	}
	if accepted < 300 {
		t.Errorf("seed %d: %d of 5000 are accepted: the test proves little", seed, accepted)
	}
	t.Logf("%d of 5000 are accepted", accepted)
}

// leaf is a value in a JSON tree, and how to replace it.
type leaf struct {
	value any
	set   func(any)
}

func leavesOf(tree any, set func(any)) (leaves []leaf) {
	switch node := tree.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(node)) {
			leaves = append(leaves, leavesOf(node[key], func(v any) { node[key] = v })...)
		}
	case []any:
		for i, child := range node {
			leaves = append(leaves, leavesOf(child, func(v any) { node[i] = v })...)
		}
	default:
		return []leaf{{tree, set}}
	}
	return leaves
}

// everyDevice has all interfaces that cfg names.
func everyDevice(cfg Config) map[string]device {
	names := []string{cfg.Underlay.Interface, cfg.Underlay.Tunnel, cfg.Underlay.VXLAN}
	for _, p := range cfg.Ports {
		names = append(names, p.Interface)
	}
	for _, p := range cfg.Pods {
		names = append(names, p.Interface, p.Switch)
	}
	devices := map[string]device{}
	for _, name := range names {
		if _, ok := devices[name]; !ok && name != "" {
			devices[name] = device{index: len(devices) + 1, mtu: 1500}
		}
	}
	return devices
}

// twoRoles says of an interface that it is two things: both programs would be attached to it.
func twoRoles(cfg Config) string {
	roles := map[string]string{}
	problem := ""
	add := func(name, role string) {
		if other, ok := roles[name]; ok && name != "" {
			problem = fmt.Sprintf("%s is %s and %s, and accepted", name, other, role)
		}
		roles[name] = role
	}
	add(cfg.Underlay.Interface, "the underlay")
	add(cfg.Underlay.Tunnel, "the tunnel")
	add(cfg.Underlay.VXLAN, "the VXLAN device")
	for _, p := range cfg.Ports {
		add(p.Interface, "the port of "+p.Vpc)
	}
	for _, p := range cfg.Pods {
		add(p.Interface, "a pod's")
		add(p.Switch, "a switch's")
	}
	return problem
}

type compiled struct {
	*testing.T
	maps map[string]entries
}

// wantReadable holds every entry against its map's sizes and its decoder.
func (m compiled) wantReadable(spec *ebpf.CollectionSpec, cfg Config) {
	d := dumper{clusters: map[uint64]string{}}
	for _, c := range cfg.Clusters {
		d.clusters[clusterID(c.Name)] = c.Name
	}
	for name, content := range m.maps {
		for key, value := range content {
			if len(key) != int(spec.Maps[name].KeySize) || !isCounter[name] && len(value) != int(spec.Maps[name].ValueSize) {
				m.Errorf("%s: %d → %d bytes", name, len(key), len(value))
			}
			if line, err := d.line(name, []byte(key), value); err != nil {
				m.Errorf("%s: %q: %v", name, line, err)
			}
		}
	}
}

// entry wants a map to have a key, with this value.
func (m compiled) entry(name string, key, value []byte) {
	m.Helper()
	if got, ok := m.maps[name][string(key)]; !ok || value != nil && !bytes.Equal(got, value) {
		m.Errorf("%s: key %x has %x (%v), want %x", name, key, got, ok, value)
	}
}

// want holds the maps against what cfg says, by the encoders alone.
func (m compiled) want(cfg Config, devices map[string]device) {
	for _, p := range cfg.Ports {
		if p.Interface != "" {
			m.entry(gatewayMapTomboloPorts, encodeUint32(uint32(devices[p.Interface].index)), encodeUint32(p.VNI))
		}
		for _, prefix := range p.Local {
			m.entry(gatewayMapTomboloLocals, prefixKey{p.VNI, prefix}.encode(), nil)
		}
		for _, r := range p.Remotes {
			for _, prefix := range r.Prefixes {
				if slices.Contains(p.Local, prefix) {
					continue // what is here is not there
				}
				m.entry(gatewayMapTomboloRemotes, prefixKey{p.VNI, prefix}.encode(), remoteEntry{cluster: clusterID(r.Cluster), vni: r.VNI}.encode())
			}
		}
		if p.Address.IsValid() {
			m.entry(gatewayMapTomboloRemotes, prefixKey{p.VNI, netip.PrefixFrom(p.Address, 32)}.encode(), remoteEntry{own: true}.encode())
		}
	}
	for _, c := range cfg.Clusters {
		way := devices[cfg.Underlay.Interface]
		if c.Encrypted {
			way = devices[cfg.Underlay.Tunnel]
		}
		mtu := way.mtu
		if c.MTU != 0 {
			mtu = min(mtu, c.MTU)
		}
		m.entry(gatewayMapTomboloClusters, encodeUint64(clusterID(c.Name)), clusterEntry{name: c.Name, endpoints: firstOf(c.Endpoints), encrypted: c.Encrypted, mtu: uint32(mtu)}.encode())
		for _, a := range c.Senders {
			m.sender(a, c.Name)
		}
	}
	for _, r := range cfg.Relays {
		m.entry(gatewayMapTomboloRelays, relayKey{clusterID(r.From), clusterID(r.To), r.VNI}.encode(), nil)
		for _, prefix := range r.Sources {
			m.entry(gatewayMapTomboloTransit, prefixKey{r.VNI, prefix}.encode(), remoteEntry{cluster: clusterID(r.From), vni: r.VNI}.encode())
		}
	}
	for _, p := range cfg.Pods {
		got, err := decodePlace(m.maps[gatewayMapTomboloPlaces][string(endpointKey{p.VNI, p.Address}.encode())])
		if err != nil || got.ifindex != uint32(devices[p.Interface].index) {
			m.Errorf("pod %s of vni %d is behind %+v (%v)", p.Address, p.VNI, got, err)
		}
	}
	for _, h := range cfg.Own.Hosts {
		here := slices.ContainsFunc(cfg.Pods, func(p Pod) bool { return p.VNI == h.VNI && p.Address == h.Address })
		got, err := decodePlace(m.maps[gatewayMapTomboloPlaces][string(endpointKey{h.VNI, h.Address}.encode())])
		if err != nil || !here && got.node != h.Node {
			m.Errorf("host of %s in vni %d is %+v (%v)", h.Address, h.VNI, got, err)
		}
	}
}

func (m compiled) sender(a netip.Addr, cluster string) {
	m.Helper()
	got, err := decodeSource(m.maps[gatewayMapTomboloSources][string(a.AsSlice())])
	if err != nil || got.cluster != clusterID(cluster) {
		m.Errorf("%s sends for %+v (%v), want %s", a, got, err, cluster)
	}
}
