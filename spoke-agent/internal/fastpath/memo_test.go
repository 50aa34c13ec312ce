// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestMemo sends packets of a pair of addresses that the programs remember: most go on as the first did, and the rest as if
// nothing were remembered.
func TestMemo(t *testing.T) {
	l := newLearner(t)
	const node = "198.51.100.3"
	good := relayed{src: node, dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{ttl: 9, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}}
	// to is the MAC address that a packet is delivered to, nil when it is dropped.
	receives := func(reason string, to []byte, change func(*relayed)) {
		t.Helper()
		r := good
		change(&r)
		verdict, after := l.run(t, l.in, "ul0", originated(r.bytes(underlayMAC, someMAC), node))
		if to == nil && verdict != dropped || to != nil && (verdict != redirect || !bytes.Equal(after[:6], to)) {
			t.Errorf("%s: verdict %d, to %x, want %x", reason, verdict, after[:6], to)
		}
	}
	sends := func(reason string, want int32, change func(*ip4)) {
		t.Helper()
		p := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1000, 53, nil)}
		change(&p)
		if verdict, _ := l.run(t, l.pod, "pod0", ethernet(subnetMAC, podMAC, 0x0800, p.bytes())); verdict != want {
			t.Errorf("%s: verdict %d, want %d", reason, verdict, want)
		}
	}
	known := func() {
		t.Helper()
		for range 2 {
			receives("as it is", podMAC, func(*relayed) {})
			if got := l.answerTo(t, "10.1.2.3"); got != node {
				t.Errorf("the answer goes to %s", got)
			}
		}
	}
	for reason, tc := range map[string]struct {
		to     []byte
		change func(*relayed)
	}{
		"TCP":                       {podMAC, func(r *relayed) { r.inner.protocol, r.inner.payload = tcp, make([]byte, 20) }},
		"another gateway of west's": {podMAC, func(r *relayed) { r.src = "198.51.100.1" }},
		"options":                   {routerMAC, func(r *relayed) { r.inner.options = []byte{1, 1, 1, 0} }},
		"TTL ends":                  {routerMAC, func(r *relayed) { r.inner.ttl = 1 }},
		"too big":                   {routerMAC, func(r *relayed) { r.inner.payload = make([]byte, 1381) }},
		"another cluster's gateway": {nil, func(r *relayed) { r.src = "203.0.113.1" }},
		"another Vpc's":             {nil, func(r *relayed) { r.vni = 400 }},
	} {
		known()
		receives(reason, tc.to, tc.change)
	}
	for reason, change := range map[string]func(*ip4){
		"options":  func(p *ip4) { p.options = []byte{1, 1, 1, 0} },
		"TTL ends": func(p *ip4) { p.ttl = 1 },
		"fragment": func(p *ip4) { p.frag = 0x2000 },
	} {
		known()
		sends(reason, next, change)
	}
	cfg := directConfig()
	cfg.Clusters[0].Senders = slices.Clone(cfg.Clusters[0].Endpoints)
	l.ns.MustDo(t, func() error { return l.f.Set(cfg) })
	if got := l.answerTo(t, "10.1.2.3"); got != chosen("10.1.2.3") {
		t.Errorf("the origin is no sender any more, and the answer goes to %s", got)
	}
	receives("its sender is gone", nil, func(*relayed) {})
	receives("by a gateway", podMAC, func(r *relayed) { r.src = "198.51.100.1" })
	cfg.Pods = cfg.Pods[1:]
	l.ns.MustDo(t, func() error { return l.f.Set(cfg) })
	receives("the pod is gone", routerMAC, func(r *relayed) { r.src = "198.51.100.1" })
}

// TestMemoSizes holds what tests empty against what programs write.
func TestMemoSizes(t *testing.T) {
	spec, err := loadGateway()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"next_hop": 32, "taken": 88, "sent": 64} {
		var s *btf.Struct
		if err := spec.Types.TypeByName(name, &s); err != nil {
			t.Fatal(err)
		}
		if s.Size != want || want%8 != 0 {
			t.Errorf("struct %s has %d bytes, want %d", name, s.Size, want)
		}
	}
}
