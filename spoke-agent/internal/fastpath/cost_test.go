// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// costGateway forwards to n prefixes in the west, and relays to them from the south.
type costGateway struct {
	n  int
	ns *linktest.Namespace
	f  *Fastpath
}

func newCostGateway(tb testing.TB, n int) costGateway {
	tb.Helper()
	ns, f := storyGatewayIn(tb, fmt.Sprintf("cost%d", n))
	cfg := storyConfig()
	many := make([]netip.Prefix, n)
	for i := range many {
		many[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte(costAddress(i))), 28)
	}
	cfg.Ports[0].Remotes[0].Prefixes = many
	cfg.Relays = []Relay{{VNI: 500, From: "south", Sources: prefixes("10.5.2.0/24"), To: "west", Destinations: many[:min(n, 100_000)]}}
	ns.Sysctl(tb, "net/ipv4/ip_forward", "1")
	ns.IP(tb, "addr add 192.0.2.1/24 dev ul0")
	ns.IP(tb, "neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fe dev ul0")
	ns.IP(tb, "route add default via 192.0.2.254")
	ns.MustDo(tb, func() error { return f.Set(cfg) })
	return costGateway{n, ns, f}
}

// costAddress is the first address of the i-th prefix of 28 bits from 16.0.0.0 on.
func costAddress(i int) []byte { return binary.BigEndian.AppendUint32(nil, 16<<24+uint32(i)<<4) }

// costPath is a program, a packet, and the octets of it that hold the address which is looked up.
type costPath struct {
	name    string
	program func(f *Fastpath) *ebpf.Program
	ifname  string
	packet  []byte
	offset  int
	// from is the other end of the interface; none where a veth is not like a wire.
	from string
}

func costPaths() []costPath {
	inner := func(src, dst string) ip4 {
		return ip4{ttl: 64, protocol: udp, src: src, dst: dst, payload: udpDatagram(1, 2, make([]byte, 18))}
	}
	relay := relayed{src: "203.0.113.1", dst: "192.0.2.1", ttl: 63, vni: 500, inner: inner("10.5.2.3", "16.0.0.0")}.bytes(underlayMAC, someMAC)
	in := relayed{src: "198.51.100.1", dst: "192.0.2.1", ttl: 63, vni: 100, inner: inner("16.0.0.0", "10.1.1.2")}.bytes(underlayMAC, someMAC)
	return []costPath{
		{"out", func(f *Fastpath) *ebpf.Program { return f.programs.TomboloOut }, "tbg100",
			ethernet(gatewayMAC, routerMAC, 0x0800, inner("10.1.1.2", "16.0.0.0").bytes()), 30, "tbo100"},
		{"in", func(f *Fastpath) *ebpf.Program { return f.programs.TomboloIn }, "ul0", in, 64 + 12, "ul1"},
		{"relay by tcx", func(f *Fastpath) *ebpf.Program { return f.programs.TomboloIn }, "ul0", relay, 64 + 16, "ul1"},
		{"relay by XDP", func(f *Fastpath) *ebpf.Program { return f.programs.TomboloXdp }, "ul0", relay, 64 + 16, ""},
	}
}

// cost is what a packet to each of the targets costs in the program, as the kernel counts it, in nanoseconds. About 25 of
// them are the counting's. With cold the cache never has an answer.
func (g costGateway) cost(tb testing.TB, path costPath, targets []int, cold bool) float64 {
	tb.Helper()
	p := path.program(g.f)
	packet := slices.Clone(path.packet)
	before, err := p.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	g.ns.MustDo(tb, func() error {
		devices, _, err := findDevices(storyConfig())
		if err != nil {
			return err
		}
		if err := pinToCPU(0); err != nil {
			return err
		}
		ctx := skbContext{Ifindex: uint32(devices[path.ifname].index)}
		for i, target := range targets {
			copy(packet[path.offset:], costAddress(target))
			if cold {
				g.f.epoch.bump()
			}
			verdict, _, err := runProgram(p, packet, ctx)
			if err != nil {
				return err
			}
			if verdict != redirect && verdict != xdpTX {
				return fmt.Errorf("%s: packet %d: verdict %d", path.name, i, verdict)
			}
		}
		return nil
	})
	after, err := p.Stats()
	if err != nil {
		tb.Fatal(err)
	}
	return float64((after.Runtime - before.Runtime).Nanoseconds()) / float64(after.RunCount-before.RunCount)
}

// wayCost is what a packet costs from a packet socket on one veth to the far end of the other, in nanoseconds of CPU time:
// sending, program, kernel and delivery all run in the thread of the sender.
func (g costGateway) wayCost(tb testing.TB, path costPath, targets []int) float64 {
	tb.Helper()
	var used int64
	packet := slices.Clone(path.packet)
	before := g.forwarded(tb)
	g.ns.MustDo(tb, func() error {
		if err := pinToCPU(0); err != nil {
			return err
		}
		i, err := net.InterfaceByName(path.from)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: i.Index}
		var from, until unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &from); err != nil {
			return err
		}
		for _, target := range targets {
			copy(packet[path.offset:], costAddress(target))
			if err := unix.Sendto(fd, packet, 0, to); err != nil {
				return err
			}
		}
		if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &until); err != nil {
			return err
		}
		used = until.Nano() - from.Nano()
		return nil
	})
	if n := g.forwarded(tb) - before; n != uint64(len(targets)) {
		tb.Fatalf("%s: %d of %d packets forwarded", path.name, n, len(targets))
	}
	return float64(used) / float64(len(targets))
}

func (g costGateway) forwarded(tb testing.TB) (packets uint64) {
	tb.Helper()
	for _, c := range flowsByName(tb, g.f) {
		packets += c.Packets
	}
	return packets
}

// zipf returns many targets of which few are most, as destinations of real traffic are (exponent 1.1).
func zipf(n, many int, seed uint64) []int {
	r := rand.New(rand.NewPCG(seed, 0))
	z := rand.NewZipf(r, 1.1, 1, uint64(n-1))
	targets := make([]int, many)
	for i := range targets {
		targets[i] = int(z.Uint64())
	}
	return targets
}

// rounds returns the cost of the cheapest of five rounds for each gateway.
func rounds(gateways []costGateway, cost func(g costGateway, targets []int) float64) []float64 {
	best := make([]float64, len(gateways))
	for round := range 5 {
		for i, g := range gateways {
			c := cost(g, zipf(g.n, 20_000, uint64(100+round)))
			if round == 0 || c < best[i] {
				best[i] = c
			}
		}
	}
	return best
}

// BenchmarkCost compares gateways of 10, 1000 and 100 000 prefixes: what the program alone costs, and the whole way of a
// packet. Rounds of all take turns, and the cheapest round of each counts: whatever else the machine does only adds. One
// iteration is a whole comparison.
func BenchmarkCost(b *testing.B) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stats.Close() }()
	gateways := []costGateway{newCostGateway(b, 10), newCostGateway(b, 1000), newCostGateway(b, 100_000)}
	for b.Loop() {
		for _, path := range costPaths() {
			for i, g := range gateways { // fill the cache as long traffic would
				g.cost(b, path, rand.New(rand.NewPCG(1, 1)).Perm(g.n), false)
				g.cost(b, path, zipf(g.n, 100_000, uint64(i)), false)
			}
			warm := rounds(gateways, func(g costGateway, targets []int) float64 { return g.cost(b, path, targets, false) })
			way := warm
			if path.from != "" {
				way = rounds(gateways, func(g costGateway, targets []int) float64 { return g.wayCost(b, path, targets) })
			}
			cold := rounds(gateways, func(g costGateway, targets []int) float64 { return g.cost(b, path, targets, true) })
			b.Logf("%-12s with 10, 1000, 100000 prefixes: program %4.0f ns; cache always cold %4.0f ns; whole way %4.0f ns, %.2f times as much",
				path.name, warm, cold, way, way[2]/way[0])
			if path.from != "" {
				b.ReportMetric(way[2]/way[0], strings.ReplaceAll(path.name, " ", "-")+"_100k_over_10")
			}
		}
	}
	hits, misses := lookups(b, gateways[2].f)
	b.Logf("of the 100000: %d hits, %d misses", hits, misses)
}
