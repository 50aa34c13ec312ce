// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"bytes"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// Two gateways with the eBPF and WireGuard of the product, a router between them that listens, and a pod behind each. A
// pod stands where the router of its Vpc would: what the gateway delivers, it gets.
//
//	pod east ── gateway east ── router ── gateway west ── pod west
//	10.1.1.2      192.0.2.1     (wire)     198.51.100.1    10.1.2.2
type world struct {
	east, west side
	wire       *wire
}

// side is one cluster.
type side struct {
	gateway, pod *linktest.Namespace
	fastpath     *fastpath.Fastpath
	tunnel       *Tunnel
	keys         *Keys
	config       fastpath.Config
	wireguard    Config
	address      netip.Addr
}

const port = 51871

func newWorld(t *testing.T) *world {
	t.Helper()
	router := linktest.New(t, "router")
	router.Sysctl(t, "net/ipv4/ip_forward", "1")
	w := &world{
		east: newSide(t, router, "east", "192.0.2.1", "192.0.2.254", "10.1.1"),
		west: newSide(t, router, "west", "198.51.100.1", "198.51.100.254", "10.1.2"),
	}
	w.wire = listen(t, router, "ul-east")
	w.east.meet(t, "west", w.west)
	w.west.meet(t, "east", w.east)
	return w
}

func newSide(t *testing.T, router *linktest.Namespace, name, address, next, pods string) side {
	t.Helper()
	s := side{gateway: linktest.New(t, name), pod: linktest.New(t, "pod-"+name), address: netip.MustParseAddr(address)}
	s.gateway.Veth(t, "ul0", router, "ul-"+name)
	s.gateway.IP(t, "addr add "+address+"/24 dev ul0")
	router.IP(t, "addr add "+next+"/24 dev ul-"+name)
	s.gateway.IP(t, "link set ul0 up")
	router.IP(t, "link set ul-"+name+" up")
	s.gateway.IP(t, "route add default via "+next)

	s.gateway.Veth(t, "tbg100", s.pod, "eth0")
	s.gateway.IP(t, "link set tbg100 address 0a:58:a9:fe:00:02 mtu 1390 up")
	s.pod.IP(t, "link set eth0 address 0a:58:a9:fe:00:01 mtu 1390 up")
	s.pod.IP(t, "addr add "+pods+".2/24 dev eth0")
	s.pod.IP(t, "neigh replace "+pods+".1 lladdr 0a:58:a9:fe:00:02 dev eth0")
	s.pod.IP(t, "route add default via "+pods+".1")

	keys, err := OpenKeys(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	s.keys, s.tunnel = keys, New(testr.New(t))
	t.Cleanup(func() {
		if err := s.gateway.Do(func() error { return s.tunnel.Remove("tbwg0") }); err != nil {
			t.Error(err)
		}
	})
	s.fastpath = openFastpath(t, s.gateway)
	s.config = fastpath.Config{
		Underlay: fastpath.Underlay{Interface: "ul0", Address: s.address, UDPPort: 4789, Tunnel: "tbwg0"},
		Ports: []fastpath.Port{{
			Interface: "tbg100", Vpc: "shop/blue", VNI: 100, GatewayMAC: "0a:58:a9:fe:00:02", RouterMAC: "0a:58:a9:fe:00:01",
			Local: []netip.Prefix{netip.MustParsePrefix(pods + ".0/24")},
		}},
	}
	s.wireguard = Config{Interface: "tbwg0", MTU: 1440, ListenPort: port, Key: keys.Current()}
	return s
}

func openFastpath(t *testing.T, ns *linktest.Namespace) *fastpath.Fastpath {
	t.Helper()
	mount := filepath.Join(t.TempDir(), "bpf")
	if err := fastpath.MountBPFFS(mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var f *fastpath.Fastpath
	ns.MustDo(t, func() (err error) {
		f, err = fastpath.Open(fastpath.Options{PinPath: filepath.Join(mount, "tombolo"), Logger: testr.New(t)})
		return err
	})
	t.Cleanup(func() {
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// meet tells s of another cluster, encrypted, and sets everything.
func (s *side) meet(t *testing.T, name string, other side) {
	t.Helper()
	s.config.Clusters = []fastpath.Cluster{{Name: name, Endpoints: []netip.Addr{other.address}, Encrypted: true}}
	s.config.Ports[0].Remotes = []fastpath.Remote{{Vpc: "shop/blue", VNI: 100, Cluster: name, Prefixes: other.config.Ports[0].Local}}
	s.wireguard.Peers = []Peer{{Key: public(t, other.keys.Current()), Address: other.address, Port: port}}
	s.wireguard.Guarded, s.wireguard.GuardedPort = []netip.Addr{other.address}, 4789
	s.set(t)
}

// set does what the agent does: first the interface, then the eBPF that sends into it.
func (s *side) set(t *testing.T) {
	t.Helper()
	s.gateway.MustDo(t, func() error {
		if err := s.tunnel.Set(s.wireguard); err != nil {
			return err
		}
		return s.fastpath.Set(s.config)
	})
}

func (s *side) drops(t *testing.T, reason string) uint64 {
	t.Helper()
	counters, err := s.fastpath.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return counters.Drops[reason]
}

func public(t *testing.T, key PrivateKey) PublicKey {
	t.Helper()
	p, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ping sends n packets from the pod east and returns how many were answered.
func (w *world) ping(t *testing.T, n int, args ...string) int {
	t.Helper()
	words := append([]string{"-n", "-c", fmt.Sprint(n), "-i", "0.05", "-W", "1", "-p", marker}, args...)
	out, _ := w.east.pod.Run("ping", append(words, "10.1.2.2")...)
	return strings.Count(out, "bytes from 10.1.2.2")
}

// marker is what pings are filled with, as ping wants it and as it is on the wire.
const marker = "746f6d626f6c6f"

// wire is everything that passes the router on one interface.
type wire struct {
	mu     sync.Mutex
	frames [][]byte
}

func listen(t *testing.T, ns *linktest.Namespace, name string) *wire {
	t.Helper()
	w, fd := &wire{}, -1
	ns.MustDo(t, func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL))); err != nil {
			return err
		}
		// Waiting in turns of 100 ms, so that the end of the test ends the reader.
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if err == nil {
				w.mu.Lock()
				w.frames = append(w.frames, bytes.Clone(buf[:n]))
				w.mu.Unlock()
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
	return w
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// take returns what passed since the last take: UDP datagrams by destination port, and frames that hold text.
func (w *wire) take(text string) (byPort map[int]int, holding int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	byPort = map[int]int{}
	for _, f := range w.frames {
		if bytes.Contains(f, []byte(text)) {
			holding++
		}
		if len(f) >= 42 && f[12] == 8 && f[13] == 0 && f[23] == unix.IPPROTO_UDP {
			byPort[int(f[36])<<8|int(f[37])]++
		}
	}
	w.frames = nil
	return byPort, holding
}

// eventually waits for what others do in their own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
