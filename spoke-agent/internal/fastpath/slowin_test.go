// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// slowInTunnelled is tombolo_slow_in behind what gives a packet of BPF_PROG_TEST_RUN the metadata of a tunnel.
const slowInTunnelled = gatewayProgTomboloSlowIn + "_tunnelled"

// tunnelled puts in front of a program what the kernel's VXLAN device does before it: skb->cb[0] is the VNI and cb[1] the
// outer source. VNI 0 is no tunnel. A packet is cut to cb[2] octets if that is not 0, as BPF_PROG_TEST_RUN takes none that is
// shorter than its headers.
func tunnelled(p *ebpf.ProgramSpec) *ebpf.ProgramSpec {
	const (
		cb       = 48 // struct __sk_buff
		key      = 44 // sizeof(struct bpf_tunnel_key)
		keyLocal = 28 // its local_ipv4: what is set as local when sending is read as remote when receiving
	)
	p = p.Copy()
	unless0 := func(insns ...asm.Instruction) asm.Instructions {
		skip := asm.JEq.Imm(asm.R1, 0, "")
		skip.Offset = int16(len(insns))
		return append(asm.Instructions{skip}, insns...)
	}
	var tunnel asm.Instructions
	for i := range int16(key / 4) {
		tunnel = append(tunnel, asm.StoreImm(asm.RFP, -48+4*i, 0, asm.Word))
	}
	tunnel = append(tunnel,
		asm.StoreMem(asm.RFP, -48, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R6, cb+4, asm.Word),
		asm.StoreMem(asm.RFP, -48+keyLocal, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -48),
		asm.Mov.Imm(asm.R3, key),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkbSetTunnelKey.Call(),
	)
	front := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.LoadMem(asm.R1, asm.R6, cb, asm.Word)}
	front = append(front, unless0(tunnel...)...)
	front = append(front, asm.LoadMem(asm.R1, asm.R6, cb+8, asm.Word))
	front = append(front, unless0(
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkbChangeTail.Call(),
	)...)
	front = append(front, asm.Mov.Reg(asm.R1, asm.R6))
	front[0] = front[0].WithMetadata(p.Instructions[0].Metadata)
	p.Instructions[0].Metadata = asm.Metadata{}
	p.Instructions = append(front, p.Instructions...)
	return p
}

// loadSlowIn loads tombolo_slow_in as tunnelled makes it, on the maps of f.
func loadSlowIn(t *testing.T, f *Fastpath) *ebpf.Program {
	t.Helper()
	spec, err := loadGateway()
	if err != nil {
		t.Fatal(err)
	}
	for name := range spec.Programs {
		if name != gatewayProgTomboloSlowIn {
			delete(spec.Programs, name)
		}
	}
	spec.Programs[gatewayProgTomboloSlowIn] = tunnelled(spec.Programs[gatewayProgTomboloSlowIn])
	loaded, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: f.maps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loaded.Close)
	return loaded.Programs[gatewayProgTomboloSlowIn]
}

// Marks of bpf/slow.h.
const (
	markToRouter  = 0x746d6266
	markDecrypted = 0x746d6267
)

// from is the context of a packet that the kernel's VXLAN device has taken out of its tunnel.
func from(endpoint string, vni uint32) skbContext {
	return skbContext{CB: [5]uint32{vni, binary.BigEndian.Uint32(addr(endpoint))}}
}

func inner(p ip4) []byte { return ethernet(someMAC, someMAC, 0x0800, p.bytes()) }

func toRouter(p ip4) []byte { return ethernet(routerMAC, gatewayMAC, 0x0800, p.bytes()) }

// answered is the ICMP error about an inner packet, on its way into the gateway port as if from the router.
func answered(p ip4, mtu uint16) []byte {
	b := complaint(inner(p), mtu)
	copy(b, append(bytes.Clone(gatewayMAC), routerMAC...))
	return b
}

type slowInStory struct {
	reason  string
	packet  []byte
	context skbContext
	want    outcome
}

func (s slowInStory) run(t *testing.T, ns *linktest.Namespace, f *Fastpath, p *ebpf.Program) {
	t.Helper()
	if s.want.Packet == nil {
		s.want.Packet = s.packet
	}
	if diff := diffOutcome(runStory(t, ns, f, p, "ul0", s.packet, s.context), s.want); diff != "" {
		t.Errorf("%s (-want +got):\n%s", s.reason, diff)
	}
}

// refused is a drop.
func refused(reason string) outcome {
	return outcome{Verdict: dropped, Drops: map[string]uint64{reason: 1}}
}

// TestSlowIn has what comes out of the kernel's VXLAN device.
func TestSlowIn(t *testing.T) {
	ns, f := slowStory(t)
	p := loadSlowIn(t, f)
	west, south := from("198.51.100.1", 100), from("203.0.113.1", 100)
	blue := ip4{tos: 0xb8, ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, []byte("answer"))}
	change := func(f func(*ip4)) ip4 { c := blue; c.payload = slices.Clone(c.payload); f(&c); return c }
	octet := func(offset int, to byte) []byte { b := inner(blue); b[offset] = to; return b }
	good := outcome{Verdict: redirect, Packet: toRouter(blue), Flows: map[string]string{"shop/blue in shop/blue@west": "1/34"}}
	cut := func(c skbContext, length uint32) skbContext { c.CB[2] = length; return c }
	marked := func(c skbContext, mark uint32) skbContext { c.Mark = mark; return c }
	for name, s := range map[string]slowInStory{
		"admitted":                     {"as by tombolo_in", inner(blue), west, good},
		"no tunnel":                    {"who sent it can't be known", inner(blue), skbContext{}, refused("unknown_endpoint")},
		"unknown VNI":                  {"a Vpc that is not here", inner(blue), from("198.51.100.1", 200), refused("unknown_vni")},
		"unknown endpoint":             {"no gateway of the fleet", inner(blue), from("198.51.100.77", 100), refused("unknown_endpoint")},
		"in the clear":                 {"vault's packets come through the tunnel, and there is none", inner(blue), from("203.0.113.9", 100), refused("not_encrypted")},
		"in the clear, said decrypted": {"whatever the mark says", inner(blue), marked(from("203.0.113.9", 100), markDecrypted), refused("not_encrypted")},
		"encrypted, not asked for":     {"west is not to be believed because of the tunnel", inner(blue), marked(west, markDecrypted), refused("not_encrypted")},
		"ARP":                          {"only IPv4 crosses", ethernet(someMAC, someMAC, 0x0806, make([]byte, 28)), west, refused("not_ipv4")},
		"version 6":                    {"Ethernet says IPv4, the header does not", octet(14, 0x65), west, refused("malformed")},
		"header of 16 octets":          {"no IPv4 header is shorter than 20", octet(14, 0x44), west, refused("malformed")},
		"4 octets":                     {"it ends within the header", inner(blue), cut(west, 18), outcome{Verdict: dropped, Packet: inner(blue)[:18], Drops: map[string]uint64{"malformed": 1}}},
		"not in this cluster":          {"this gateway is not transit", inner(change(func(p *ip4) { p.dst = "10.1.2.9" })), west, refused("not_local")},
		"nobody's source":              {"a source that no cluster has", inner(change(func(p *ip4) { p.src = "10.9.9.9" })), west, refused("spoofed_source")},
		"other cluster's source":       {"10.1.2.0/24 is west's", inner(blue), south, refused("spoofed_source")},
		"this gateway's own address":   {"no other cluster has it", inner(change(func(p *ip4) { p.src = "169.254.0.2" })), west, refused("spoofed_source")},
	} {
		t.Run(name, func(t *testing.T) { s.run(t, ns, f, p) })
	}
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
		slowInStory{"what can't be counted arrives all the same", inner(blue), west, outcome{Verdict: redirect, Packet: toRouter(blue)}}.run(t, ns, f, p)
	})
}

// TestSlowInTooBig has what does not fit the gateway port's 1500 bytes.
func TestSlowInTooBig(t *testing.T) {
	ns, f := slowStory(t)
	p := loadSlowIn(t, f)
	west := from("198.51.100.1", 100)
	super := west
	super.GSOSize, super.GSOSegs = 1490, 2
	long := make([]byte, 1500)
	large := ip4{frag: 0x4000, ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, long)}
	change := func(f func(*ip4)) ip4 { c := large; f(&c); return c }
	kind := func(protocol byte, payload ...byte) ip4 {
		return change(func(p *ip4) { p.protocol, p.payload = protocol, slices.Concat(payload, long) })
	}
	may := change(func(p *ip4) { p.frag = 0 })
	bank := change(func(p *ip4) { p.src = "10.1.2.3" })
	short := func(protocol byte, n int) []byte {
		return inner(change(func(p *ip4) { p.protocol, p.payload = protocol, long[:n] }))
	}
	told := func(p ip4) outcome {
		return outcome{Verdict: redirect, Packet: answered(p, 1500), Drops: map[string]uint64{"fragmentation_needed": 1}}
	}
	one := func(reason string, p ip4, want outcome) slowInStory { return slowInStory{reason, inner(p), west, want} }
	for name, s := range map[string]slowInStory{
		"may be fragmented": one("the kernel does it, on the way to the router through the port: tombolo_out sees the mark", may,
			outcome{Verdict: redirect, Packet: ethernet(gatewayMAC, routerMAC, 0x0800, may.bytes())}),
		"UDP":                               one("RFC 1191: the sender is told", large, told(large)),
		"TCP":                               one("whose header is quoted whole", kind(tcp, tcpSegment(1, 2, nil)...), told(kind(tcp, tcpSegment(1, 2, nil)...))),
		"of another protocol":               one("8 octets are quoted", kind(47), told(kind(47))),
		"echo":                              one("ping", kind(icmp, 8), told(kind(icmp, 8))),
		"echo reply":                        one("its answer", kind(icmp, 0), told(kind(icmp, 0))),
		"timestamp":                         one("RFC 792", kind(icmp, 13), told(kind(icmp, 13))),
		"timestamp reply":                   one("RFC 792", kind(icmp, 14), told(kind(icmp, 14))),
		"ICMP error":                        one("RFC 1122: no error about an error", kind(icmp, 3), refused("too_big")),
		"later fragment":                    one("RFC 1122: about the first only", change(func(p *ip4) { p.frag = 0x4001 }), refused("too_big")),
		"with options":                      one("nobody sends those", change(func(p *ip4) { p.options = []byte{1, 1, 1, 0} }), refused("too_big")),
		"no link address":                   {"this node has no address in bank/blue to answer from", inner(bank), from("203.0.113.1", 300), refused("too_big")},
		"super-packet without a TCP header": {"what its segments are like is not known", short(tcp, 2), super, refused("malformed")},
		"super-packet of TCP":               {"its segments count: 20 + 20 + 1490", inner(kind(tcp, tcpSegment(1, 2, nil)...)), super, told(kind(tcp, tcpSegment(1, 2, nil)...))},
		"ICMP without a type":               {"what it is about is not known", short(icmp, 0), super, refused("too_big")},
		"UDP without a header":              {"there is nothing to quote", short(udp, 2), super, refused("too_big")},
		"GRE without a header":              {"there is nothing to quote", short(47, 2), super, refused("too_big")},
	} {
		t.Run(name, func(t *testing.T) { s.run(t, ns, f, p) })
	}
	t.Run("from nobody", func(t *testing.T) { wantNobodyTold(t, ns, f, p, large) })
}

// wantNobodyTold lets west send from all of IPv4, and then from addresses that nobody can be told at.
func wantNobodyTold(t *testing.T, ns *linktest.Namespace, f *Fastpath, p *ebpf.Program, large ip4) {
	t.Helper()
	cfg := storyConfig()
	cfg.Underlay.VXLAN = vxlanDevice
	cfg.Ports[0].Remotes = []Remote{{Vpc: "shop/blue", VNI: 100, Cluster: "west", Prefixes: prefixes("0.0.0.0/0")}}
	ns.MustDo(t, func() error { return f.Set(cfg) })
	for _, src := range []string{"0.0.0.0", "224.0.0.1", "255.255.255.255"} {
		large.src = src
		slowInStory{src + " is nobody", inner(large), from("198.51.100.1", 100), refused("too_big")}.run(t, ns, f, p)
	}
}

// TestSlowInEncrypted has vault's packets where there is a tunnel.
func TestSlowInEncrypted(t *testing.T) {
	ns, f := slowStory(t)
	p := loadSlowIn(t, f)
	cfg := storyConfig()
	cfg.Underlay.VXLAN, cfg.Underlay.Tunnel = vxlanDevice, "ul1"
	ns.MustDo(t, func() error { return f.Set(cfg) })
	vault := ip4{ttl: 3, protocol: udp, src: "10.1.5.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}
	blue := ip4{ttl: 3, protocol: udp, src: "10.1.2.3", dst: "10.1.1.2", payload: udpDatagram(53, 1000, nil)}
	good := func(p ip4, cluster string) outcome {
		return outcome{Verdict: redirect, Packet: toRouter(p), Flows: map[string]string{"shop/blue in shop/blue@" + cluster: "1/28"}}
	}
	decrypted := from("203.0.113.9", 100)
	decrypted.Mark = markDecrypted
	said := from("198.51.100.1", 100)
	said.Mark = markDecrypted
	for name, s := range map[string]slowInStory{
		"decrypted":           {"tombolo_in_tunnel vouches for it", inner(vault), decrypted, good(vault, "vault")},
		"in the clear":        {"it came by the underlay", inner(vault), from("203.0.113.9", 100), refused("not_encrypted")},
		"west in the clear":   {"as it should", inner(blue), from("198.51.100.1", 100), good(blue, "west")},
		"west by the tunnel":  {"the tunnel vouches for nobody whose key it has not", inner(blue), said, refused("not_encrypted")},
		"vault's, by another": {"west may not send for vault", inner(vault), from("198.51.100.1", 100), refused("spoofed_source")},
	} {
		t.Run(name, func(t *testing.T) { s.run(t, ns, f, p) })
	}
}

// TestToRouter has what tombolo_slow_in has put into the gateway port for the kernel to fragment.
func TestToRouter(t *testing.T) {
	ns, f := slowStory(t)
	ns.Sysctl(t, "net/ipv4/conf/ul0/forwarding", "1")
	ns.IP(t, "route add 10.77.0.0/24 dev tbg300")
	frame := func(dst string, ttl byte) []byte {
		return ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: ttl, protocol: udp, src: "10.1.2.3", dst: dst, payload: udpDatagram(1, 2, nil)}.bytes())
	}
	for name, tc := range map[string]struct {
		reason, ifname string
		packet         []byte
		want           outcome
	}{
		"to the router":     {"the kernel takes one of the TTL", "tbg100", frame("10.1.1.2", 3), outcome{Verdict: next, Packet: frame("10.1.1.2", 4)}},
		"TTL 255":           {"there is no 256", "tbg100", frame("10.1.1.2", 255), outcome{Verdict: next, Packet: frame("10.1.1.2", 255)}},
		"back":              {"a remote destination would go round", "tbg100", frame("10.1.2.3", 3), refused("too_big")},
		"nowhere":           {"the kernel does not know it", "tbg100", frame("10.9.9.9", 3), refused("too_big")},
		"another interface": {"the mark alone leads nowhere but to the port it came in by", "ul0", ethernet(underlayMAC, someMAC, 0x0800, frame("10.77.0.1", 3)[14:]), refused("too_big")},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.want.Packet == nil {
				tc.want.Packet = tc.packet
			}
			got := runStory(t, ns, f, f.programs.TomboloOut, tc.ifname, tc.packet, skbContext{Mark: markToRouter})
			if diff := diffOutcome(got, tc.want); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
