// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// bench is a gateway and, at the other end of its port, a kernel that answers as the OVN router would.
func bench(t *testing.T) (gw, router *linktest.Namespace, p *Prober) {
	t.Helper()
	gw, router = linktest.New(t, "gw"), linktest.New(t, "router")
	joinRouter(t, gw, router)
	p = New(testr.New(t))
	p.open = func(ifname string) (s *socket, err error) {
		err = gw.Do(func() error { s, err = openSocket(ifname); return err })
		return s, err
	}
	t.Cleanup(func() { p.Close() })
	return gw, router, p
}

func joinRouter(t *testing.T, gw, router *linktest.Namespace) {
	t.Helper()
	gw.Veth(t, "tbg100", router, "rp0")
	gw.IP(t, "link set tbg100 address 0a:58:a9:fe:00:02 arp off up")
	router.IP(t, "link set rp0 address 0a:58:a9:fe:00:01 up")
	router.IP(t, "addr add 169.254.0.1/29 dev rp0")
	router.IP(t, "addr add 10.1.2.1/32 dev rp0")
	router.IP(t, "neigh replace 169.254.0.2 lladdr 0a:58:a9:fe:00:02 dev rp0")
}

func toRouter(key, dst string) Target {
	return Target{
		Interface: "tbg100", SrcMAC: "0a:58:a9:fe:00:02", DstMAC: "0a:58:a9:fe:00:01",
		Src: netip.MustParseAddr("169.254.0.2"), Dst: netip.MustParseAddr(dst), Key: key,
	}
}

// await waits for Changed until the target key is as wanted, and returns its result.
func await(t *testing.T, p *Prober, key string, reachable bool, limit time.Duration) Result {
	t.Helper()
	timeout := time.After(limit)
	for {
		for _, r := range p.Results() {
			if r.Key == key && r.Reachable == reachable {
				return r
			}
		}
		select {
		case <-p.Changed():
		case <-timeout:
			t.Fatalf("%s is not reachable=%t after %v: %+v", key, reachable, limit, p.Results())
		}
	}
}

func TestProber(t *testing.T) {
	gw, router, p := bench(t)
	if err := p.Set([]Target{toRouter("near", "10.1.2.1"), toRouter("nobody", "10.1.2.9")}); err != nil {
		t.Fatal(err)
	}
	near := await(t, p, "near", true, 30*time.Second)
	if near.RTT <= 0 || near.RTT > 30*time.Second || time.Since(near.Since) > time.Minute {
		t.Errorf("result %+v", near)
	}
	await(t, p, "nobody", false, 30*time.Second)

	router.IP(t, "addr del 10.1.2.1/32 dev rp0")
	start := time.Now()
	await(t, p, "near", false, 30*time.Second)
	t.Logf("unreachable after %v", time.Since(start).Round(time.Millisecond))
	router.IP(t, "addr add 10.1.2.1/32 dev rp0")
	start = time.Now()
	await(t, p, "near", true, 30*time.Second)
	t.Logf("reachable after %v", time.Since(start).Round(time.Millisecond))

	gw.IP(t, "link del tbg100")
	await(t, p, "near", false, 30*time.Second)
	joinRouter(t, gw, router)
	await(t, p, "near", true, 30*time.Second)

	kept := p.Results()
	if err := p.Set([]Target{toRouter("near", "10.1.2.1")}); err != nil {
		t.Fatal(err)
	}
	if got := p.Results(); len(got) != 1 || got[0].Since != kept[0].Since {
		t.Errorf("a target that stays keeps its result, one that goes has none: %+v, before %+v", got, kept)
	}
}

// TestProberBehindFastpath: tombolo_out drops what it has no route for, but leaves the answers to this gateway.
func TestProberBehindFastpath(t *testing.T) {
	gw, router, p := bench(t)
	gw.Veth(t, "ul0", router, "ul1")
	mount := filepath.Join(t.TempDir(), "bpf")
	if err := fastpath.MountBPFFS(mount); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	var f *fastpath.Fastpath
	set := func(address netip.Addr) {
		gw.MustDo(t, func() (err error) {
			if f == nil {
				if f, err = fastpath.Open(fastpath.Options{PinPath: filepath.Join(mount, "tombolo"), Logger: logr.Discard()}); err != nil {
					return err
				}
			}
			return f.Set(fastpath.Config{
				Underlay: fastpath.Underlay{Interface: "ul0", Address: netip.MustParseAddr("192.0.2.1"), UDPPort: 4789},
				Ports: []fastpath.Port{{
					Interface: "tbg100", Vpc: "shop/blue", VNI: 100, Address: address,
					GatewayMAC: "0a:58:a9:fe:00:02", RouterMAC: "0a:58:a9:fe:00:01",
				}},
			})
		})
	}
	set(netip.MustParseAddr("169.254.0.2"))
	defer func() {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.Set([]Target{toRouter("near", "10.1.2.1")}); err != nil {
		t.Fatal(err)
	}
	await(t, p, "near", true, 30*time.Second)

	set(netip.Addr{})
	await(t, p, "near", false, 30*time.Second)
}

func TestSetRefuses(t *testing.T) {
	p := New(logr.Discard())
	defer p.Close()
	for name, tc := range map[string]struct {
		reason  string
		targets []Target
		want    string
	}{
		"same key": {reason: "whose result would it be", targets: []Target{toRouter("k", "10.0.0.1"), toRouter("k", "10.0.0.2")}, want: "probe k: two targets have this key"},
		"IPv6":     {reason: "the path is IPv4's", targets: []Target{toRouter("k", "fd00::1")}, want: "use IPv4"},
		"MAC":      {reason: "a forgotten field", targets: []Target{{Key: "k", Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}}, want: "use 6 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := p.Set(tc.targets); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
