// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// Two clusters, a router between them, and the Vpcs shop/blue (VNI 100) and bank/blue (VNI 300), which have the same
// addresses. A pod stands where the router of its Vpc would: what the gateway delivers, it gets.
//
//	shop east ─┐                               ┌─ shop west
//	           gateway east ── router ── gateway west
//	bank east ─┘   192.0.2.1      198.51.100.1 └─ bank west
type transit struct {
	east, west, router *linktest.Namespace
	// Pods: 10.1.1.2 in the east, 10.1.2.2 in the west.
	shopEast, shopWest, bankEast, bankWest *linktest.Namespace

	eastConfig, westConfig   Config
	eastPins, westPins       string
	eastGateway, westGateway *Fastpath
}

func newTransit(t testing.TB) *transit {
	t.Helper()
	x := &transit{
		east: linktest.New(t, "east"), west: linktest.New(t, "west"), router: linktest.New(t, "router"),
		shopEast: linktest.New(t, "shop-east"), shopWest: linktest.New(t, "shop-west"),
		bankEast: linktest.New(t, "bank-east"), bankWest: linktest.New(t, "bank-west"),
	}
	x.router.Sysctl(t, "net/ipv4/ip_forward", "1")
	x.underlay(t, x.east, "r0", "192.0.2.1", "192.0.2.254")
	x.underlay(t, x.west, "r1", "198.51.100.1", "198.51.100.254")
	pod(t, x.shopEast, x.east, "tbg100", "10.1.1.2/24", "10.1.1.1")
	pod(t, x.shopWest, x.west, "tbg100", "10.1.2.2/24", "10.1.2.1")
	pod(t, x.bankEast, x.east, "tbg300", "10.1.1.2/24", "10.1.1.1")
	pod(t, x.bankWest, x.west, "tbg300", "10.1.2.2/24", "10.1.2.1")
	// As link.Ensure leaves it for OVS; shop keeps its offloads, so that super-packets cross whole.
	for _, gw := range []*linktest.Namespace{x.east, x.west} {
		if out, err := gw.Run("ethtool", "-K", "tbg300", "tx", "off", "tso", "off", "gso", "off"); err != nil {
			t.Fatal(out, err)
		}
	}
	x.eastConfig = transitConfig("192.0.2.1", "west", "198.51.100.1", "10.1.1.0/24", "10.1.2.0/24")
	x.westConfig = transitConfig("198.51.100.1", "east", "192.0.2.1", "10.1.2.0/24", "10.1.1.0/24")
	x.links("169.254.0.2", "169.254.0.10")
	path := pinPath(t)
	x.eastPins, x.westPins = path+"-east", path+"-west"
	x.eastGateway = openGateway(t, x.east, x.eastPins, x.eastConfig)
	x.westGateway = openGateway(t, x.west, x.westPins, x.westConfig)
	return x
}

// withSlowPath puts the kernel's slow path under both gateways.
func (x *transit) withSlowPath(t testing.TB) *transit {
	t.Helper()
	x.eastConfig.Underlay.VXLAN, x.westConfig.Underlay.VXLAN = vxlanDevice, vxlanDevice
	setBoth(t, x.east, x.eastGateway, x.eastConfig)
	setBoth(t, x.west, x.westGateway, x.westConfig)
	return x
}

func (x *transit) underlay(t testing.TB, gw *linktest.Namespace, port, address, router string) {
	t.Helper()
	gw.Veth(t, "ul0", x.router, port)
	gw.IP(t, "addr add "+address+"/24 dev ul0")
	x.router.IP(t, "addr add "+router+"/24 dev "+port)
	gw.IP(t, "link set ul0 up")
	x.router.IP(t, "link set "+port+" up")
	gw.IP(t, "route add default via "+router)
}

func pod(t testing.TB, pod, gw *linktest.Namespace, port, address, router string) {
	t.Helper()
	gw.Veth(t, port, pod, "eth0")
	gw.IP(t, "link set "+port+" address 0a:58:a9:fe:00:02 mtu 1450 up")
	pod.IP(t, "link set eth0 address 0a:58:a9:fe:00:01 mtu 1450 up")
	pod.IP(t, "addr add "+address+" dev eth0")
	pod.IP(t, "neigh replace "+router+" lladdr 0a:58:a9:fe:00:02 dev eth0")
	pod.IP(t, "route add default via "+router)
}

func transitConfig(address, cluster, endpoint, local, remote string) Config {
	port := func(vpc string, vni uint32) Port {
		return Port{
			Interface: fmt.Sprintf("tbg%d", vni), Vpc: vpc, VNI: vni,
			GatewayMAC: "0a:58:a9:fe:00:02", RouterMAC: "0a:58:a9:fe:00:01",
			Local:   prefixes(local),
			Remotes: []Remote{{Vpc: vpc, VNI: vni, Cluster: cluster, Prefixes: prefixes(remote)}},
		}
	}
	return Config{
		Underlay: Underlay{Interface: "ul0", Address: netip.MustParseAddr(address), UDPPort: 4789},
		Clusters: []Cluster{{Name: cluster, Endpoints: []netip.Addr{netip.MustParseAddr(endpoint)}}},
		Ports:    []Port{port("shop/blue", 100), port("bank/blue", 300)},
	}
}

// links gives the gateways of both clusters their link addresses.
func (x *transit) links(east, west string) {
	for i := range x.eastConfig.Ports {
		for _, g := range []struct {
			ours, theirs  *Port
			address, peer string
		}{{&x.eastConfig.Ports[i], &x.westConfig.Ports[i], east, west}, {&x.westConfig.Ports[i], &x.eastConfig.Ports[i], west, east}} {
			g.ours.Address = netip.MustParseAddr(g.address)
			link := netip.PrefixFrom(g.ours.Address, 29).Masked()
			g.ours.Local = append(g.ours.Local, link)
			g.theirs.Remotes[0].Prefixes = append(g.theirs.Remotes[0].Prefixes, link)
		}
	}
}

func openGateway(t testing.TB, ns *linktest.Namespace, pins string, cfg Config) *Fastpath {
	t.Helper()
	var f *Fastpath
	ns.MustDo(t, func() (err error) {
		if f, err = Open(Options{PinPath: pins, Logger: logr.Discard()}); err != nil {
			return err
		}
		return f.Set(cfg)
	})
	return f
}

// setInChild opens and sets the gateway in another process, as an agent that starts anew: TestMain is its main.
func setInChild(t *testing.T, ns *linktest.Namespace, pins string, cfg Config) {
	t.Helper()
	order, err := json.Marshal(childOrder{pins, cfg})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := ns.Run("env", childVariable+"="+string(order), os.Args[0]); err != nil {
		t.Fatalf("gateway in another process: %v\n%s", err, out)
	}
}

const childVariable = "FASTPATH_TEST_CHILD"

type childOrder struct {
	PinPath string
	Config  Config
}

func TestMain(m *testing.M) {
	text := os.Getenv(childVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := child(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(text string) error {
	var order childOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		return err
	}
	f, err := Open(Options{PinPath: order.PinPath, Logger: logr.Discard()})
	if err != nil {
		return err
	}
	return f.Set(order.Config) // and no Close: a process that is killed closes nothing
}

// echo answers each datagram with its pod's name and the datagram, until the test ends.
func echo(t *testing.T, ns *linktest.Namespace, name string) {
	t.Helper()
	conn := listenUDP(t, ns)
	mayBeFragmented(t, conn.(*net.UDPConn))
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo(append([]byte(name+" "), buf[:n]...), from); err != nil {
				return
			}
		}
	}()
}

func listenUDP(t testing.TB, ns *linktest.Namespace) net.PacketConn {
	t.Helper()
	return listenUDPOn(t, ns, 7)
}

func listenUDPOn(t testing.TB, ns *linktest.Namespace, port int) net.PacketConn {
	t.Helper()
	var conn *net.UDPConn
	ns.MustDo(t, func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		return err
	})
	t.Cleanup(func() { conn.Close() })
	enlarge(t, conn)
	return conn
}

func dialUDP(t testing.TB, ns *linktest.Namespace, to string) *net.UDPConn {
	t.Helper()
	var conn net.Conn
	ns.MustDo(t, func() (err error) {
		conn, err = net.Dial("udp4", to)
		return err
	})
	t.Cleanup(func() { conn.Close() })
	enlarge(t, conn.(*net.UDPConn))
	return conn.(*net.UDPConn)
}

// enlarge gives the socket room for the time that a busy machine leaves its reader waiting.
func enlarge(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	if err := setOption(conn, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		t.Fatal(err)
	}
}

// mayBeFragmented clears DF of what the socket sends, whatever it has learnt about the path.
func mayBeFragmented(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	if err := setOption(conn, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
		t.Fatal(err)
	}
}

func setOption(conn *net.UDPConn, level, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	return failed
}

// lostDuring is lostDuring from shop east to shop west.
func (x *transit) lostDuring(t *testing.T, f func()) (sent, lost int) {
	t.Helper()
	return lostDuring(t, dialUDP(t, x.shopEast, "10.1.2.2:7"), f)
}

// lostDuring sends 1000 datagrams per second while f runs, and returns how many were sent and how many were never answered.
func lostDuring(t *testing.T, conn *net.UDPConn, f func()) (sent, lost int) {
	t.Helper()
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		n := 0
		for start := time.Now(); !stop.Load(); time.Sleep(500 * time.Microsecond) {
			for due := int(time.Since(start) / time.Millisecond); n < due; n++ {
				fmt.Fprintf(conn, "%d", n)
			}
		}
		done <- n
	}()
	answers := make(chan int, 1<<16)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			if _, err := conn.Read(buf); err != nil {
				close(answers)
				return
			}
			answers <- 1
		}
	}()
	time.Sleep(50 * time.Millisecond)
	f()
	time.Sleep(50 * time.Millisecond)
	stop.Store(true)
	sent = <-done
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil { // for those that were lost
		t.Fatal(err)
	}
	for lost = sent; lost > 0; lost-- {
		if _, ok := <-answers; !ok {
			break
		}
	}
	return sent, lost
}

// transfer sends size bytes over TCP and returns the rate, when what has arrived has the checksum of what was sent.
func transfer(t *testing.T, from, to *linktest.Namespace, address string, size int64) (mbps float64) {
	t.Helper()
	var l net.Listener
	to.MustDo(t, func() (err error) { l, err = net.Listen("tcp4", address); return err })
	defer l.Close()
	arrived := make(chan [sha256.Size]byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, conn); err != nil {
			return
		}
		arrived <- [sha256.Size]byte(sum.Sum(nil))
	}()
	var conn net.Conn
	from.MustDo(t, func() (err error) { conn, err = net.DialTimeout("tcp4", address, 20*time.Second); return err })
	sum := sha256.New()
	start := time.Now()
	if _, err := io.CopyN(io.MultiWriter(conn, sum), pattern{}, size); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	select {
	case got := <-arrived:
		if got != [sha256.Size]byte(sum.Sum(nil)) {
			t.Errorf("%d bytes to %s arrived changed", size, address)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("%d bytes to %s have not arrived", size, address)
	}
	return float64(size) * 8 / 1e6 / time.Since(start).Seconds()
}

// pattern is an endless stream in which no two kilobytes are alike.
type pattern struct{}

func (pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ len(b))
	}
	return len(b), nil
}
