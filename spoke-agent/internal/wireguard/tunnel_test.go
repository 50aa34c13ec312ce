// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestTunnel sends real packets between real stacks. Its parts run in order, on one topology.
func TestTunnel(t *testing.T) {
	w := newWorld(t)
	eventually(t, "an answer", func() bool { return w.ping(t, 1) == 1 })
	t.Run("memory", w.testMemory)
	t.Run("nobody on the way can read", w.testSecret)
	t.Run("full-size packets and TCP", w.testSizes)
	t.Run("in the clear, from an encrypted cluster", w.testForged)
	t.Run("nothing but VXLAN", w.testOnlyVXLAN)
	t.Run("setting the same again interrupts nothing", w.testSame)
	t.Run("wrong key", w.testWrongKey)
	t.Run("without the tunnel", w.testClosed)
	t.Run("the kernel's own way", w.testGuard)
}

// testMemory: two ends hold some 17 MiB; with wireguard-go's own batches, and the longest datagram everywhere, they were 68.
func (w *world) testMemory(t *testing.T) {
	w.wire.take("")
	runtime.GC()
	runtime.GC() // a pool forgets at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if held := m.HeapAlloc >> 20; held > 32 {
		t.Errorf("two ends at rest hold %d MiB, want at most 32", held)
	}
}

func (w *world) testSecret(t *testing.T) {
	w.wire.take("")
	if n := w.ping(t, 20); n != 20 {
		t.Errorf("%d of 20 answered", n)
	}
	if ports, readable := w.wire.take("tombolo"); ports[port] < 40 || ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
}

func (w *world) testSizes(t *testing.T) {
	if n := w.ping(t, 3, "-M", "do", "-s", "1362"); n != 3 {
		t.Errorf("%d of 3 packets of 1390 bytes answered: 50 for VXLAN and %d for WireGuard must fit 1500", n, Overhead)
	}
	w.wire.take("")
	before := w.east.drops(t, "gso_not_tcp") + w.west.drops(t, "gso_not_tcp")
	t.Logf("TCP: %.0f Mbit/s", transfer(t, w.east.pod, w.west.pod, "10.1.2.2:80", 32<<20))
	if after := w.east.drops(t, "gso_not_tcp") + w.west.drops(t, "gso_not_tcp"); after != before {
		t.Errorf("%d super-packets of the tunnel's own making were dropped", after-before)
	}
	if ports, readable := w.wire.take(pattern); ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
}

const pattern = "all that is in the stream is this sentence. "

func transfer(t *testing.T, from, to *linktest.Namespace, address string, size int) (mbps float64) {
	t.Helper()
	var l net.Listener
	to.MustDo(t, func() (err error) { l, err = net.Listen("tcp4", address); return err })
	defer l.Close()
	text := strings.Repeat(pattern, size/len(pattern))
	arrived := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		got, _ := io.ReadAll(conn)
		arrived <- string(got)
	}()
	var conn net.Conn
	from.MustDo(t, func() (err error) { conn, err = net.DialTimeout("tcp4", address, 20*time.Second); return err })
	start := time.Now()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case got := <-arrived:
		if got != text {
			t.Errorf("%d bytes arrived changed, or in part: %d", len(text), len(got))
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%d bytes have not arrived", len(text))
	}
	return float64(len(text)) * 8 / 1e6 / time.Since(start).Seconds()
}

// testForged sends VXLAN as the other gateway would without encryption.
func (w *world) testForged(t *testing.T) {
	before := w.west.drops(t, "not_encrypted")
	inner := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 1, 1, 2, 10, 1, 2, 2}, make([]byte, 8)...)
	datagram := append([]byte{8, 0, 0, 0, 0, 0, 100, 0}, append(append(make([]byte, 12), 8, 0), inner...)...)
	// A raw socket asks for no route of UDP, and so is not guarded.
	w.east.gateway.MustDo(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		udp := append([]byte{0xc3, 0x50, 4789 >> 8, 4789 & 0xff, 0, byte(8 + len(datagram)), 0, 0}, datagram...)
		header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0}
		header = append(append(header, w.east.address.AsSlice()...), w.west.address.AsSlice()...)
		return unix.Sendto(fd, append(header, udp...), 0, &unix.SockaddrInet4{Addr: w.west.address.As4()})
	})
	eventually(t, "west to count the packet", func() bool { return w.west.drops(t, "not_encrypted") == before+1 })
}

// testGuard sends VXLAN by the kernel's own way, as its vxlan device would.
func (w *world) testGuard(t *testing.T) {
	var listener net.PacketConn // or west would answer with an ICMP error that quotes what it got
	w.west.gateway.MustDo(t, func() (err error) { listener, err = net.ListenPacket("udp4", ":4789"); return err })
	defer listener.Close()
	send := func() error {
		return w.east.gateway.Do(func() error {
			conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: w.east.address.AsSlice()}, &net.UDPAddr{IP: w.west.address.AsSlice(), Port: 4789})
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("tombolo"))
			return err
		})
	}
	w.wire.take("")
	if err := send(); err != nil {
		t.Errorf("with the tunnel: %v", err)
	}
	eventually(t, "the datagram to leave encrypted", func() bool {
		ports, readable := w.wire.take("tombolo")
		if ports[4789] != 0 || readable != 0 {
			t.Fatalf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
		}
		// A tunnel that has just begun may lose what comes before its first handshake.
		if ports[port] == 0 {
			if err := send(); err != nil {
				t.Errorf("with the tunnel: %v", err)
			}
		}
		return ports[port] > 0
	})
	w.east.gateway.MustDo(t, w.east.tunnel.Close)
	if err := send(); err == nil {
		t.Error("without the tunnel there is another way")
	}
	if n := w.ping(t, 2); n != 0 {
		t.Errorf("%d answered", n)
	}
	if ports, readable := w.wire.take("tombolo"); ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
	w.east.set(t)
	eventually(t, "an answer after the restart", func() bool { return w.ping(t, 1) == 1 })
	w.east.gateway.MustDo(t, func() error { return w.east.tunnel.Remove("tbwg0") })
	if rules, routes := w.east.gateway.IP(t, "rule"), w.east.gateway.IP(t, "route show table all"); strings.Contains(rules+routes, "51871") {
		t.Errorf("Remove leaves\n%s%s", rules, routes)
	}
	if err := send(); err != nil {
		t.Errorf("after the removal: %v", err)
	}
}

// testOnlyVXLAN: the tunnel leads to the other gateway's VXLAN port, be it the programs' or the kernel's, and to nothing else.
func (w *world) testOnlyVXLAN(t *testing.T) {
	send := func(to int) {
		w.east.gateway.MustDo(t, func() error {
			dialer := net.Dialer{LocalAddr: &net.UDPAddr{IP: w.east.address.AsSlice()}, Control: func(_, _ string, c syscall.RawConn) (err error) {
				return errors.Join(c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), "tbwg0") }), err)
			}}
			conn, err := dialer.Dial("udp4", netip.AddrPortFrom(w.west.address, uint16(to)).String())
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("hello"))
			return err
		})
	}
	var sockets []net.PacketConn
	for _, number := range []int{4789, 9} {
		w.west.gateway.MustDo(t, func() error {
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: number})
			sockets = append(sockets, conn)
			return err
		})
		defer sockets[len(sockets)-1].Close()
	}
	before := w.west.drops(t, "not_vxlan")
	send(4789)
	send(9)
	eventually(t, "west to count the packet to port 9", func() bool { return w.west.drops(t, "not_vxlan") == before+1 })
	for i, want := range []bool{true, false} {
		patience := 300 * time.Millisecond
		if want {
			patience = 10 * time.Second
		}
		if err := sockets[i].SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := sockets[i].ReadFrom(make([]byte, 10)); (err == nil) != want {
			t.Errorf("%s: %v", sockets[i].LocalAddr(), err)
		}
	}
}

func (w *world) testSame(t *testing.T) {
	done := make(chan int)
	go func() { done <- w.ping(t, 20) }()
	for range 5 {
		w.east.set(t)
		w.west.set(t)
	}
	if n := <-done; n != 20 {
		t.Errorf("%d of 20 answered", n)
	}
}

// testWrongKey: west believes in another key than east has.
func (w *world) testWrongKey(t *testing.T) {
	right := w.west.wireguard.Peers[0].Key
	other, err := newPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	w.west.gateway.MustDo(t, w.west.tunnel.Close) // or west would go on with the right one, as a former key
	w.west.wireguard.Peers[0].Key = public(t, other)
	w.west.set(t)
	w.wire.take("")
	if n := w.ping(t, 5); n != 0 {
		t.Errorf("%d answered", n)
	}
	if ports, readable := w.wire.take("tombolo"); ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
	w.west.wireguard.Peers[0].Key = right
	w.west.set(t)
	eventually(t, "an answer with the right key", func() bool { return w.ping(t, 1) == 1 })
}

// testClosed: an interface that is gone, as when the agent has ended, opens no other way.
func (w *world) testClosed(t *testing.T) {
	w.east.gateway.MustDo(t, w.east.tunnel.Close)
	w.wire.take("")
	if n := w.ping(t, 5); n != 0 {
		t.Errorf("%d answered", n)
	}
	before := w.east.drops(t, "not_encrypted")
	w.east.gateway.MustDo(t, func() error {
		if err := w.east.fastpath.Set(w.east.config); err == nil || !strings.Contains(err.Error(), "no interface tbwg0") {
			t.Errorf("Set says %v, want that there is no tbwg0", err)
		}
		return nil
	})
	if n := w.ping(t, 5); n != 0 {
		t.Errorf("%d answered", n)
	}
	if after := w.east.drops(t, "not_encrypted"); after != before+5 {
		t.Errorf("not_encrypted went from %d to %d, want 5 more", before, after)
	}
	if ports, readable := w.wire.take("tombolo"); ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
	w.east.set(t)
	eventually(t, "an answer after the restart", func() bool { return w.ping(t, 1) == 1 })
}

func TestValidate(t *testing.T) {
	key, err := newPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	peer := func(first byte, address string) Peer {
		return Peer{Key: PublicKey{first}, Address: netip.MustParseAddr(address), Port: port}
	}
	for name, tc := range map[string]struct {
		reason string
		modify func(*Config)
		want   string
	}{
		"key":     {"without a key nothing is encrypted", func(c *Config) { c.Key = PrivateKey{} }, "no private key"},
		"port":    {"others must know it", func(c *Config) { c.ListenPort = 0 }, "listen port"},
		"name":    {"the eBPF must find it", func(c *Config) { c.Interface = "" }, "interface"},
		"address": {"the underlay is IPv4", func(c *Config) { c.Peers = []Peer{peer(1, "2001:db8::1")} }, "not IPv4"},
		"twice":   {"one key, two gateways: WireGuard would keep the last", func(c *Config) { c.Peers = []Peer{peer(1, "192.0.2.1"), peer(1, "192.0.2.2")} }, "same key"},
		"shared":  {"one address, two gateways: WireGuard would keep the last", func(c *Config) { c.Peers = []Peer{peer(1, "192.0.2.1"), peer(2, "192.0.2.1")} }, "192.0.2.1 too"},
		"own": {"this node's own key is no peer's", func(c *Config) {
			c.Peers = []Peer{{Key: public(t, key), Address: netip.MustParseAddr("192.0.2.1"), Port: 1}}
		}, "same key"},
	} {
		c := Config{GuardedPort: 4789, Interface: "tbwg0", MTU: 1440, ListenPort: port, Key: key}
		tc.modify(&c)
		if err := validate(c); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %s: error is %v, want it to say %q", name, tc.reason, err, tc.want)
		}
	}
}
