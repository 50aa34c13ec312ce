// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// learner sends packets for the pod 10.1.1.2, and its answers, through the programs or, while TestCoverage runs, their twins.
type learner struct {
	ns      *linktest.Namespace
	f       *Fastpath
	in, pod *ebpf.Program
}

func newLearner(t *testing.T) learner {
	t.Helper()
	ns, f := directGateway(t)
	l := learner{ns, f, f.programs.TomboloIn, f.programs.TomboloPod}
	if coverage != nil {
		w, err := coverage.of(f)
		if err != nil {
			t.Fatal(err)
		}
		l.in, l.pod = w.programs[gatewayProgTomboloIn], w.programs[gatewayProgTomboloPod]
	}
	return l
}

func (l learner) run(t *testing.T, p *ebpf.Program, ifname string, packet []byte) (verdict int32, after []byte) {
	t.Helper()
	l.ns.MustDo(t, func() error {
		devices, _, err := findDevices(storyConfig())
		if err != nil {
			return err
		}
		verdict, after, err = runProgram(p, packet, skbContext{Ifindex: uint32(devices[ifname].index)})
		return err
	})
	return verdict, after
}

// receive gives the pod a packet, which must arrive.
func (l learner) receive(t *testing.T, sender, src, origin string) {
	t.Helper()
	packet := relayed{src: sender, dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{tos: 1, ttl: 9, protocol: udp, src: src, dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}}.bytes(underlayMAC, someMAC)
	if origin != "" {
		packet = originated(packet, origin)
	}
	if verdict, _ := l.run(t, l.in, "ul0", packet); verdict != redirect {
		t.Fatalf("a packet from %s by %s is not delivered: verdict %d", src, sender, verdict)
	}
}

// answerTo returns the outer destination of a packet that the pod sends.
func (l learner) answerTo(t *testing.T, dst string) string {
	t.Helper()
	verdict, after := l.run(t, l.pod, "pod0", ethernet(subnetMAC, podMAC, 0x0800,
		ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: dst, payload: udpDatagram(1000, 53, nil)}.bytes()))
	if verdict != redirect {
		t.Fatalf("the answer to %s does not go out: verdict %d", dst, verdict)
	}
	return netip.AddrFrom4([4]byte(after[30:34])).String()
}

// forget is what some ticks of the clock do: until then a memo may keep the programs from learning again what they know.
func (l learner) forget(t *testing.T) {
	t.Helper()
	if err := forget[[88]byte](l.f, gatewayMapTomboloTaken); err != nil {
		t.Fatal(err)
	}
}

// chosen is the gateway of west for the pod's packet to dst.
func chosen(dst string) string {
	endpoint, _ := to(flowHash("10.1.1.2", dst, udp, 1000, 53), "198.51.100.1", "198.51.100.2")
	return endpoint
}

func TestLearn(t *testing.T) {
	l := newLearner(t)
	const node = "198.51.100.3"
	number := 0
	for name, tc := range map[string]struct {
		reason         string
		sender, origin string
		learned        bool
	}{
		"of the node itself":  {"one round trip", node, node, true},
		"through a gateway":   {"the origin stays what it was", "198.51.100.2", node, true},
		"through our gateway": {"and on two ways", "192.0.2.8", node, true},
		"no origin":           {"the gateway knows no better", "198.51.100.1", "", false},
		"nobody's":            {"an address that may not send", "198.51.100.1", "198.51.100.77", false},
		"another cluster's":   {"south may not draw west's packets to itself", "198.51.100.1", "203.0.113.1", false},
		"this cluster's":      {"a node that has none of west's pods", "198.51.100.1", "192.0.2.9", false},
		"this node's":         {"packets to itself", "198.51.100.1", "192.0.2.1", false},
		"encrypted cluster's": {"vault's", "198.51.100.1", "203.0.113.9", false},
	} {
		t.Run(name, func(t *testing.T) {
			number++
			pod := fmt.Sprintf("10.1.2.%d", number)
			l.receive(t, tc.sender, pod, tc.origin)
			want := chosen(pod)
			if tc.learned {
				want = node
			}
			if got := l.answerTo(t, pod); got != want {
				t.Errorf("%s: the answer goes to %s, want %s", tc.reason, got, want)
			}
			line := fmt.Sprintf("origin vni=100 %s → %s\n", pod, node)
			if got := strings.Contains(dump(t, l.f), line); got != tc.learned {
				t.Errorf("%s: the dump has %q: %v", tc.reason, line, got)
			}
			// Once more, when it is known.
			l.receive(t, tc.sender, pod, tc.origin)
			if got := l.answerTo(t, pod); got != want {
				t.Errorf("%s: the second answer goes to %s, want %s", tc.reason, got, want)
			}
		})
	}
	t.Run("another address", func(t *testing.T) {
		l.receive(t, node, "10.1.2.100", node)
		if got := l.answerTo(t, "10.1.2.101"); got != chosen("10.1.2.101") {
			t.Errorf("what is learned of one pod sends another one's packets to %s", got)
		}
	})
	t.Run("a pod that moves", func(t *testing.T) {
		for _, at := range []string{node, "198.51.100.2", node} {
			l.forget(t) // another CPU may remember that it has learned the first place, for some ticks
			l.receive(t, at, "10.1.2.102", at)
			if got := l.answerTo(t, "10.1.2.102"); got != at {
				t.Errorf("the answer goes to %s, want %s", got, at)
			}
		}
	})
	t.Run("what is passed on is not learned", func(t *testing.T) {
		packet := originated(relayed{src: node, dst: "192.0.2.1", ttl: 63, vni: 100,
			inner: ip4{tos: 1, ttl: 9, protocol: udp, src: "10.1.2.103", dst: "10.1.1.9", payload: udpDatagram(53, 1000, nil)}}.bytes(underlayMAC, someMAC), node)
		if verdict, _ := l.run(t, l.in, "ul0", packet); verdict != redirect {
			t.Fatalf("verdict %d", verdict)
		}
		if got := l.answerTo(t, "10.1.2.103"); got != chosen("10.1.2.103") {
			t.Errorf("another node's pod gets a packet, and this one's answers go to %s", got)
		}
	})
	t.Run("slots", func(t *testing.T) { l.testSlots(t) })
	t.Run("it ages", func(t *testing.T) { l.testAge(t) })
	t.Run("a sender that goes", func(t *testing.T) {
		l.receive(t, node, "10.1.2.104", node)
		cfg := directConfig()
		cfg.Clusters[0].Senders = slices.Clone(cfg.Clusters[0].Endpoints)
		l.ns.MustDo(t, func() error { return l.f.Set(cfg) })
		if got := l.answerTo(t, "10.1.2.104"); got != chosen("10.1.2.104") {
			t.Errorf("the next packet goes to %s, which is no sender any more", got)
		}
	})
}

// testAge makes what was learned older than it is.
func (l learner) testAge(t *testing.T) {
	const node, pod = "198.51.100.3", "10.1.2.105"
	older := func(by time.Duration) time.Duration {
		now, err := kernelClock()
		if err != nil {
			t.Fatal(err)
		}
		e := originEntry{
			pod: endpointKey{100, netip.MustParseAddr(pod)}, epoch: l.f.epoch.word.Load(), origin: netip.MustParseAddr(node), since: now - by,
		}
		if err := l.f.maps[gatewayMapTomboloOrigins].Put(e.slot(), e.encode()); err != nil {
			t.Fatal(err)
		}
		l.forget(t)
		return e.since
	}
	since := func() time.Duration {
		e := originEntry{pod: endpointKey{100, netip.MustParseAddr(pod)}}
		b, err := l.f.maps[gatewayMapTomboloOrigins].LookupBytes(e.slot())
		if err != nil {
			t.Fatal(err)
		}
		got, ok := decodeOrigin(e.slot(), b)
		if !ok || got.origin.String() != node {
			t.Fatalf("the slot has %+v", got)
		}
		return got.since
	}
	for age, want := range map[time.Duration]string{0: node, 4 * time.Second: node, 6 * time.Second: chosen(pod)} {
		older(age)
		if got := l.answerTo(t, pod); got != want {
			t.Errorf("after %v the answer goes to %s, want %s", age, got, want)
		}
	}
	was := older(2 * time.Second)
	l.receive(t, node, pod, node)
	renewed := since()
	if renewed == was {
		t.Error("a packet does not renew what is older than a second")
	}
	was = older(-time.Minute) // no packet can be that quick
	l.receive(t, node, pod, node)
	if got := since(); got != was {
		t.Errorf("what is new is written again: %v, then %v", was, got)
	}
}

// testSlots puts answers to other questions into the slots where the programs look, and halves of answers.
func (l learner) testSlots(t *testing.T) {
	const node, pod = "198.51.100.3", "10.1.2.106"
	now, err := kernelClock()
	if err != nil {
		t.Fatal(err)
	}
	epoch := l.f.epoch.word.Load()
	at := func(vni uint32, address string, epoch uint64) originEntry {
		return originEntry{pod: endpointKey{vni, netip.MustParseAddr(address)}, epoch: epoch, origin: netip.MustParseAddr(node), since: now}
	}
	slot := at(100, pod, epoch).slot()
	put := func(name string, slot uint32, value []byte) {
		t.Helper()
		if err := l.f.maps[name].Put(slot, value); err != nil {
			t.Fatal(err)
		}
		l.forget(t)
	}
	older := at(100, pod, epoch)
	older.since -= time.Second
	for reason, value := range map[string][]byte{
		"another address": at(100, "10.1.2.107", epoch).encode(),
		"another Vpc":     at(300, pod, epoch).encode(),
		"another epoch":   at(100, pod, epoch-1).encode(),
		"half an answer":  slices.Concat(older.encode()[:24], at(100, pod, epoch).encode()[24:]),
		"nothing":         make([]byte, 32),
		"a cached remote": sealed(uint64(1<<24|100)<<32|uint64(native.Uint32(addr(pod))), epoch, remoteEntry{cluster: 7, vni: 100}),
	} {
		put(gatewayMapTomboloOrigins, slot, value)
		if got := l.answerTo(t, pod); got != chosen(pod) {
			t.Errorf("the slot has %s, and the answer goes to %s", reason, got)
		}
		put(gatewayMapTomboloOrigins, slot, value)
		l.receive(t, node, pod, node)
		if got := l.answerTo(t, pod); got != node {
			t.Errorf("the slot had %s, and nothing is learned: the answer goes to %s", reason, got)
		}
	}
	remote := remoteEntry{cluster: clusterID("south"), vni: 999}
	asked := func(address string) uint64 { return uint64(1<<24|100)<<32 | uint64(native.Uint32(addr(address))) }
	put(gatewayMapTomboloCache, cacheSlot(asked(pod)), sealed(asked("10.1.2.107"), epoch, remote))
	if got := l.answerTo(t, pod); got != node {
		t.Errorf("the cache has another address's cluster, and the answer goes to %s", got)
	}
}
