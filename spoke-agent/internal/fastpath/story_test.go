// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// The gateway of the stories: cluster east, with Vpc shop/blue (VNI 100) and a peer shop/red (VNI 200) that exists in
// west only, and Vpc bank/blue (VNI 300) that has the addresses of shop/blue. Cluster north has no gateway yet;
// vault is encrypted, and this gateway has nothing to encrypt with.
func storyConfig() Config {
	return Config{
		Underlay: Underlay{Interface: "ul0", Address: netip.MustParseAddr("192.0.2.1"), UDPPort: 4789},
		Clusters: []Cluster{
			{Name: "west", Endpoints: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}},
			{Name: "south", Endpoints: []netip.Addr{netip.MustParseAddr("203.0.113.1")}},
			{Name: "north"},
			{Name: "vault", Endpoints: []netip.Addr{netip.MustParseAddr("203.0.113.9")}, Encrypted: true},
		},
		Ports: []Port{{
			Interface: "tbg100", Vpc: "shop/blue", VNI: 100,
			GatewayMAC: "0a:58:a9:fe:00:02", RouterMAC: "0a:58:a9:fe:00:01",
			Address: netip.MustParseAddr("169.254.0.2"),
			Local:   prefixes("10.1.1.0/24", "169.254.0.0/29"),
			Remotes: []Remote{
				{Vpc: "shop/blue", VNI: 100, Cluster: "west", Prefixes: prefixes("10.1.2.0/24", "169.254.0.8/29")},
				{Vpc: "shop/red", VNI: 200, Cluster: "west", Prefixes: prefixes("10.2.2.0/24")},
				{Vpc: "shop/blue", VNI: 100, Cluster: "south", Prefixes: prefixes("10.1.3.0/24")},
				{Vpc: "shop/blue", VNI: 100, Cluster: "north", Prefixes: prefixes("10.1.4.0/24")},
				{Vpc: "shop/blue", VNI: 100, Cluster: "vault", Prefixes: prefixes("10.1.5.0/24")},
			},
		}, {
			Interface: "tbg300", Vpc: "bank/blue", VNI: 300,
			GatewayMAC: "0a:58:a9:fe:00:02", RouterMAC: "0a:58:a9:fe:00:01",
			Local:   prefixes("10.1.1.0/24"),
			Remotes: []Remote{{Vpc: "bank/blue", VNI: 300, Cluster: "south", Prefixes: prefixes("10.1.2.0/24")}},
		}},
	}
}

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// pinPath is a directory in a bpffs of the test's own.
func pinPath(tb testing.TB) string {
	tb.Helper()
	mount := filepath.Join(tb.TempDir(), "bpf")
	if err := MountBPFFS(mount); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := unmount(mount); err != nil {
			tb.Error(err)
		}
	})
	return filepath.Join(mount, "tombolo")
}

// storyGateway opens a fast path with storyConfig in a namespace of its own.
func storyGateway(t testing.TB) (*linktest.Namespace, *Fastpath) {
	t.Helper()
	return storyGatewayIn(t, "story")
}

func storyGatewayIn(t testing.TB, namespace string) (*linktest.Namespace, *Fastpath) {
	t.Helper()
	ns := linktest.New(t, namespace)
	for _, pair := range [][3]string{{"ul0", "ul1", "02:00:00:00:00:01"}, {"tbg100", "tbo100", "0a:58:a9:fe:00:02"}, {"tbg300", "tbo300", "0a:58:a9:fe:00:02"}} {
		ns.Veth(t, pair[0], ns, pair[1])
		ns.IP(t, fmt.Sprintf("link set %s address %s up", pair[0], pair[2]))
		ns.IP(t, fmt.Sprintf("link set %s up", pair[1]))
	}
	var f *Fastpath
	path := pinPath(t)
	ns.MustDo(t, func() (err error) {
		if f, err = Open(Options{PinPath: path, Logger: testr.NewWithInterface(t, testr.Options{})}); err != nil {
			return err
		}
		return f.Set(storyConfig())
	})
	t.Cleanup(func() {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("Remove leaves the pins: %v", err)
		}
	})
	return ns, f
}

// What a program returns (linux/bpf.h, enum tcx_action_base).
const (
	next     = -1
	dropped  = 2
	redirect = 7
)

// skbContext is struct __sk_buff as BPF_PROG_TEST_RUN takes it.
type skbContext struct {
	_              [2]uint32
	Mark           uint32
	_              [6]uint32
	IngressIfindex uint32
	Ifindex        uint32
	_              uint32
	CB             [5]uint32 // see tunnelled
	_              [24]uint32
	GSOSegs        uint32
	_              [2]uint32
	GSOSize        uint32
	_              [3]uint32
}

// xdpContext is struct xdp_md as BPF_PROG_TEST_RUN takes it.
type xdpContext struct {
	_, DataEnd, _  uint32
	IngressIfindex uint32
	_, _           uint32
}

// outcome is all that a packet causes.
type outcome struct {
	Verdict int32
	// Packet after the program.
	Packet []byte
	// Drops, Slow and Flows that have grown, and by how much: packets/bytes.
	Drops, Slow map[string]uint64
	// A relay counts as a flow, by "relay VNI from→to".
	Flows map[string]string
}

// runStory sends one packet through a program as if it had come in on the interface.
func runStory(t testing.TB, ns *linktest.Namespace, f *Fastpath, p *ebpf.Program, ifname string, packet []byte, ctx skbContext) outcome {
	t.Helper()
	var out outcome
	ns.MustDo(t, func() error {
		device, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		ctx.Ifindex = uint32(device.Index)
		if err := forget[[32]byte](f, gatewayMapTomboloNextHops); err != nil {
			return err
		}
		before, flows := counters(t, f), flowsByName(t, f)
		if out.Verdict, out.Packet, err = runProgram(p, packet, ctx); err != nil {
			return err
		}
		after := counters(t, f)
		out.Drops, out.Slow, out.Flows = grown(before.Drops, after.Drops), grown(before.Slow, after.Slow), map[string]string{}
		for key, c := range flowsByName(t, f) {
			if was := flows[key]; c != was {
				out.Flows[key] = fmt.Sprintf("%d/%d", c.Packets-was.Packets, c.Bytes-was.Bytes)
			}
		}
		if coverage != nil {
			return coverage.run(f, p, packet, ctx)
		}
		return nil
	})
	return out
}

// forget empties a map that only programs write, whose values are of type V, so that what comes next does not depend on the
// time since what came before.
func forget[V any](f *Fastpath, name string) error {
	m := f.maps[name]
	keys := make([]uint32, m.MaxEntries())
	for i := range keys {
		keys[i] = uint32(i)
	}
	_, err := m.BatchUpdate(keys, make([]V, len(keys)*ebpf.MustPossibleCPU()), nil)
	return err
}

func grown(before, after map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for reason, n := range after {
		if n > before[reason] {
			out[reason] = n - before[reason]
		}
	}
	return out
}

// runProgram sends one packet through a program in the namespace of the thread.
func runProgram(p *ebpf.Program, packet []byte, ctx skbContext) (verdict int32, after []byte, err error) {
	opts := &ebpf.RunOptions{Data: packet, DataOut: make([]byte, len(packet)+256), Context: ctx}
	if p.Type() == ebpf.XDP {
		opts.Context = xdpContext{DataEnd: uint32(len(packet)), IngressIfindex: ctx.Ifindex}
	}
	result, err := p.Run(opts)
	return int32(result), opts.DataOut, err
}

func counters(t testing.TB, f *Fastpath) Counters {
	t.Helper()
	c, err := f.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func byName(c Counters) map[string]FlowCounter {
	flows := map[string]FlowCounter{}
	for _, f := range c.Flows {
		name := fmt.Sprintf("%s %s %s@%s", f.Vpc, f.Direction, f.RemoteVpc, f.Cluster)
		if f.Path != "gateway" {
			name += " by " + f.Path
		}
		flows[name] = f
	}
	return flows
}

// flowsByName has relays too.
func flowsByName(t testing.TB, f *Fastpath) map[string]FlowCounter {
	t.Helper()
	flows := byName(counters(t, f))
	relays, err := f.RelayCounters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range relays {
		flows[fmt.Sprintf("relay %d %s→%s", c.VNI, c.From, c.To)] = FlowCounter{Packets: c.Packets, Bytes: c.Bytes}
	}
	return flows
}

func diffOutcome(got, want outcome) string {
	if want.Drops == nil {
		want.Drops = map[string]uint64{}
	}
	if want.Slow == nil {
		want.Slow = map[string]uint64{}
	}
	if want.Flows == nil {
		want.Flows = map[string]string{}
	}
	return cmp.Diff(want, got)
}
