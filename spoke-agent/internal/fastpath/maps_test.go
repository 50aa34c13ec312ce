// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// TestLayout holds maps.go against what clang made of bpf/layout.h.
func TestLayout(t *testing.T) {
	spec, err := loadGateway()
	if err != nil {
		t.Fatal(err)
	}
	any4 := netip.MustParseAddr("192.0.2.1")
	for name, tc := range map[string]struct {
		reason     string
		key, value []byte
	}{
		gatewayMapTomboloUnderlay:    {"struct underlay", encodeUint32(0), underlayEntry{address: any4}.encode()},
		gatewayMapTomboloPorts:       {"ifindex → VNI", encodeUint32(1), encodeUint32(1)},
		gatewayMapTomboloVnis:        {"struct delivery", encodeUint32(1), deliveryEntry{}.encode()},
		gatewayMapTomboloRemotes:     {"struct prefix → struct remote", prefixKey{prefix: netip.PrefixFrom(any4, 32)}.encode(), remoteEntry{}.encode()},
		gatewayMapTomboloLocals:      {"struct prefix", prefixKey{prefix: netip.PrefixFrom(any4, 32)}.encode(), encodeUint32(1)},
		gatewayMapTomboloClusters:    {"struct cluster", encodeUint64(1), clusterEntry{}.encode()},
		gatewayMapTomboloSources:     {"address → struct source", any4.AsSlice(), sourceEntry{}.encode()},
		gatewayMapTomboloFlows:       {"struct flow", flowKey{}.encode(), make([]byte, binary.Size(flowCount{}))},
		gatewayMapTomboloSlots:       {"struct flow → number", flowKey{}.encode(), encodeUint32(1)},
		gatewayMapTomboloCounts:      {"number → struct flow_count", encodeUint32(1), make([]byte, binary.Size(flowCount{}))},
		gatewayMapTomboloEvents:      {"reason → number", encodeUint32(0), encodeUint64(0)},
		gatewayMapTomboloTransit:     {"struct prefix → struct remote", prefixKey{prefix: netip.PrefixFrom(any4, 32)}.encode(), remoteEntry{}.encode()},
		gatewayMapTomboloRelays:      {"struct relay", relayKey{}.encode(), make([]byte, binary.Size(flowCount{}))},
		gatewayMapTomboloEpoch:       {"the word that epoch.go maps", encodeUint32(0), encodeUint64(0)},
		gatewayMapTomboloCache:       {"half a cache line: only programs write it", encodeUint32(0), make([]byte, 32)},
		gatewayMapTomboloOrigins:     {"as the cache", encodeUint32(0), make([]byte, 32)},
		gatewayMapTomboloPods:        {"ifindex → struct pod", encodeUint32(1), podEntry{}.encode()},
		gatewayMapTomboloPlaces:      {"struct endpoint → struct place", endpointKey{1, any4}.encode(), placeEntry{}.encode()},
		gatewayMapTomboloLookups:     {"hit, miss → number", encodeUint32(0), encodeUint64(0)},
		gatewayMapTomboloNames:       {"VNI → name", encodeUint32(1), encodeName("shop/blue")},
		gatewayMapTomboloSampling:    {"struct sampling", encodeUint32(0), samplingEntry{}.encode()},
		gatewayMapTomboloObservation: {"struct record and two numbers: only programs write it", encodeUint32(0), make([]byte, recordSize+16)},
		gatewayMapTomboloRecords:     {"a ring has neither", nil, nil},
	} {
		m := spec.Maps[name]
		if m == nil || int(m.KeySize) != len(tc.key) || int(m.ValueSize) != len(tc.value) {
			t.Errorf("%s: %s has other sizes: %v, encoded %d → %d bytes", name, tc.reason, m, len(tc.key), len(tc.value))
		}
		if m != nil && m.Pinning != ebpf.PinByName {
			t.Errorf("%s is not pinned: a restart would lose it", name)
		}
		delete(spec.Maps, name)
	}
	// What programs alone read and write, each CPU its own, begins anew with each set of programs.
	for _, name := range []string{gatewayMapTomboloNextHops, gatewayMapTomboloTaken, gatewayMapTomboloSent} {
		if m := spec.Maps[name]; m == nil || m.Pinning != ebpf.PinNone || m.Type != ebpf.PerCPUArray {
			t.Errorf("%s: programs of another layout must not find it: %v", name, m)
		}
		delete(spec.Maps, name)
	}
	for name := range spec.Maps {
		t.Errorf("map %s is in no test", name)
	}
}

// TestEvents holds the names against enum event: a reason without a name would count for another one.
func TestEvents(t *testing.T) {
	spec, err := loadGateway()
	if err != nil {
		t.Fatal(err)
	}
	var events *btf.Enum
	if err := spec.Types.TypeByName("event", &events); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, reason := range dropReasons {
		names = append(names, "drop_"+reason)
	}
	for _, reason := range slowReasons {
		names = append(names, "slow_"+reason)
	}
	var inC []string
	for i, v := range events.Values {
		if int(v.Value) != i {
			t.Errorf("%s is %d, at place %d", v.Name, v.Value, i)
		}
		inC = append(inC, strings.ToLower(v.Name))
	}
	if diff := cmp.Diff(append(names, "events"), inC); diff != "" {
		t.Errorf("names (-Go +C):\n%s", diff)
	}
}

func TestEncode(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		got, want []byte
	}{
		"prefix":    {"length with the VNI's 32 bits; VNI and address as on the wire, or the trie would compare wrong bits first", prefixKey{0x123456, netip.MustParsePrefix("10.1.0.0/16")}.encode(), append(encodeUint32(48), 0, 0x12, 0x34, 0x56, 10, 1, 0, 0)},
		"relay":     {"from before to", relayKey{1, 2, 0x123456}.encode(), append(append(encodeUint64(1), encodeUint64(2)...), append(encodeUint32(0x123456), 0, 0, 0, 0)...)},
		"underlay":  {"address and port as on the wire", underlayEntry{1, 1500, netip.MustParseAddr("192.0.2.1"), 4789, [6]byte{2, 0, 0, 0, 0, 7}, 9, 1440, 3, 5, 4790, true}.encode(), append(append(append(append(append(append(encodeUint32(1), encodeUint32(1500)...), 192, 0, 2, 1, 0x12, 0xb5, 2, 0, 0, 0, 0, 7), append(encodeUint32(9), encodeUint32(1440)...)...), encodeUint32(3)...), encodeUint64(5)...), 0x12, 0xb6, 1, 0, 0, 0, 0, 0)},
		"delivery":  {"router before gateway", deliveryEntry{7, [6]byte{1}, [6]byte{2}, 1400, netip.MustParseAddr("192.0.2.1")}.encode(), append(append(append(encodeUint32(7), 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0), encodeUint32(1400)...), 192, 0, 2, 1)},
		"cluster":   {"name, encrypted, MTU, number, endpoints, zeros", clusterEntry{"west", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, true, 1440}.encode(), append(append(append(append(append([]byte("west"), make([]byte, 60)...), encodeUint32(1)...), encodeUint32(1440)...), encodeUint32(1)...), append([]byte{192, 0, 2, 1}, make([]byte, 60)...)...)},
		"source":    {"cluster, interface, and whether it is this node's own cluster", sourceEntry{7, 9, true}.encode(), append(append(encodeUint64(7), encodeUint32(9)...), encodeUint32(1)...)},
		"clusterID": {"the first 8 bytes of the SHA-256 (echo -n west | sha256sum), as every gateway computes it", binary.BigEndian.AppendUint64(nil, clusterID("west")), []byte{0x76, 0xa7, 0x96, 0x20, 0x8b, 0x71, 0x77, 0x9c}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		err    error
	}{
		"prefix short":    {"half an entry", second(decodePrefix([]byte{1}))},
		"prefix length":   {"shorter than the VNI", second(decodePrefix(append(encodeUint32(31), make([]byte, 8)...)))},
		"prefix bits":     {"the kernel keeps what is behind the length, but no code here wrote it", second(decodePrefix(append(encodeUint32(32), 0, 0, 0, 1, 10, 0, 0, 0)))},
		"remote":          {"there are two kinds of own", second(decodeRemote(append(make([]byte, 12), encodeUint32(3)...)))},
		"relay length":    {"half an entry", second(decodeRelay(make([]byte, 23)))},
		"cluster":         {"more endpoints than there is room", second(decodeCluster(append(append(make([]byte, 72), encodeUint32(17)...), make([]byte, 64)...)))},
		"cluster name":    {"no end", second(decodeCluster(append(bytes.Repeat([]byte("x"), 64), make([]byte, 76)...)))},
		"cluster flag":    {"encrypted is a truth value", second(decodeCluster(append(append(make([]byte, 64), encodeUint32(2)...), make([]byte, 72)...)))},
		"source length":   {"half an entry", second(decodeSource(make([]byte, 8)))},
		"flow direction":  {"there are two", second(decodeFlow(append(append(make([]byte, 16), encodeUint32(2)...), 0, 0, 0, 0)))},
		"flow path":       {"there are three", second(decodeFlow(append(make([]byte, 20), encodeUint32(3)...)))},
		"source own":      {"own is a truth value", second(decodeSource(append(make([]byte, 12), encodeUint32(2)...)))},
		"pod length":      {"half an entry", second(decodePod(make([]byte, 23)))},
		"place length":    {"half an entry", second(decodePlace(make([]byte, 23)))},
		"endpoint length": {"half an entry", second(decodeEndpoint(make([]byte, 7)))},
		"name":            {"no end", second(decodeName(bytes.Repeat([]byte("x"), maxVpc)))},
		"sampling":        {"drops is a truth value", second(decodeSampling(append(make([]byte, 12), encodeUint32(2)...)))},
		"record program":  {"there is none of that number", second(decodeRecord(append(make([]byte, recordSize-4), 0, byte(len(programNames)), 0, 0)))},
		"record event":    {"no reason of that number", second(decodeRecord(append(make([]byte, recordSize-4), 0, 0, byte(len(dropReasons)+len(slowReasons)+1), 0)))},
		"underlay length": {"half an entry", second(decodeUnderlay(make([]byte, 16)))},
		"delivery length": {"half an entry", second(decodeDelivery(make([]byte, 15)))},
	} {
		if tc.err == nil {
			t.Errorf("%s: %s, and it is decoded", name, tc.reason)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// FuzzDecode: what decodes, encodes to the same bytes; nothing panics.
func FuzzDecode(f *testing.F) {
	for _, cfg := range []Config{storyConfig()} {
		for _, content := range compile(cfg, map[string]device{"ul0": {index: 1, mtu: 1500}, "tbg100": {index: 2, mtu: 1450}}) {
			for key, value := range content {
				f.Add([]byte(key))
				f.Add(value)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		same(t, b, decodeUnderlay, 42)
		same(t, b, decodeSampling, 16)
		same(t, b, decodeRelay, 20)
		same(t, b, decodeDelivery, 24)
		same(t, b, decodePrefix, 12)
		same(t, b, decodeRemote, 16)
		same(t, b, decodeFlow, 24)
		same(t, b, decodeSource, 16)
		same(t, b, decodePod, 24)
		same(t, b, decodePlace, 24)
		same(t, b, decodeEndpoint, 8)
		if e, err := decodeCluster(b); err == nil && !bytes.HasPrefix(b, e.encode()[:72+4*len(e.endpoints)]) {
			t.Errorf("%+v encodes to other bytes", e)
		}
	})
}

// FuzzRecord: what comes out of the ring is decoded, whatever it is, and has words.
func FuzzRecord(f *testing.F) {
	f.Add(make([]byte, recordSize))
	f.Add(append(make([]byte, recordSize-4), tcp, 2, byte(len(dropReasons)+len(slowReasons)), 0))
	f.Add(append(make([]byte, recordSize-4), tcp, byte(len(programNames)), 0, 0))
	f.Add(append(make([]byte, recordSize-4), tcp, 0, 255, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeRecord(b)
		if err != nil {
			return
		}
		r := recordNames{boot: time.Unix(1_700_000_000, 0)}.record(e)
		if r.Verdict == "" || r.Direction == "" || r.Program == "" || (r.Verdict == "forwarded") != (r.Reason == "") {
			t.Errorf("%x becomes %+v", b, r)
		}
		if line, err := json.Marshal(r); err != nil || !json.Valid(line) {
			t.Errorf("%+v has no line: %s (%v)", r, line, err)
		}
	})
}

// FuzzEncode: what validate lets pass, every encoder writes in the size of its map, and decodes to what it was.
func FuzzEncode(f *testing.F) {
	f.Add(uint32(100), uint32(500), "west", "south", uint32(10<<24), uint8(24), uint16(4789))
	f.Add(uint32(maxVNI), uint32(1), strings.Repeat("x", maxClusterName), "x", ^uint32(0), uint8(32), uint16(1))
	f.Add(uint32(30), uint32(1), "a", "\x00", uint32(0), uint8(24), uint16(1))
	f.Fuzz(func(t *testing.T, vni, other uint32, from, to string, address uint32, bits uint8, port uint16) {
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, address)))
		prefix := netip.PrefixFrom(a, int(bits)).Masked()
		b := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, ^address)))
		cfg := Config{
			Underlay: Underlay{Interface: "ul0", Address: a, UDPPort: port},
			Clusters: []Cluster{{Name: from, Endpoints: []netip.Addr{b}}, {Name: to}},
			Ports: []Port{{Interface: "tbg", VNI: vni, GatewayMAC: "02:00:00:00:00:01", RouterMAC: "02:00:00:00:00:02", Address: b,
				Local: []netip.Prefix{prefix}, Remotes: []Remote{{VNI: other, Cluster: from, Prefixes: []netip.Prefix{prefix}}}}},
			Relays: []Relay{{VNI: other, From: from, To: to, Sources: []netip.Prefix{prefix}}},
		}
		if validate(cfg) != nil {
			return
		}
		spec, err := loadGateway()
		if err != nil {
			t.Fatal(err)
		}
		d := dumper{clusters: map[uint64]string{clusterID(from): from, clusterID(to): to}}
		for name, content := range compile(cfg, map[string]device{"ul0": {index: 1, mtu: 1500}, "tbg": {index: 2, mtu: 1450}}) {
			for key, value := range content {
				if len(key) != int(spec.Maps[name].KeySize) || !isCounter[name] && len(value) != int(spec.Maps[name].ValueSize) {
					t.Errorf("%s: %d → %d bytes", name, len(key), len(value))
				}
				if line, err := d.line(name, []byte(key), value); err != nil {
					t.Errorf("%s: %q: %v", name, line, err)
				}
			}
		}
		if got, err := decodePrefix((prefixKey{vni, prefix}).encode()); err != nil || got != (prefixKey{vni, prefix}) {
			t.Errorf("%v of vni %d decodes to %+v (%v)", prefix, vni, got, err)
		}
		relay := relayKey{clusterID(from), clusterID(to), other}
		if got, err := decodeRelay(relay.encode()); err != nil || got != relay {
			t.Errorf("%+v decodes to %+v (%v)", relay, got, err)
		}
	})
}

// same compares the first n bytes: what follows is unused.
func same[T interface{ encode() []byte }](t *testing.T, b []byte, decode func([]byte) (T, error), n int) {
	t.Helper()
	e, err := decode(b)
	if err == nil && !bytes.Equal(e.encode()[:n], b[:n]) {
		t.Errorf("%+v encodes to %x, and came from %x", e, e.encode(), b)
	}
}
