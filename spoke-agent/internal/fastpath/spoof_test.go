// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// crafted is a packet that anybody may send to a gateway.
type crafted struct {
	relayed
	// etherType of the inner frame, and the first octet of the inner header.
	etherType uint16
	first     byte
}

func (c crafted) bytes() []byte {
	b := c.relayed.bytes(underlayMAC, someMAC)
	b[62], b[63], b[64] = byte(c.etherType>>8), byte(c.etherType), c.first
	return b
}

func (c crafted) String() string {
	return fmt.Sprintf("outer %s ttl %d checksum %d tos %#x, vni %d, inner %s → %s protocol %d tos %#x, type %#x, first octet %#x",
		c.src, c.ttl, c.checksum, 0xb9, c.vni, c.inner.src, c.inner.dst, c.inner.protocol, c.inner.tos, c.etherType, c.first)
}

// crafter makes packets of which most are nearly right.
type crafter struct {
	*rand.Rand
	cfg      Config
	prefixes []netip.Prefix
}

func newCrafter(seed uint64, cfg Config) crafter {
	g := crafter{Rand: rand.New(rand.NewPCG(seed, seed)), cfg: cfg}
	for _, p := range cfg.Ports {
		g.prefixes = append(g.prefixes, p.Local...)
		for _, r := range p.Remotes {
			g.prefixes = append(g.prefixes, r.Prefixes...)
		}
	}
	for _, r := range cfg.Relays {
		g.prefixes = append(append(g.prefixes, r.Sources...), r.Destinations...)
	}
	return g
}

func one[T any](g crafter, of ...T) T { return of[g.IntN(len(of))] }

// address lies in a prefix of the config, next to one, or anywhere.
func (g crafter) address() string {
	p := one(g, g.prefixes...)
	a := p.Addr().As4()
	size := 1 << (32 - p.Bits())
	n := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	switch g.IntN(10) {
	case 0:
		n--
	case 1:
		n += uint32(size)
	case 2:
		n = g.Uint32()
	default:
		n += uint32(g.IntN(size))
	}
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
}

// packet is right but for up to two things, or wholly made up.
func (g crafter) packet() crafted {
	made := g.madeUp()
	if g.IntN(4) == 0 {
		return made
	}
	c := g.right()
	for range g.IntN(3) {
		switch g.IntN(9) {
		case 0:
			c.src = made.src
		case 1:
			c.vni = made.vni
		case 2:
			c.inner.src = made.inner.src
		case 3:
			c.inner.dst = made.inner.dst
		case 4:
			c.ttl = byte(g.IntN(3))
		case 5:
			c.checksum = byte(g.IntN(2))
		case 6:
			c.etherType = made.etherType
		case 7:
			c.first = made.first
		case 8:
			c.inner.src, c.inner.dst = c.inner.dst, c.inner.src
		}
	}
	return c
}

// right is a packet that some gateway of the fleet would send.
func (g crafter) right() crafted {
	c := g.madeUp()
	c.ttl, c.checksum, c.etherType, c.first = 64, 0, 0x0800, 0x45
	var from string
	if g.IntN(2) == 0 {
		r := one(g, g.cfg.Relays...)
		from, c.vni, c.inner.src, c.inner.dst = r.From, r.VNI, g.in(one(g, r.Sources...)), g.in(one(g, r.Destinations...))
	} else {
		p := one(g, g.cfg.Ports...)
		r := one(g, p.Remotes...)
		from, c.vni, c.inner.src, c.inner.dst = r.Cluster, p.VNI, g.in(one(g, r.Prefixes...)), g.in(one(g, p.Local...))
		c.inner.dst = g.pod(p.VNI, c.inner.dst)
	}
	if from == g.cfg.Own.Name || len(g.cfg.Own.Nodes) > 0 && g.IntN(4) == 0 {
		c.src = one(g, g.cfg.Own.Nodes...).String()
		return c
	}
	for _, cluster := range g.cfg.Clusters {
		if senders := sendersIn(cluster); cluster.Name == from && len(senders) > 0 {
			c.src = one(g, senders...).String()
		}
	}
	return c
}

// sendersIn are those that may send for a cluster, as Config says.
func sendersIn(c Cluster) []netip.Addr {
	if len(c.Senders) > 0 {
		return c.Senders
	}
	return c.Endpoints
}

// pod is, often, one whose place the Config knows.
func (g crafter) pod(vni uint32, otherwise string) string {
	known := []string{otherwise}
	for _, p := range g.cfg.Pods {
		if p.VNI == vni {
			known = append(known, p.Address.String())
		}
	}
	for _, h := range g.cfg.Own.Hosts {
		if h.VNI == vni {
			known = append(known, h.Address.String())
		}
	}
	return one(g, known...)
}

func (g crafter) in(p netip.Prefix) string {
	a := p.Addr().As4()
	a[3] += byte(g.IntN(1 << (32 - p.Bits()))) // no prefix of the tests is shorter than 24
	return netip.AddrFrom4(a).String()
}

func (g crafter) madeUp() crafted {
	rare := func(usual, other int) int {
		if g.IntN(30) == 0 {
			return other
		}
		return usual
	}
	return crafted{
		relayed: relayed{
			src:      one(g, "198.51.100.1", "198.51.100.2", "203.0.113.1", "203.0.113.1", "198.51.100.77", "192.0.2.1", "198.51.100.3", "203.0.113.9", "192.0.2.8", "192.0.2.9"),
			dst:      "192.0.2.1",
			ttl:      byte(one(g, 64, 63, 2, rare(64, 1), rare(64, 0))),
			vni:      one(g, 100, 100, 300, 500, 500, 200, 0, 4000, g.Uint32N(1<<24)),
			checksum: byte(rare(0, 7)),
			inner: ip4{
				tos: one(g, 0, 1, 2, 3, byte(g.Uint32())), ttl: byte(g.Uint32()), protocol: one(g, byte(tcp), udp, icmp, byte(g.Uint32())),
				src: g.address(), dst: g.address(), payload: make([]byte, 8),
			},
		},
		etherType: uint16(rare(0x0800, one(g, 0x86dd, 0x0806, 0x8100))),
		first:     byte(rare(0x45, one(g, 0x44, 0x65, 0x05, 0x46))),
	}
}

// judge says from the Config alone what must become of a packet: "deliver", "relay", "next" or the reason of its drop.
// It searches lists, and knows of no map, no trie and no cache.
func judge(cfg Config, c crafted) string {
	sender, encrypted := "", false
	for _, cluster := range cfg.Clusters {
		for _, a := range sendersIn(cluster) {
			if a.String() == c.src {
				sender, encrypted = cluster.Name, cluster.Encrypted
			}
		}
	}
	for _, a := range cfg.Own.Nodes {
		if a.String() == c.src {
			sender = cfg.Own.Name
		}
	}
	var port *Port
	for i := range cfg.Ports {
		if cfg.Ports[i].VNI == c.vni {
			port = &cfg.Ports[i]
		}
	}
	switch {
	case sender == "" && port == nil:
		return "next"
	case sender == "":
		return "unknown_endpoint"
	case encrypted: // and these come in the clear
		return "not_encrypted"
	case c.etherType != 0x0800:
		return "not_ipv4"
	case c.first>>4 != 4 || c.first&15 < 5:
		return "malformed"
	case port == nil:
		return judgeRelay(cfg, c, sender, "unknown_vni")
	case !within(port.Local, c.inner.dst):
		return judgeRelay(cfg, c, sender, "not_local")
	}
	for _, r := range port.Remotes {
		if !within(r.Prefixes, c.inner.src) || port.Address.String() == c.inner.src {
			continue
		}
		switch {
		case sender == cfg.Own.Name && isEncrypted(cfg, r.Cluster):
			return "not_encrypted"
		case sender == cfg.Own.Name || sender == r.Cluster:
			return "deliver"
		}
	}
	return "spoofed_source"
}

func isEncrypted(cfg Config, cluster string) bool {
	for _, c := range cfg.Clusters {
		if c.Name == cluster {
			return c.Encrypted
		}
	}
	return false
}

func judgeRelay(cfg Config, c crafted, sender, otherwise string) string {
	source, target := "", ""
	for _, r := range cfg.Relays {
		if r.VNI != c.vni {
			continue
		}
		for cluster, prefixes := range map[string][]netip.Prefix{r.From: r.Sources, r.To: r.Destinations} {
			if within(prefixes, c.inner.src) {
				source = cluster
			}
			if within(prefixes, c.inner.dst) {
				target = cluster
			}
		}
	}
	allowed := false
	for _, r := range cfg.Relays {
		allowed = allowed || r.VNI == c.vni && r.From == sender && r.To == target
	}
	endpoints := 0
	for _, cluster := range cfg.Clusters {
		if cluster.Name == target {
			endpoints = len(cluster.Endpoints)
		}
	}
	switch {
	case target == "":
		return otherwise
	case source != sender:
		return "spoofed_source"
	case !allowed:
		return "not_relayed"
	case c.ttl <= 1:
		return "ttl"
	case c.checksum != 0:
		return "checksum"
	case endpoints == 0:
		return "no_endpoint"
	}
	return "relay"
}

func within(prefixes []netip.Prefix, address string) bool {
	for _, p := range prefixes {
		if p.Contains(netip.MustParseAddr(address)) {
			return true
		}
	}
	return false
}

// TestSpoof sends 100 000 packets that must not arrive, and those between them that must: no forged one is delivered, by
// tcx or by XDP, each is counted with the reason that the Config gives, and nothing else is counted.
func TestSpoof(t *testing.T) {
	ns, f := relayGateway(t)
	cfg := relayConfig()
	seed := rand.Uint64()
	g := newCrafter(seed, cfg)
	before := counters(t, f).Drops
	want, judged := map[string]uint64{}, map[string]int{}
	ns.MustDo(t, func() error {
		devices, _, err := findDevices(cfg)
		if err != nil {
			return err
		}
		ctx := skbContext{Ifindex: uint32(devices["ul0"].index)}
		for forged := 0; forged < 100_000; {
			c := g.packet()
			packet, judgement := c.bytes(), judge(cfg, c)
			judged[judgement]++
			verdicts := [2]int32{dropped, xdpPass}
			switch judgement {
			case "deliver":
				verdicts[0] = redirect
			case "relay":
				// The kernel knows the way to south only.
				verdicts = [2]int32{redirect, xdpTX}
				if within(prefixes("10.1.2.0/24"), c.inner.dst) {
					verdicts[1] = xdpPass
				}
			case "next":
				verdicts[0] = next // somebody else's VXLAN: for the kernel, and no pod gets it
			default:
				want[judgement]++
				forged++
			}
			tcx, _, err := runProgram(f.programs.TomboloIn, packet, ctx)
			if err != nil {
				return err
			}
			xdp, _, err := runProgram(f.programs.TomboloXdp, packet, ctx)
			if err != nil {
				return err
			}
			if got := [2]int32{tcx, xdp}; got != verdicts {
				return fmt.Errorf("seed %d: verdicts of tcx and XDP %v, want %v, which is %s: %v", seed, got, verdicts, judgement, c)
			}
		}
		return nil
	})
	after := counters(t, f).Drops
	got := map[string]uint64{}
	for reason, n := range after {
		if n != before[reason] {
			got[reason] = n - before[reason]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seed %d: drops (-want +got):\n%s", seed, diff)
	}
	for _, judgement := range []string{"deliver", "relay", "next", "unknown_endpoint", "not_ipv4", "malformed", "unknown_vni", "not_local",
		"spoofed_source", "not_encrypted", "not_relayed", "ttl", "checksum", "no_endpoint"} {
		if judged[judgement] < 10 {
			t.Errorf("seed %d: %d packets are %s: the test makes too few", seed, judged[judgement], judgement)
		}
	}
	t.Logf("seed %d: %v", seed, judged)
}
