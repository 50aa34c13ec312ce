// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestSlowTransit sends real packets that need the kernel. Its parts run in order, on one topology.
func TestSlowTransit(t *testing.T) {
	x := newTransit(t).withSlowPath(t)
	for _, pod := range []struct {
		ns   *linktest.Namespace
		name string
	}{{x.shopEast, "shop-east"}, {x.shopWest, "shop-west"}, {x.bankEast, "bank-east"}, {x.bankWest, "bank-west"}} {
		echo(t, pod.ns, pod.name)
		pod.ns.IP(t, "link set eth0 mtu 1500")
	}
	for _, gw := range []*linktest.Namespace{x.east, x.west} {
		gw.IP(t, "link set tbg100 mtu 1500")
		gw.IP(t, "link set tbg300 mtu 1500")
	}
	x.again(t)
	t.Run("the path's MTU is told", x.testMTU)
	t.Run("TCP of pods with an MTU of 1500", func(t *testing.T) {
		t.Logf("super-packets: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 64<<20))
		t.Logf("segments (tso, gso off): %.0f Mbit/s", transfer(t, x.bankWest, x.bankEast, "10.1.1.2:80", 16<<20))
	})
	t.Run("TCP without a clamped MSS", x.testLateMTU)
	t.Run("datagrams that may be fragmented", x.testFragments)
	t.Run("super-packets of UDP arrive whole", x.testSegments)
	t.Run("a smaller port at the far end", x.testSmallerPort)
	t.Run("empty maps", x.testEmptyMaps)
	t.Run("both paths deliver the same", x.testSame)
	t.Run("nothing forged gets through", x.testForged)
	t.Run("remove", x.testRemoveSlow)
}

func (x *transit) again(t *testing.T) {
	t.Helper()
	setBoth(t, x.east, x.eastGateway, x.eastConfig)
	setBoth(t, x.west, x.westGateway, x.westConfig)
}

func (x *transit) testMTU(t *testing.T) {
	for _, from := range []*linktest.Namespace{x.shopEast, x.bankEast} {
		out, err := from.Run("ping", "-c1", "-W10", "-Mdo", "-s1423", "10.1.2.2")
		if !strings.Contains(out, "From 169.254.0.2 icmp_seq=1 Frag needed and DF set (mtu = 1450)") {
			t.Errorf("1451 bytes from %s: %v\n%s", from.Name, err, out)
		}
		out, err = from.Run("ping", "-c1", "-W10", "-Mdo", "-s1422", "10.1.2.2")
		if err != nil {
			t.Errorf("1450 bytes from %s: %v\n%s", from.Name, err, out)
		}
		from.IP(t, "route flush cache")
	}
}

// testLateMTU lets the path shrink under a connection: only the ICMP error can tell.
func (x *transit) testLateMTU(t *testing.T) {
	for name, pods := range map[string][2]*linktest.Namespace{"super-packets": {x.shopEast, x.shopWest}, "segments": {x.bankEast, x.bankWest}} {
		var l net.Listener
		pods[1].MustDo(t, func() (err error) { l, err = net.Listen("tcp4", "10.1.2.2:81"); return err })
		defer l.Close()
		arrived := make(chan int64, 1)
		go func() {
			if conn, err := l.Accept(); err == nil {
				n, _ := io.Copy(io.Discard, conn)
				arrived <- n
			}
		}()
		var conn net.Conn
		pods[0].MustDo(t, func() (err error) { conn, err = net.DialTimeout("tcp4", "10.1.2.2:81", 20*time.Second); return err })
		x.east.IP(t, "link set ul0 mtu 1300")
		x.again(t)
		before := counters(t, x.eastGateway).Drops["fragmentation_needed"]
		const size = 4 << 20
		if _, err := io.CopyN(conn, pattern{}, size); err != nil {
			t.Error(name, err)
		}
		conn.Close()
		select {
		case n := <-arrived:
			if n != size {
				t.Errorf("%s: %d of %d bytes arrived", name, n, size)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: a connection stands still since the path has become smaller", name)
		}
		if after := counters(t, x.eastGateway).Drops["fragmentation_needed"]; after == before {
			t.Errorf("%s: nobody was told", name)
		}
		x.east.IP(t, "link set ul0 mtu 1500")
		x.again(t)
		pods[0].IP(t, "route flush cache")
	}
}

func (x *transit) testFragments(t *testing.T) {
	before := counters(t, x.eastGateway).Slow["too_big"]
	for _, ns := range []*linktest.Namespace{x.shopEast, x.bankEast} {
		conn := dialUDP(t, ns, "10.1.2.2:7")
		mayBeFragmented(t, conn)
		for _, n := range []int{1423, 1450, 1472, 4000, 20000} {
			if got := ask(t, conn, strings.Repeat("x", n)); len(got) < n {
				t.Errorf("%d bytes: answer of %d bytes", n, len(got))
			}
		}
	}
	if after := counters(t, x.eastGateway).Slow["too_big"]; after < before+10 {
		t.Errorf("the kernel has fragmented %d packets", after-before)
	}
}

func (x *transit) testSegments(t *testing.T) {
	for _, wire := range []string{"on", "off"} { // off: as a network card without tunnel segmentation
		for _, gw := range []*linktest.Namespace{x.east, x.west} {
			if out, err := gw.Run("ethtool", "-K", "ul0", "tso", wire, "gso", wire, "tx-udp_tnl-segmentation", wire, "tx-udp-segmentation", wire); err != nil {
				t.Fatal(out, err)
			}
		}
		before := counters(t, x.westGateway).Slow["gso_not_tcp"]
		var sink *net.UDPConn
		x.shopWest.MustDo(t, func() (err error) {
			sink, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 9})
			return err
		})
		enlarge(t, sink)
		const super = 50
		conn := dialUDP(t, x.shopEast, "10.1.2.2:9")
		for range super {
			if err := sendSegments(conn); err != nil {
				t.Fatal(err)
			}
		}
		got, buf := 0, make([]byte, 4000)
		for got < 3*super {
			if err := sink.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := sink.Read(buf)
			if err != nil || n != 1000 {
				t.Errorf("underlay's offloads %s: after %d of %d datagrams: %d bytes, %v", wire, got, 3*super, n, err)
				break
			}
			got++
		}
		sink.Close()
		t.Logf("underlay's offloads %s: %d datagrams, %d super-packets by the kernel", wire, got, counters(t, x.westGateway).Slow["gso_not_tcp"]-before)
	}
}

// testSmallerPort: what crosses the underlay may still be too large for the other cluster.
func (x *transit) testSmallerPort(t *testing.T) {
	x.west.IP(t, "link set tbg100 mtu 1300")
	x.shopWest.IP(t, "link set eth0 mtu 1300")
	x.again(t)
	out, err := x.shopEast.Run("ping", "-c1", "-W10", "-Mdo", "-s1300", "10.1.2.2")
	if !strings.Contains(out, "From 169.254.0.10 icmp_seq=1 Frag needed and DF set (mtu = 1300)") {
		t.Errorf("1328 bytes: %v\n%s", err, out)
	}
	x.shopEast.IP(t, "route flush cache")
	conn := dialUDP(t, x.shopEast, "10.1.2.2:7")
	mayBeFragmented(t, conn)
	if got := ask(t, conn, strings.Repeat("x", 1400)); len(got) < 1400 {
		t.Errorf("1428 bytes that may be fragmented: answer of %d bytes", len(got))
	}
	t.Logf("TCP: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 4<<20))
	x.shopWest.IP(t, "link set eth0 mtu 1500")
	before := counters(t, x.westGateway).Drops["fragmentation_needed"]
	t.Logf("TCP that has to be told, with checksums that are not yet written: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 4<<20))
	if after := counters(t, x.westGateway).Drops["fragmentation_needed"]; after == before {
		t.Error("nobody was told")
	}
	x.shopEast.IP(t, "route flush cache")
	x.testToldUDP(t)
	x.west.IP(t, "link set tbg100 mtu 1500")
	x.again(t)
}

// testEmptyMaps empties one map after the other: those that say where to send cost speed, those that say who may send
// and to whom refuse.
func (x *transit) testEmptyMaps(t *testing.T) {
	got := make(chan string, 100)
	conn := listenPort(t, x.shopWest, 99)
	go func() {
		buf := make([]byte, 100)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			got <- string(buf[:n])
		}
	}()
	for _, tc := range []struct {
		reason  string
		at      *Fastpath
		emptied string
		arrives bool
	}{
		{"the kernel knows the way", x.eastGateway, gatewayMapTomboloRemotes, true},
		{"the kernel knows the endpoint", x.eastGateway, gatewayMapTomboloClusters, true},
		{"the kernel knows whose port it is", x.eastGateway, gatewayMapTomboloPorts, true},
		{"sending asks for nothing of who may send", x.eastGateway, gatewayMapTomboloSources, true},
		{"nor of what is here", x.eastGateway, gatewayMapTomboloLocals, true},
		{"a cluster without prefixes may send nothing", x.westGateway, gatewayMapTomboloRemotes, false},
		{"nobody is known", x.westGateway, gatewayMapTomboloSources, false},
		{"nothing is here", x.westGateway, gatewayMapTomboloLocals, false},
		{"no Vpc is here", x.westGateway, gatewayMapTomboloVnis, false},
		{"receiving asks for nothing of where to send", x.westGateway, gatewayMapTomboloClusters, true},
	} {
		all, err := tc.at.read(tc.emptied)
		if err != nil {
			t.Fatal(err)
		}
		for key := range all {
			if err := tc.at.delete(tc.emptied, []string{key}); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprint(dialUDP(t, x.shopEast, "10.1.2.2:99"), tc.emptied)
		wait := 300 * time.Millisecond
		if tc.arrives {
			wait = 10 * time.Second
		}
		arrived := false
		for late := time.After(wait); !arrived; {
			select {
			case name := <-got: // not one that came too late for its own turn
				arrived = name == tc.emptied
				continue
			case <-late:
			}
			break
		}
		if arrived != tc.arrives {
			t.Errorf("%s empty: %s: arrived is %v, want %v", tc.emptied, tc.reason, arrived, tc.arrives)
		}
		x.again(t)
	}
}

func listenPort(t testing.TB, ns *linktest.Namespace, port int) *net.UDPConn {
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

// testToldUDP sends a datagram that must not be fragmented and whose checksum a device has yet to write: the sender's kernel
// believes the error about it only if its quote is right.
func (x *transit) testToldUDP(t *testing.T) {
	t.Helper()
	conn := dialUDP(t, x.shopEast, "10.1.2.2:7")
	if err := setOption(conn, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := conn.Write(make([]byte, 1350))
		if errors.Is(err, unix.EMSGSIZE) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("1378 bytes through a port of 1300: the sender is not told (%v)", err)
			break
		}
	}
	x.shopEast.IP(t, "route flush cache")
}
