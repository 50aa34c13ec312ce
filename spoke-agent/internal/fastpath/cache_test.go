// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// sent is what a packet from shop/blue to 10.1.2.3 causes.
func sent(t *testing.T, ns *linktest.Namespace, f *Fastpath) outcome {
	t.Helper()
	p := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1, 2, nil)}
	return runStory(t, ns, f, f.programs.TomboloOut, "tbg100", ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()), skbContext{})
}

// received is what a packet from 10.1.2.3 to shop/blue causes, that a gateway in the west sent.
func received(t *testing.T, ns *linktest.Namespace, f *Fastpath) outcome {
	t.Helper()
	p := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 100, inner: ip4{ttl: 64, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2"}}
	return runStory(t, ns, f, f.programs.TomboloIn, "ul0", p.bytes(underlayMAC, someMAC), skbContext{})
}

func lookups(t testing.TB, f *Fastpath) (hits, misses uint64) {
	t.Helper()
	hits, misses, err := f.Lookups()
	if err != nil {
		t.Fatal(err)
	}
	return hits, misses
}

// onOneCPU keeps the test on one thread and CPU.
func onOneCPU(t *testing.T, ns *linktest.Namespace, f func() error) {
	t.Helper()
	ns.MustDo(t, func() error {
		if err := pinToCPU(0); err != nil {
			return err
		}
		return f()
	})
}

func TestCache(t *testing.T) {
	ns, f := storyGateway(t)
	out := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3"}.bytes())
	in := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 100, inner: ip4{ttl: 64, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2"}}.bytes(underlayMAC, someMAC)
	lost := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.9.9.9"}.bytes())
	onOneCPU(t, ns, func() error {
		devices, _, err := findDevices(storyConfig())
		if err != nil {
			return err
		}
		for _, step := range []struct {
			reason       string
			set          bool
			program      *ebpf.Program
			ifname       string
			packet       []byte
			hits, misses uint64
		}{
			{"the first packet asks the trie", false, f.programs.TomboloOut, "tbg100", out, 0, 1},
			{"the second does not", false, f.programs.TomboloOut, "tbg100", out, 1, 0},
			{"its answer comes from the same prefix, and only the destination asks", false, f.programs.TomboloIn, "ul0", in, 1, 1},
			{"and then nobody", false, f.programs.TomboloIn, "ul0", in, 2, 0},
			{"a Set that changes nothing leaves the cache", true, f.programs.TomboloIn, "ul0", in, 2, 0},
			{"what has no answer is asked again", false, f.programs.TomboloOut, "tbg100", lost, 0, 1},
			{"and again", false, f.programs.TomboloOut, "tbg100", lost, 0, 1},
		} {
			if step.set {
				if err := f.Set(storyConfig()); err != nil {
					return err
				}
			}
			hits, misses := lookups(t, f)
			if _, _, err := runProgram(step.program, step.packet, skbContext{Ifindex: uint32(devices[step.ifname].index)}); err != nil {
				return err
			}
			hitsAfter, missesAfter := lookups(t, f)
			if hitsAfter-hits != step.hits || missesAfter-misses != step.misses {
				t.Errorf("%s: %d hits and %d misses, want %d and %d", step.reason, hitsAfter-hits, missesAfter-misses, step.hits, step.misses)
			}
		}
		return nil
	})
}

// TestSetActsOnTheNextPacket: answers that are in the cache end with the Set that changes them.
func TestSetActsOnTheNextPacket(t *testing.T) {
	ns, f := storyGateway(t)
	set := func(change func(remotes []Remote)) {
		t.Helper()
		cfg := storyConfig()
		cfg.Ports[0].Remotes = slices.Clone(cfg.Ports[0].Remotes)
		change(cfg.Ports[0].Remotes)
		ns.MustDo(t, func() error { return f.Set(cfg) })
	}
	for name, tc := range map[string]struct {
		reason  string
		change  func(remotes []Remote)
		out, in string
	}{
		"withdrawn":  {"nobody has the prefix", func(r []Remote) { r[0].Prefixes = nil }, "drop no_route", "drop spoofed_source"},
		"moved":      {"the prefix is south's now: west may not send from it", func(r []Remote) { r[0].Prefixes, r[2].Prefixes = nil, prefixes("10.1.2.0/24") }, "shop/blue@south", "drop spoofed_source"},
		"another":    {"the Vpc behind the prefix is another one", func(r []Remote) { r[0].Prefixes, r[1].Prefixes = nil, prefixes("10.1.2.0/24") }, "shop/red@west", "shop/red@west"},
		"split":      {"a longer prefix has the address", func(r []Remote) { r[0].Prefixes, r[1].Prefixes = prefixes("10.1.2.128/25"), prefixes("10.1.2.0/25") }, "shop/red@west", "shop/red@west"},
		"shrunk":     {"the address is not in it any more", func(r []Remote) { r[0].Prefixes = prefixes("10.1.2.128/25") }, "drop no_route", "drop spoofed_source"},
		"to nowhere": {"its cluster has no gateway", func(r []Remote) { r[0].Prefixes, r[3].Prefixes = nil, prefixes("10.1.2.0/24") }, "drop no_endpoint", "drop spoofed_source"},
	} {
		for range 2 { // until every answer is cached
			set(func([]Remote) {})
			wantEffect(t, name+", before", sent(t, ns, f), "shop/blue out shop/blue@west")
			wantEffect(t, name+", before", received(t, ns, f), "shop/blue in shop/blue@west")
		}
		set(tc.change)
		wantEffect(t, name+": "+tc.reason, sent(t, ns, f), effect("out", tc.out))
		wantEffect(t, name+": "+tc.reason, received(t, ns, f), effect("in", tc.in))
	}
}

func effect(direction, want string) string {
	if want[:4] == "drop" {
		return want
	}
	return "shop/blue " + direction + " " + want
}

func wantEffect(t *testing.T, reason string, got outcome, want string) {
	t.Helper()
	var all []string
	for reason := range got.Drops {
		all = append(all, "drop "+reason)
	}
	for flow := range got.Flows {
		all = append(all, flow)
	}
	if len(all) != 1 || all[0] != want {
		t.Errorf("%s: %q, want %q", reason, all, want)
	}
}

// TestCacheSlots puts answers into the very slot that a packet's question comes to. They lead to north, and are another
// address's, another Vpc's, another trie's or an older epoch's: nobody may follow them.
func TestCacheSlots(t *testing.T) {
	ns, f := relayGateway(t)
	inner := func(src, dst string) ip4 { return ip4{ttl: 64, protocol: icmp, src: src, dst: dst} }
	between := func(vni uint32, p ip4) []byte {
		return relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: vni, inner: p}.bytes(underlayMAC, someMAC)
	}
	out := ethernet(gatewayMAC, routerMAC, 0x0800, inner("10.1.1.2", "10.1.2.3").bytes())
	slow, received := loadSlowIn(t, f), ethernet(someMAC, someMAC, 0x0800, inner("10.1.2.3", "10.1.1.2").bytes())
	for name, tc := range map[string]struct {
		program *ebpf.Program
		ifname  string
		packet  []byte
		trie    uint32
		vni     uint32
		address string
	}{
		"source in, slow":              {slow, "ul0", received, 1, 100, "10.1.2.3"},
		"destination in, slow":         {slow, "ul0", received, 2, 100, "10.1.1.2"},
		"destination out":              {f.programs.TomboloOut, "tbg100", out, 1, 100, "10.1.2.3"},
		"source in":                    {f.programs.TomboloIn, "ul0", between(100, inner("10.1.2.3", "10.1.1.2")), 1, 100, "10.1.2.3"},
		"destination in":               {f.programs.TomboloIn, "ul0", between(100, inner("10.1.2.3", "10.1.1.2")), 2, 100, "10.1.1.2"},
		"source relayed":               {f.programs.TomboloIn, "ul0", between(500, inner("10.5.2.3", "10.5.3.2")), 3, 500, "10.5.2.3"},
		"destination relayed":          {f.programs.TomboloIn, "ul0", between(500, inner("10.5.2.3", "10.5.3.2")), 3, 500, "10.5.3.2"},
		"source relayed by XDP":        {f.programs.TomboloXdp, "ul0", between(500, inner("10.5.2.3", "10.5.3.2")), 3, 500, "10.5.2.3"},
		"destination relayed by XDP":   {f.programs.TomboloXdp, "ul0", between(500, inner("10.5.2.3", "10.5.3.2")), 3, 500, "10.5.3.2"},
		"delivered, and so not by XDP": {f.programs.TomboloXdp, "ul0", between(100, inner("10.1.2.3", "10.1.1.2")), 2, 100, "10.1.1.2"},
	} {
		run := func() outcome { return runStory(t, ns, f, tc.program, tc.ifname, tc.packet, from("198.51.100.2", 100)) }
		f.epoch.bump()
		want := run()
		question := func(trie, vni uint32, address string) uint64 {
			return uint64(trie<<24|vni)<<32 | uint64(native.Uint32(addr(address)))
		}
		asked := question(tc.trie, tc.vni, tc.address)
		good, bad := remoteEntry{cluster: clusterID("west"), vni: 100}, remoteEntry{cluster: clusterID("north"), vni: 999}
		for kind, poison := range map[string]func(now uint64) []byte{
			"address":       func(now uint64) []byte { return sealed(question(tc.trie, tc.vni, "10.99.99.99"), now, bad) },
			"Vpc":           func(now uint64) []byte { return sealed(question(tc.trie, 999, tc.address), now, bad) },
			"trie":          func(now uint64) []byte { return sealed(question(tc.trie%3+1, tc.vni, tc.address), now, bad) },
			"epoch":         func(now uint64) []byte { return sealed(asked, now-1, bad) },
			"nothing":       func(uint64) []byte { return make([]byte, 32) },
			"half written":  func(now uint64) []byte { return slices.Concat(sealed(asked, now, good)[:16], bad.encode()) },
			"half, cluster": func(now uint64) []byte { return slices.Concat(sealed(asked, now, good)[:24], bad.encode()[8:]) },
			"half, epoch": func(now uint64) []byte {
				return slices.Concat(sealed(asked, now-1, bad)[:8], sealed(asked, now, bad)[8:])
			},
		} {
			put := func() error {
				return f.maps[gatewayMapTomboloCache].Put(cacheSlot(asked), poison(f.epoch.word.Load()))
			}
			if err := put(); err != nil {
				t.Fatal(err)
			}
			if coverage != nil {
				coverage.prepare = put
			}
			if diff := diffOutcome(run(), want); diff != "" {
				t.Errorf("%s: the slot has the answer of another %s (-want +got):\n%s", name, kind, diff)
			}
		}
		// And a false answer with the right seal is followed: else the test puts them where nobody looks.
		if err := f.maps[gatewayMapTomboloCache].Put(cacheSlot(asked), sealed(asked, f.epoch.word.Load(), bad)); err != nil {
			t.Fatal(err)
		}
		if diff := diffOutcome(run(), want); diff == "" && tc.trie != 2 {
			t.Errorf("%s: a sealed answer is not used", name)
		}
		f.epoch.bump()
	}
}

// sealed is struct cached of bpf/layout.h, with the seal of bpf/cache.h.
func sealed(question, epoch uint64, answer remoteEntry) []byte {
	return sealedWords(question, epoch, answer.encode())
}

func sealedWords(question, epoch uint64, words []byte) []byte {
	seal := question ^ ((epoch*0xff51afd7ed558ccd+native.Uint64(words))*0xc4ceb9fe1a85ec53 + native.Uint64(words[8:]))
	return append(native.AppendUint64(native.AppendUint64(nil, seal), epoch), words...)
}

// cacheSlot is slot_of of bpf/cache.h.
func cacheSlot(question uint64) uint32 {
	return uint32(question * 0x9e3779b97f4a7c15 >> (64 - cacheBits))
}

// TestHalfWritten has maps that name what other maps lack, as they may for an instant while Set changes them.
func TestHalfWritten(t *testing.T) {
	ns, f := relayGateway(t)
	in := relayed{src: "198.51.100.2", dst: "192.0.2.1", ttl: 63, vni: 500, inner: ip4{ttl: 64, protocol: icmp, src: "10.5.2.7", dst: "10.5.3.9"}}
	south := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: icmp, src: "10.1.1.2", dst: "10.1.3.3"}.bytes())
	for _, direction := range []uint32{0, 1} {
		key := flowKey{clusterID("west"), 100, 100, direction, 0}
		if err := f.maps[gatewayMapTomboloFlows].Delete(key.encode()); err != nil {
			t.Fatal(err)
		}
	}
	for reason, got := range map[string]outcome{"sent": sent(t, ns, f), "received": received(t, ns, f)} {
		if got.Verdict != redirect || len(got.Flows)+len(got.Drops) != 0 {
			t.Errorf("%s, without an entry that counts it: %+v, want it forwarded and not counted", reason, got)
		}
	}
	frame := in.bytes(underlayMAC, someMAC)
	encrypted := clusterEntry{name: "south", endpoints: []netip.Addr{netip.MustParseAddr("203.0.113.1")}, encrypted: true}
	if err := f.maps[gatewayMapTomboloClusters].Put(encodeUint64(clusterID("south")), encrypted.encode()); err != nil {
		t.Fatal(err)
	}
	wantEffect(t, "relayed to an encrypted cluster", runStory(t, ns, f, f.programs.TomboloIn, "ul0", frame, skbContext{}), "drop not_encrypted")
	if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloXdp, "ul0", frame, skbContext{}), outcome{Verdict: xdpPass, Packet: frame}); diff != "" {
		t.Errorf("the same by XDP (-want +got):\n%s", diff)
	}
	if err := f.maps[gatewayMapTomboloClusters].Delete(encodeUint64(clusterID("south"))); err != nil {
		t.Fatal(err)
	}
	wantEffect(t, "sent to a cluster that is not in the map", runStory(t, ns, f, f.programs.TomboloOut, "tbg100", south, skbContext{}), "drop no_endpoint")
	wantEffect(t, "relayed to a cluster that is not in the map", runStory(t, ns, f, f.programs.TomboloIn, "ul0", frame, skbContext{}), "drop no_endpoint")
	if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloXdp, "ul0", frame, skbContext{}), outcome{Verdict: xdpPass, Packet: frame}); diff != "" {
		t.Errorf("the same by XDP (-want +got):\n%s", diff)
	}
}

// TestCacheAgrees sends to random addresses between random changes and compares with what the Config says.
func TestCacheAgrees(t *testing.T) {
	ns, f := storyGateway(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	all := make([]netip.Prefix, 64)
	for i := range all {
		all[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i), 0}), 24)
	}
	for change := range 60 {
		cfg := storyConfig()
		owner := map[netip.Prefix]int{}
		for i := range cfg.Ports[0].Remotes[:3] {
			cfg.Ports[0].Remotes[i].Prefixes = nil
		}
		for _, prefix := range all {
			if i := r.IntN(4); i < 3 {
				owner[prefix] = i
				cfg.Ports[0].Remotes[i].Prefixes = append(cfg.Ports[0].Remotes[i].Prefixes, prefix)
			}
		}
		ns.MustDo(t, func() error { return f.Set(cfg) })
		ns.MustDo(t, func() error {
			devices, _, err := findDevices(cfg)
			if err != nil {
				return err
			}
			for range 800 {
				prefix := all[r.IntN(len(all))]
				dst := netip.AddrFrom4([4]byte{172, 16, prefix.Addr().As4()[2], byte(r.IntN(2))})
				frame := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: icmp, src: "10.1.1.2", dst: dst.String()}.bytes())
				verdict, after, err := runProgram(f.programs.TomboloOut, frame, skbContext{Ifindex: uint32(devices["tbg100"].index)})
				if err != nil {
					return err
				}
				i, ok := owner[prefix]
				if !ok {
					if verdict != dropped {
						return fmt.Errorf("seed %d change %d: %s is nobody's, verdict %d", seed, change, dst, verdict)
					}
					continue
				}
				want := cfg.Ports[0].Remotes[i]
				if got := uint32(after[46])<<16 | uint32(after[47])<<8 | uint32(after[48]); verdict != redirect || got != want.VNI ||
					(after[30] == 203) != (want.Cluster == "south") {
					return fmt.Errorf("seed %d change %d: %s went to vni %d, endpoint %v, verdict %d; want %+v", seed, change, dst, got, after[30:34], verdict, want)
				}
			}
			return nil
		})
	}
	hits, misses := lookups(t, f)
	t.Logf("%d hits, %d misses", hits, misses)
	if hits < misses {
		t.Errorf("%d hits, %d misses: the test must meet the cache", hits, misses)
	}
}
