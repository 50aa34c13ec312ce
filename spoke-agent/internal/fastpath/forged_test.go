// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// rawSocket sends whole IPv4 packets.
type rawSocket int

func newRawSocket(t *testing.T, ns *linktest.Namespace) rawSocket {
	t.Helper()
	var fd int
	ns.MustDo(t, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	t.Cleanup(func() { _ = unix.Close(fd) })
	return rawSocket(fd)
}

func (s rawSocket) send(t *testing.T, packet []byte) {
	t.Helper()
	if err := unix.Sendto(int(s), packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:])}); err != nil {
		t.Fatal(err)
	}
}

// testForged sends to west what nobody may send: as gateways do, and with options in the outer header, which
// tombolo_in leaves to the kernel's VXLAN device.
func (x *transit) testForged(t *testing.T) {
	const packets = 100_000
	var sinks []*net.UDPConn
	for _, ns := range []*linktest.Namespace{x.shopWest, x.bankWest, x.west} {
		sinks = append(sinks, listenPort(t, ns, 1000))
	}
	socket := newRawSocket(t, x.router)
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[random.IntN(len(s))] }
	forge := func(endpoint string, vni uint32, src, dst string, options []byte) []byte {
		inner := ip4{ttl: 64, protocol: udp, src: src, dst: dst, payload: udpDatagram(1, 1000, []byte("forged"))}
		frame := ethernet(someMAC, someMAC, 0x0800, inner.bytes())
		return ip4{
			frag: 0x4000, ttl: 64, protocol: udp, src: endpoint, dst: "198.51.100.1", options: options,
			payload: udpDatagram(uint16(random.Uint32()), 4789, vxlan(vni, frame)),
		}.bytes()
	}
	anyAddress := func() string {
		return netip.AddrFrom4([4]byte{byte(128 + random.IntN(64)), byte(random.Uint32()), 3, 4}).String()
	}
	before := counters(t, x.westGateway).Drops
	for i := range packets {
		endpoint, vni, src, dst := "192.0.2.1", pick2(random, 100, 300), "10.1.1.2", pick("10.1.2.2", "10.1.2.2", "10.1.2.9")
		switch random.IntN(4) {
		case 0:
			src = pick(anyAddress(), "10.1.2.2", "10.1.0.255", "198.51.100.1", "127.0.0.1", "169.254.0.10", "0.0.0.0")
		case 1:
			vni = pick2(random, random.Uint32N(100), 301+random.Uint32N(1<<24-301))
		case 2:
			endpoint = pick(anyAddress(), "192.0.2.2", "198.51.100.2")
		case 3:
			dst = pick(anyAddress(), "198.51.100.1", "127.0.0.1", "10.1.1.2", "169.254.0.2", "255.255.255.255", "224.0.0.1")
		}
		var options []byte
		if i%2 == 1 {
			options = []byte{1, 1, 1, 0}
		}
		socket.send(t, forge(endpoint, vni, src, dst, options))
	}
	wantDrops := func() string {
		sum, grew := uint64(0), grown(before, counters(t, x.westGateway).Drops)
		for _, n := range grew {
			sum += n
		}
		if sum != packets {
			return fmt.Sprintf("%d of %d forged packets are counted as dropped: %v", sum, packets, grew)
		}
		t.Logf("%v", grew)
		return ""
	}
	problem := wantDrops()
	for deadline := time.Now().Add(time.Minute); problem != "" && time.Now().Before(deadline); problem = wantDrops() {
		time.Sleep(20 * time.Millisecond)
	}
	if problem != "" {
		t.Error(problem)
	}
	for i, sink := range sinks {
		if n := drain(t, sink, 0); n != 0 {
			t.Errorf("%d forged packets arrived at sink %d", n, i)
		}
	}
	// Both ways do lead to the pod.
	for _, options := range [][]byte{nil, {1, 1, 1, 0}} {
		socket.send(t, forge("192.0.2.1", 100, "10.1.1.2", "10.1.2.2", options))
		if n := drain(t, sinks[0], 1); n != 1 {
			t.Errorf("a packet as it should be, with outer options %v, arrived %d times: the test proves nothing", options, n)
		}
	}
	x.testNodeOutOfReach(t)
}

func pick2(random *rand.Rand, a, b uint32) uint32 {
	if random.IntN(2) == 0 {
		return a
	}
	return b
}

// testNodeOutOfReach sends from a pod to addresses of its gateway node, with packets that need the kernel.
func (x *transit) testNodeOutOfReach(t *testing.T) {
	sink := listenPort(t, x.east, 1000)
	wide := x.eastConfig
	wide.Ports = slices.Clone(wide.Ports)
	wide.Ports[0].Remotes = []Remote{{Vpc: "shop/blue", VNI: 100, Cluster: "west", Prefixes: prefixes("0.0.0.0/1", "128.0.0.0/1")}}
	setBoth(t, x.east, x.eastGateway, wide)
	for _, to := range []string{"192.0.2.1", "127.0.0.1", "169.254.0.2", "192.0.2.255"} {
		for _, size := range []int{10, 1460} { // the larger one does not fit the underlay
			p := ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: to, payload: udpDatagram(1, 1000, make([]byte, size))}
			x.sendFrame(t, ethernet(gatewayMAC, routerMAC, 0x0800, p.bytes()))
		}
	}
	if n := drain(t, sink, 0); n != 0 {
		t.Errorf("the node took %d packets of a tenant as its own", n)
	}
	fmt.Fprint(dialUDP(t, x.router, "192.0.2.1:1000"), "from the underlay")
	if n := drain(t, sink, 1); n != 1 {
		t.Errorf("a packet from the underlay arrived %d times: the test proves nothing", n)
	}
	x.again(t)
}

// sendFrame sends a frame out of shop east's pod.
func (x *transit) sendFrame(t *testing.T, frame []byte) {
	t.Helper()
	x.shopEast.MustDo(t, func() error {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index, Protocol: 0x0008})
	})
}

// drain counts what arrives until nothing has for a while, which is longer as long as less has come than must.
func drain(t *testing.T, conn *net.UDPConn, must int) (n int) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		patience := 200 * time.Millisecond
		if n < must {
			patience = 10 * time.Second
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			return n
		}
		n++
	}
}

// testSame sends the same random packets by the fast path and, with its map of routes emptied, by the kernel's.
func (x *transit) testSame(t *testing.T) {
	const packets = 3000
	random := rand.New(rand.NewPCG(3, 4))
	var sent [][]byte
	for i := range packets {
		payload := make([]byte, random.IntN(1450-20-12))
		for j := range payload {
			payload[j] = byte(random.Uint32())
		}
		p := ip4{
			tos: byte(random.Uint32()), id: uint16(i + 1), frag: []uint16{0, 0x4000, 0x2000, 0x0010}[random.IntN(4)], ttl: byte(1 + random.IntN(254)),
			protocol: []byte{icmp, tcp, udp, 47, 132, 253}[random.IntN(6)], src: fmt.Sprintf("10.1.1.%d", 2+random.IntN(200)),
			dst: fmt.Sprintf("10.1.2.%d", 1+random.IntN(254)), payload: payload,
		}
		if random.IntN(4) == 0 {
			p.options = []byte{1, 1, 1, 1, 1, 1, 1, 0}
		}
		sent = append(sent, p.bytes())
	}
	fast := x.crossing(t, sent)
	before := counters(t, x.eastGateway).Slow["no_route"]
	all, err := x.eastGateway.read(gatewayMapTomboloRemotes)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.eastGateway.delete(gatewayMapTomboloRemotes, slices.Collect(maps.Keys(all))); err != nil {
		t.Fatal(err)
	}
	slow := x.crossing(t, sent)
	if n := counters(t, x.eastGateway).Slow["no_route"] - before; n != packets {
		t.Errorf("%d of %d packets took the slow path", n, packets)
	}
	x.again(t)
	for i, p := range sent {
		id := binary.BigEndian.Uint16(p[4:])
		if !bytes.Equal(fast[id], p) {
			t.Errorf("packet %d by the fast path:\ngot  %x\nwant %x", i, fast[id], p)
		}
		if !bytes.Equal(slow[id], p) {
			t.Errorf("packet %d by the slow path:\ngot  %x\nwant %x", i, slow[id], p)
		}
		if t.Failed() {
			break
		}
	}
}

// crossing sends IPv4 packets from shop east's pod and returns those that shop west's interface got, by their identification.
func (x *transit) crossing(t *testing.T, packets [][]byte) map[uint16][]byte {
	t.Helper()
	var in, out int
	x.shopWest.MustDo(t, func() (err error) { in, err = packetSocket(); return err })
	defer unix.Close(in)
	x.shopEast.MustDo(t, func() (err error) { out, err = packetSocket(); return err })
	defer unix.Close(out)
	got := map[uint16][]byte{}
	buf := make([]byte, 1<<16)
	receive := func() bool {
		n, from, err := unix.Recvfrom(in, buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if a := from.(*unix.SockaddrLinklayer); a.Pkttype != unix.PACKET_OUTGOING && n > 34 && buf[26] == 10 {
			got[binary.BigEndian.Uint16(buf[18:])] = bytes.Clone(buf[14:n])
		}
		return true
	}
	for _, p := range packets {
		if err := unix.Send(out, ethernet(gatewayMAC, routerMAC, 0x0800, p), 0); err != nil {
			t.Fatal(err)
		}
		for receive() {
		}
	}
	for deadline := time.Now().Add(time.Minute); len(got) < len(packets) && time.Now().Before(deadline); {
		if !receive() {
			time.Sleep(time.Millisecond)
		}
	}
	return got
}

// packetSocket sees IPv4 on eth0.
func packetSocket() (int, error) {
	dev, err := net.InterfaceByName("eth0")
	if err != nil {
		return 0, err
	}
	const protocol = 0x0008 // ETH_P_IP in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, err
	}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: dev.Index, Protocol: protocol}))
}

// testRemoveSlow: first the kernel's part, then its guards.
func (x *transit) testRemoveSlow(t *testing.T) {
	for ns, f := range map[*linktest.Namespace]*Fastpath{x.east: x.eastGateway, x.west: x.westGateway} {
		ns.MustDo(t, func() error {
			if err := link.RemoveSlowPath(); err != nil {
				return err
			}
			if err := f.Remove(); err != nil {
				return err
			}
			return wantNothingAttached()
		})
		if rules := ns.IP(t, "rule show"); strings.Contains(rules, "tbg") {
			t.Errorf("rules are left:\n%s", rules)
		}
		if routes := ns.IP(t, "route show table all proto 84"); routes != "" {
			t.Errorf("routes are left:\n%s", routes)
		}
		if links := ns.IP(t, "-br link"); strings.Contains(links, "tbx") {
			t.Errorf("the VXLAN device is left:\n%s", links)
		}
	}
	if out, err := x.shopEast.Run("ping", "-c1", "-W0.2", "10.1.2.2"); err == nil {
		t.Errorf("a packet crosses without either path:\n%s", out)
	}
}
