// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAssignSlots(t *testing.T) {
	numbers := func(of map[string]uint32) entries {
		e := entries{}
		for key, slot := range of {
			e[key] = encodeUint32(slot)
		}
		return e
	}
	for name, tc := range map[string]struct {
		reason     string
		want, have map[string]uint32
		got        map[string]uint32
		fresh      []uint32
	}{
		"First": {"0 is none", map[string]uint32{"b": 0, "a": 0}, nil, map[string]uint32{"a": 1, "b": 2}, []uint32{1, 2}},
		"Kept":  {"who has a number keeps it, over restarts", map[string]uint32{"a": 0, "b": 0}, map[string]uint32{"b": 1}, map[string]uint32{"a": 2, "b": 1}, []uint32{2}},
		"Goes":  {"what goes is still counted by its number", map[string]uint32{"b": 0}, map[string]uint32{"a": 1}, map[string]uint32{"b": 2}, []uint32{2}},
		"Gap":   {"the lowest that is free", map[string]uint32{"a": 0, "b": 0, "c": 0}, map[string]uint32{"a": 1, "b": 3}, map[string]uint32{"a": 1, "b": 3, "c": 2}, []uint32{2}},
		"None":  {"nothing to count", nil, map[string]uint32{"a": 1}, nil, nil},
	} {
		want := numbers(tc.want)
		if fresh := assignSlots(want, numbers(tc.have)); !cmp.Equal(tc.fresh, fresh) || !cmp.Equal(numbers(tc.got), want) {
			t.Errorf("%s: %s: %v, new are %v; want %v, %v", name, tc.reason, want, fresh, tc.got, tc.fresh)
		}
	}
	many := entries{}
	for i := range maxSlots + 10 {
		many[fmt.Sprintf("%08d", i)] = nil
	}
	if fresh := assignSlots(many, nil); len(fresh) != maxSlots-1 || len(many) != maxSlots-1 || fresh[len(fresh)-1] != maxSlots-1 {
		t.Errorf("%d flows have a number, the last one %d; want all from 1 to %d, and the others none", len(many), fresh[len(fresh)-1], maxSlots-1)
	}
}

// TestSlots: packets are counted the same whether or not their flow has a number, by the program that comes after a restart as well, and a number that
// another flow had before begins at zero.
func TestSlots(t *testing.T) {
	l := newLearner(t)
	const node = "198.51.100.3"
	in := originated(relayed{src: node, dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{ttl: 9, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}}.bytes(underlayMAC, someMAC), node)
	out := ethernet(subnetMAC, podMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1000, 53, nil)}.bytes())
	exchange := func() {
		t.Helper()
		for range 3 {
			for _, way := range []func() (int32, []byte){
				func() (int32, []byte) { return l.run(t, l.in, "ul0", in) }, func() (int32, []byte) { return l.run(t, l.pod, "pod0", out) },
			} {
				if verdict, _ := way(); verdict != redirect {
					t.Fatalf("verdict %d", verdict)
				}
			}
		}
	}
	last := map[string]uint64{}
	counted := func(reason string, more uint64) {
		t.Helper()
		for _, c := range counters(t, l.f).Flows {
			if c.Path != "pod" || c.VNI != 100 || c.RemoteVNI != 100 || c.Cluster != "west" {
				continue
			}
			if c.Packets != last[c.Direction]+more || c.Bytes != c.Packets*28 {
				t.Errorf("%s: %d packets, %d bytes %s; want %d more than %d", reason, c.Packets, c.Bytes, c.Direction, more, last[c.Direction])
			}
			last[c.Direction] = c.Packets
		}
	}
	numbers := func() entries {
		t.Helper()
		all, err := l.f.read(gatewayMapTomboloSlots)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	exchange()
	counted("with numbers", 3)
	before := numbers()
	l.ns.MustDo(t, func() error { return l.f.Set(directConfig()) })
	if diff := cmp.Diff(before, numbers()); diff != "" {
		t.Errorf("numbers after a Set that changes nothing (-want +got):\n%s", diff)
	}
	counted("after a Set that changes nothing", 0)
	if err := l.f.delete(gatewayMapTomboloSlots, slices.Collect(maps.Keys(before))); err != nil {
		t.Fatal(err)
	}
	for _, c := range counters(t, l.f).Flows { // what was counted by number is not found any more
		if c.Path == "pod" && c.VNI == 100 && c.RemoteVNI == 100 && c.Cluster == "west" {
			last[c.Direction] = c.Packets
		}
	}
	exchange()
	counted("without numbers", 3)
	l.ns.MustDo(t, func() error { return l.f.Set(directConfig()) })
	counted("new numbers begin at zero", 0)
	exchange()
	counted("with new numbers", 3)
}
