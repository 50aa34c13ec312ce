// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// relayTransit is a transit whose ends know nothing of each other: both send to a gateway in the middle, which has no port
// and relays.
func relayTransit(t testing.TB, xdp bool) (x *transit, middle *Fastpath) {
	t.Helper()
	x = newTransit(t)
	mid := linktest.New(t, "mid")
	mid.Sysctl(t, "net/ipv4/ip_forward", "1")
	x.underlay(t, mid, "r2", "203.0.113.1", "203.0.113.254")
	if xdp {
		likePhysical(t, x)
	}
	for _, end := range []struct {
		ns  *linktest.Namespace
		f   *Fastpath
		cfg *Config
	}{{x.east, x.eastGateway, &x.eastConfig}, {x.west, x.westGateway, &x.westConfig}} {
		end.cfg.Clusters = []Cluster{{Name: "mid", Endpoints: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}}
		for i := range end.cfg.Ports {
			end.cfg.Ports[i].Remotes[0].Cluster = "mid"
		}
		end.ns.MustDo(t, func() error { return end.f.Set(*end.cfg) })
	}
	middle = openGateway(t, mid, filepath.Join(filepath.Dir(x.eastPins), "tombolo-mid"), Config{
		Underlay: Underlay{Interface: "ul0", Address: netip.MustParseAddr("203.0.113.1"), UDPPort: 4789, XDP: xdp},
		Clusters: []Cluster{
			{Name: "east", Endpoints: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
			{Name: "west", Endpoints: []netip.Addr{netip.MustParseAddr("198.51.100.1")}},
		},
		Relays: []Relay{
			{VNI: 100, From: "east", Sources: prefixes("10.1.1.0/24"), To: "west", Destinations: prefixes("10.1.2.0/24")},
			{VNI: 100, From: "west", Sources: prefixes("10.1.2.0/24"), To: "east", Destinations: prefixes("10.1.1.0/24")},
		},
	})
	t.Cleanup(func() {
		for _, f := range []*Fastpath{x.eastGateway, x.westGateway, middle} {
			if err := f.Remove(); err != nil {
				t.Error(err)
			}
		}
	})
	return x, middle
}

// likePhysical makes the veths behave as wires where XDP is concerned: an end polls for what the other's XDP sends only if
// it has a program itself, and packets come with their checksums.
func likePhysical(t testing.TB, x *transit) {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pass.Close() })
	x.router.MustDo(t, func() error {
		i, err := net.InterfaceByName("r2")
		if err != nil {
			return err
		}
		l, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: i.Index})
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	for _, pod := range []*linktest.Namespace{x.shopEast, x.shopWest} {
		if out, err := pod.Run("ethtool", "-K", "eth0", "tx", "off"); err != nil {
			t.Fatal(out, err)
		}
	}
}

func TestRelayTransit(t *testing.T) {
	for name, xdp := range map[string]bool{"tcx": false, "XDP": true} {
		t.Run(name, func(t *testing.T) {
			x, middle := relayTransit(t, xdp)
			// Until the middle knows the MAC addresses of both ways, XDP leaves packets to tombolo_in.
			if out, err := x.shopEast.Run("ping", "-c", "3", "-i", "0.2", "-W", "10", "10.1.2.2"); err != nil {
				t.Errorf("ping: %v\n%s", err, out)
			}
			stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
			if err != nil {
				t.Fatal(err)
			}
			defer stats.Close()
			out, err := x.shopEast.Run("ping", "-c", "20", "-i", "0.01", "-W", "10", "10.1.2.2")
			// The first packets may wait for the middle's ARP, and nothing but the relay's TTL counts.
			if err != nil || strings.Count(out, "ttl=64") != 20 {
				t.Errorf("ping: %v\n%s", err, out)
			}
			in, err := middle.programs.TomboloIn.Stats()
			if err != nil {
				t.Fatal(err)
			}
			if xdp && in.RunCount > 10 || !xdp && in.RunCount < 40 {
				t.Errorf("tombolo_in saw %d of 40 packets", in.RunCount)
			}
			t.Logf("TCP through the relay: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 32<<20))
			echo(t, x.shopWest, "shop-west")
			if got := ask(t, dialUDP(t, x.shopEast, "10.1.2.2:7"), strings.Repeat("x", 20000)); len(got) != 20010 {
				t.Errorf("a datagram in fragments: %d bytes of an answer", len(got))
			}
			relays, err := middle.RelayCounters()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range relays {
				if r.Packets < 30 || r.Bytes < 84*20 {
					t.Errorf("relay counts %+v", r)
				}
			}
			if out, err := x.bankEast.Run("ping", "-c1", "-W0.2", "10.1.2.2"); err == nil {
				t.Errorf("bank has no relay, and passes:\n%s", out)
			}
			for deadline := time.Now().Add(time.Minute); counters(t, middle).Drops["unknown_vni"] == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Errorf("bank's packet is not counted: %v", counters(t, middle).Drops)
					break
				}
			}
			if links, _ := filepath.Glob(filepath.Join(middle.opts.PinPath, linksDir, "xdp-*")); len(links) != map[bool]int{true: 1}[xdp] {
				t.Errorf("XDP is %v, and links are pinned: %v", xdp, links)
			}
		})
	}
}

// TestXDPGoes: without XDP in the Config the program comes off, and the relay goes on with tcx.
func TestXDPGoes(t *testing.T) {
	ns, f := relayGateway(t)
	cfg := relayConfig()
	for _, xdp := range []bool{true, true, false, true} {
		cfg.Underlay.XDP = xdp
		ns.MustDo(t, func() error { return f.Set(cfg) })
		out := ns.IP(t, "link show dev ul0")
		if got := strings.Contains(out, "prog/xdp"); got != xdp {
			t.Errorf("XDP %v, and ip says:\n%s", xdp, out)
		}
		links, err := os.ReadDir(filepath.Join(f.opts.PinPath, linksDir))
		if err != nil || len(links) != 3+map[bool]int{true: 1}[xdp] {
			t.Errorf("XDP %v: links %v (%v)", xdp, links, err)
		}
	}
}
