// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "testing"

// TestSlowInDirect has what comes out of the kernel's VXLAN device for pods that send by themselves.
func TestSlowInDirect(t *testing.T) {
	ns, f := directGateway(t)
	p := loadSlowIn(t, f)
	west, own := from("198.51.100.3", 100), from("192.0.2.8", 100)
	blue := ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	change := func(f func(*ip4)) ip4 { c := blue; f(&c); return c }
	const flow = "shop/blue in shop/blue@west"
	older := change(func(p *ip4) { p.ttl-- })
	toPod := outcome{Verdict: redirect, Packet: ethernet(podMAC, subnetMAC, 0x0800, older.bytes()), Flows: map[string]string{flow + " by pod": "1/34"}}
	toPort := func(p ip4, count string) outcome {
		return outcome{Verdict: redirect, Packet: toRouter(p), Flows: map[string]string{flow: count}}
	}
	ended, options := change(func(p *ip4) { p.ttl = 1 }), change(func(p *ip4) { p.options = []byte{1, 1, 1, 0} })
	large, elsewhere := change(func(p *ip4) { p.payload = make([]byte, 1381) }), change(func(p *ip4) { p.dst = "10.1.1.9" })
	vault := change(func(p *ip4) { p.src = "10.1.5.3" })
	green := change(func(p *ip4) { p.src, p.dst = "10.4.2.3", "10.4.1.4" })
	for name, s := range map[string]slowInStory{
		"a pod here":                 {"straight into it", inner(blue), west, toPod},
		"of a node of this cluster":  {"which has held it against the law", inner(blue), own, toPod},
		"TTL ends":                   {"the router answers", inner(ended), west, toPort(ended, "1/34")},
		"options":                    {"the router looks at them", inner(options), west, toPort(options, "1/38")},
		"too big for the pod":        {"1401 bytes: the router says so", inner(large), west, toPort(large, "1/1401")},
		"another node's":             {"OVN knows where it is", inner(elsewhere), west, toPort(elsewhere, "1/34")},
		"no port here":               {"shop/green has only pods here, and this is none of them", inner(green), from("198.51.100.3", 400), refused("not_here")},
		"encrypted source of a node": {"what came encrypted is not sent on", inner(vault), own, refused("not_encrypted")},
	} {
		t.Run(name, func(t *testing.T) { s.run(t, ns, f, p) })
	}
	t.Run("no cluster", func(t *testing.T) {
		if err := f.delete(gatewayMapTomboloClusters, []string{string(encodeUint64(clusterID("west")))}); err != nil {
			t.Fatal(err)
		}
		slowInStory{"whether it is encrypted is not known", inner(blue), own, refused("not_encrypted")}.run(t, ns, f, p)
	})
	t.Run("no counter", func(t *testing.T) {
		all, err := f.read(gatewayMapTomboloFlows)
		if err != nil {
			t.Fatal(err)
		}
		for key := range all {
			if err := f.delete(gatewayMapTomboloFlows, []string{key}); err != nil {
				t.Fatal(err)
			}
		}
		toPod.Flows = nil
		slowInStory{"what can't be counted arrives all the same", inner(blue), west, toPod}.run(t, ns, f, p)
	})
}

// TestDirectInTunnel has what came encrypted: it goes to no other node.
func TestDirectInTunnel(t *testing.T) {
	ns, f := directGateway(t)
	cfg := directConfig()
	cfg.Underlay.Tunnel = "ul1"
	ns.IP(t, "link set ul1 mtu 1440 address 02:00:00:00:00:01") // what tombolo_in_tunnel makes up is this node's
	ns.MustDo(t, func() error { return f.Set(cfg) })
	vault := relayed{src: "203.0.113.9", dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{ttl: 3, protocol: udp, src: "10.1.5.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}}
	host, green := vault, vault
	host.inner.dst = "10.1.1.9"
	green.vni, green.inner.src, green.inner.dst = 400, "10.4.5.3", "10.4.1.4"
	older := vault.inner
	older.ttl--
	const flow = "shop/blue in shop/blue@vault"
	for name, tc := range map[string]struct {
		packet relayed
		want   outcome
	}{
		"a pod here":            {vault, outcome{Verdict: redirect, Packet: ethernet(podMAC, subnetMAC, 0x0800, older.bytes()), Flows: map[string]string{flow + " by pod": "1/28"}}},
		"another node's":        {host, outcome{Verdict: redirect, Packet: toRouter(host.inner), Flows: map[string]string{flow: "1/28"}}},
		"not here, and no port": {green, outcome{Verdict: dropped, Packet: green.bytes(underlayMAC, someMAC), Drops: map[string]uint64{"not_here": 1}}},
	} {
		packet := tc.packet.bytes(underlayMAC, someMAC)
		if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloIn, "ul1", packet, skbContext{}), tc.want); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	large := relayed{src: "198.51.100.1", dst: "192.0.2.1", ttl: 63, vni: 100,
		inner: ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.9", payload: make([]byte, 1481)}}.bytes(underlayMAC, someMAC)
	want := outcome{Verdict: dropped, Packet: large, Drops: map[string]uint64{"too_big": 1}}
	if diff := diffOutcome(runStory(t, ns, f, f.programs.TomboloIn, "ul0", large, skbContext{}), want); diff != "" {
		t.Errorf("1501 bytes: the port's business (-want +got):\n%s", diff)
	}
}
