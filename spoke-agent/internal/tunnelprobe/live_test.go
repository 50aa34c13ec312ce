// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// Two gateways with the product's eBPF, and a router between them that loses what it is told to.
//
//	east 192.0.2.1 ── router ── 198.51.100.1 west
func newWorld(t *testing.T) (east, west, router *linktest.Namespace) {
	t.Helper()
	east, west, router = linktest.New(t, "east"), linktest.New(t, "west"), linktest.New(t, "router")
	router.Sysctl(t, "net/ipv4/ip_forward", "1")
	gateway(t, east, router, "east", "192.0.2.1", "west", "198.51.100.1")
	gateway(t, west, router, "west", "198.51.100.1", "east", "192.0.2.1")
	return east, west, router
}

func gateway(t *testing.T, ns, router *linktest.Namespace, name, address, other, endpoint string) {
	t.Helper()
	next := netip.MustParseAddr(address).Next().String()
	ns.Veth(t, "ul0", router, name)
	ns.IP(t, "addr add "+address+"/24 dev ul0")
	router.IP(t, "addr add "+next+"/24 dev "+name)
	ns.IP(t, "link set ul0 up")
	router.IP(t, "link set "+name+" up")
	ns.IP(t, "route add default via "+next)
	mount := filepath.Join(t.TempDir(), "bpf")
	if err := fastpath.MountBPFFS(mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var programs *fastpath.Fastpath
	ns.MustDo(t, func() (err error) {
		if programs, err = fastpath.Open(fastpath.Options{PinPath: filepath.Join(mount, "tombolo"), Logger: testr.New(t)}); err != nil {
			return err
		}
		return programs.Set(fastpath.Config{
			Underlay: fastpath.Underlay{Interface: "ul0", Address: netip.MustParseAddr(address), UDPPort: 4789},
			Clusters: []fastpath.Cluster{{Name: other, Endpoints: []netip.Addr{netip.MustParseAddr(endpoint)}}},
		})
	})
	t.Cleanup(func() {
		if err := programs.Remove(); err != nil {
			t.Error(err)
		}
	})
}

// lose makes the router drop what it forwards and the rule matches, without a word; nothing when it is empty.
func lose(t *testing.T, router *linktest.Namespace, rule string) {
	t.Helper()
	if out, err := router.Run("nft", "flush ruleset; add table ip t; add chain ip t f { type filter hook forward priority 0; }"); err != nil {
		t.Fatal(err, out)
	}
	if rule == "" {
		return
	}
	if out, err := router.Run("nft", "add rule ip t f "+rule+" drop"); err != nil {
		t.Fatal(err, out)
	}
}

func TestLive(t *testing.T) {
	east, west, router := newWorld(t)
	lose(t, router, "")
	var observed atomic.Int64
	probers := map[string]*tunnelprobe.Prober{}
	start := func(ns *linktest.Namespace, name, address, other, endpoint string) {
		p := tunnelprobe.New(testr.New(t), func(target tunnelprobe.Target, rtt time.Duration) {
			if target.Cluster == "" || rtt <= 0 {
				t.Errorf("observed %s of %+v", rtt, target)
			}
			observed.Add(1)
		})
		t.Cleanup(func() { p.Close() })
		ns.MustDo(t, func() error {
			return p.Set(tunnelprobe.Config{Address: netip.MustParseAddr(address), Port: 4789, Targets: []tunnelprobe.Target{
				{Cluster: other, Node: "n1", Address: netip.MustParseAddr(endpoint), MTU: 1500},
			}})
		})
		probers[name] = p
	}
	start(east, "east", "192.0.2.1", "west", "198.51.100.1")
	start(west, "west", "198.51.100.1", "east", "192.0.2.1")
	for _, name := range []string{"east", "west"} {
		eventually(t, probers[name], name+": all passes", func(r tunnelprobe.Result) bool {
			return r.Reachable && r.PathMTU == 1500 && r.RTT > 0 && r.RTT < time.Second && r.Loss == 0
		})
	}
	if observed.Load() == 0 {
		t.Error("no round trip was observed")
	}
	if probers["east"].Port() == 0 {
		t.Error("echoes are sent from port 0")
	}

	lose(t, router, "ip length > 1400")
	for _, name := range []string{"east", "west"} {
		eventually(t, probers[name], name+": the router drops in silence what is larger than 1400", func(r tunnelprobe.Result) bool { return r.Reachable && r.PathMTU == 1400 })
	}
	// Only what east asks: answers to it come back.
	lose(t, router, "ip saddr 192.0.2.1 udp dport 4789 ip length < 100 numgen random mod 2 == 0")
	eventually(t, probers["east"], "half of the echoes are lost", func(r tunnelprobe.Result) bool { return r.Loss > 0.1 })
	lose(t, router, "udp dport 4789")
	for _, name := range []string{"east", "west"} {
		eventually(t, probers[name], name+": nothing passes", func(r tunnelprobe.Result) bool { return !r.Reachable && r.PathMTU == 1400 })
	}
	lose(t, router, "")
	eventually(t, probers["east"], "it passes again", func(r tunnelprobe.Result) bool { return r.Reachable })
	select {
	case <-probers["east"].Changed():
	default:
		t.Error("nobody was told")
	}
	east.MustDo(t, func() error { return probers["east"].Set(tunnelprobe.Config{}) })
	if got := probers["east"].Results(); len(got) != 0 || probers["east"].Port() != 0 {
		t.Errorf("without targets there are results %v and port %d", got, probers["east"].Port())
	}
}

func eventually(t *testing.T, p *tunnelprobe.Prober, reason string, ok func(tunnelprobe.Result) bool) {
	t.Helper()
	var last string
	for start := time.Now(); time.Since(start) < 90*time.Second; time.Sleep(50 * time.Millisecond) {
		results := p.Results()
		if len(results) == 1 && ok(results[0]) {
			t.Logf("%s, after %s: %+v", reason, time.Since(start).Round(time.Millisecond), results[0])
			return
		}
		last = fmt.Sprintf("%+v", results)
	}
	t.Fatalf("%s: still %s", reason, last)
}
