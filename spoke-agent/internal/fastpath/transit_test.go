// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestTransit sends real packets between real stacks. Its parts run in order, on one topology.
func TestTransit(t *testing.T) {
	x := newTransit(t)
	for _, pod := range []struct {
		ns   *linktest.Namespace
		name string
	}{{x.shopEast, "shop-east"}, {x.shopWest, "shop-west"}, {x.bankEast, "bank-east"}, {x.bankWest, "bank-west"}} {
		echo(t, pod.ns, pod.name)
	}

	t.Run("first packet arrives, and transit does not touch the TTL", func(t *testing.T) {
		out, err := x.shopEast.Run("ping", "-c", "20", "-i", "0.01", "-W", "10", "10.1.2.2")
		if err != nil || !strings.Contains(out, " 0% packet loss") || strings.Count(out, "ttl=64") != 20 {
			t.Errorf("ping: %v\n%s", err, out)
		}
	})
	t.Run("TCP", func(t *testing.T) {
		t.Logf("super-packets: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 256<<20))
		t.Logf("segments (tso, gso off): %.0f Mbit/s", transfer(t, x.bankWest, x.bankEast, "10.1.1.2:80", 64<<20))
	})
	t.Run("UDP of all lengths, fragments included", func(t *testing.T) {
		conn := dialUDP(t, x.shopEast, "10.1.2.2:7")
		for _, n := range []int{0, 1, 1400, 1422, 1423, 4000, 20000} {
			if got := ask(t, conn, strings.Repeat("x", n)); got != "shop-west "+strings.Repeat("x", n) {
				t.Errorf("%d bytes: answer %.30q of %d bytes", n, got, len(got))
			}
		}
	})
	t.Run("same addresses, two Vpcs", func(t *testing.T) {
		for from, want := range map[*linktest.Namespace]string{x.shopEast: "shop-west hi", x.bankEast: "bank-west hi"} {
			if got := ask(t, dialUDP(t, from, "10.1.2.2:7"), "hi"); got != want {
				t.Errorf("from %s: answer %q, want %q", from.Name, got, want)
			}
		}
	})
	t.Run("drops are counted by the end that drops", x.testDrops)
	t.Run("another VLAN of the underlay", x.testVLAN)
	t.Run("restart of both gateways loses no packet", x.testRestart)
	t.Run("a change of the layout loses no packet", x.testLayout)
	t.Run("changes beside a flow lose none of it", x.testChanges)
	t.Run("a new interface of the same name", x.testNewInterface)
	t.Run("close, and later remove", x.testRemove)
}

func ask(t *testing.T, conn net.Conn, question string) string {
	t.Helper()
	if _, err := conn.Write([]byte(question)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Errorf("no answer: %v", err)
	}
	return string(buf[:n])
}

func (x *transit) testDrops(t *testing.T) {
	x.shopEast.IP(t, "addr add 10.9.9.9/32 dev lo")
	x.shopEast.IP(t, "link set eth0 mtu 1500")
	defer x.shopEast.IP(t, "link set eth0 mtu 1450")
	for name, tc := range map[string]struct {
		reason string
		at     *Fastpath
		drop   string
		send   func() (string, error)
	}{
		"spoofed source": {
			reason: "10.9.9.9 is nobody's: the receiving gateway refuses it",
			at:     x.westGateway, drop: "spoofed_source",
			send: func() (string, error) { return x.shopEast.Run("ping", "-c1", "-W0.2", "-I", "10.9.9.9", "10.1.2.2") },
		},
		"no route": {
			reason: "10.1.3.0/24 is in no cluster",
			at:     x.eastGateway, drop: "no_route",
			send: func() (string, error) { return x.shopEast.Run("ping", "-c1", "-W0.2", "10.1.3.3") },
		},
		"too big": {
			reason: "1451 bytes and 50 more don't fit 1500",
			at:     x.eastGateway, drop: "fragmentation_needed",
			send: func() (string, error) {
				return x.shopEast.Run("ping", "-c1", "-W0.2", "-Mdo", "-s1423", "10.1.2.2")
			},
		},
		"short frame": {
			reason: "it ends within the IPv4 header",
			at:     x.eastGateway, drop: "malformed",
			send: func() (string, error) {
				frame := ethernet(gatewayMAC, routerMAC, 0x0800, []byte{0x45, 0, 0, 10, 0, 0, 0, 0, 0, 0})
				return "", x.shopEast.Do(func() error { return sendFrame("eth0", frame) })
			},
		},
		"super-packet of UDP": {
			reason: "a veth underlay carries it whole, and the kernel could not deliver it after decapsulation",
			at:     x.westGateway, drop: "gso_not_tcp",
			send: func() (string, error) { return "", sendSegments(dialUDP(t, x.shopEast, "10.1.2.2:9")) },
		},
	} {
		before := counters(t, tc.at).Drops
		if out, err := tc.send(); strings.Contains(out, "bytes from") {
			t.Errorf("%s: %s: it was delivered: %v\n%s", name, tc.reason, err, out)
		}
		deadline := time.Now().Add(15 * time.Second)
		for {
			if after := counters(t, tc.at).Drops; after[tc.drop] == before[tc.drop]+1 {
				break
			} else if time.Now().After(deadline) {
				t.Errorf("%s: %s: %s went from %d to %d, want one more", name, tc.reason, tc.drop, before[tc.drop], after[tc.drop])
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// sendSegments gives the kernel three datagrams in one (UDP_SEGMENT).
func sendSegments(conn *net.UDPConn) error {
	if err := setOption(conn, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1000); err != nil {
		return err
	}
	_, err := conn.Write(make([]byte, 3000))
	return err
}

// sendFrame sends an Ethernet frame as it is.
func sendFrame(ifname string, frame []byte) error {
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index})
}

func (x *transit) wantNoLoss(t *testing.T, f func()) {
	t.Helper()
	sent, lost := x.lostDuring(t, f)
	if lost != 0 || sent < 100 {
		t.Errorf("%d of %d datagrams lost", lost, sent)
	}
	t.Logf("%d datagrams and their answers, %d lost", sent, lost)
}

func (x *transit) testRestart(t *testing.T) {
	x.wantNoLoss(t, func() {
		for range 5 {
			if err := x.eastGateway.Close(); err != nil {
				t.Error(err)
			}
			setInChild(t, x.east, x.eastPins, x.eastConfig)
			setInChild(t, x.west, x.westPins, x.westConfig)
			x.eastGateway = openGateway(t, x.east, x.eastPins, x.eastConfig)
		}
	})
}

// testLayout makes the maps those of a layout before this one.
func (x *transit) testLayout(t *testing.T) {
	x.wantNoLoss(t, func() {
		for range 3 {
			old := filepath.Join(x.eastPins, mapsPrefix+"0")
			if err := x.eastGateway.Close(); err != nil {
				t.Error(err)
			}
			if err := os.Rename(mapsDir(x.eastPins), old); err != nil {
				t.Fatal(err)
			}
			x.eastGateway = openGateway(t, x.east, x.eastPins, x.eastConfig)
			if _, err := os.Stat(old); !os.IsNotExist(err) {
				t.Errorf("the old layout's maps are left: %v", err)
			}
		}
	})
}

func (x *transit) testChanges(t *testing.T) {
	whole := x.eastConfig
	split := x.eastConfig
	split.Ports = slices.Clone(split.Ports)
	split.Ports[0].Remotes = []Remote{
		{Vpc: "shop/blue", VNI: 100, Cluster: "west", Prefixes: prefixes("10.1.2.0/25", "10.1.2.128/25", "10.5.0.0/16")},
		{Vpc: "shop/red", VNI: 200, Cluster: "south", Prefixes: prefixes("10.6.0.0/16")},
	}
	split.Clusters = append(slices.Clone(split.Clusters), Cluster{Name: "south", Endpoints: []netip.Addr{netip.MustParseAddr("203.0.113.1")}})
	alone := x.eastConfig
	alone.Ports = alone.Ports[:1]
	x.wantNoLoss(t, func() {
		for range 5 {
			for _, cfg := range []Config{split, alone, whole} {
				x.east.MustDo(t, func() error { return x.eastGateway.Set(cfg) })
			}
		}
	})
	if got := ask(t, dialUDP(t, x.bankEast, "10.1.2.2:7"), "again"); got != "bank-west again" {
		t.Errorf("a port that went and came back: answer %q", got)
	}
}

func (x *transit) testNewInterface(t *testing.T) {
	x.east.IP(t, "link del tbg300")
	err := x.east.Do(func() error { return x.eastGateway.Set(x.eastConfig) })
	if err == nil || !strings.Contains(err.Error(), "find port of bank/blue: no interface tbg300; make the port first") {
		t.Errorf("a missing port is not reported: %v", err)
	}
	if got := ask(t, dialUDP(t, x.shopEast, "10.1.2.2:7"), "hi"); got != "shop-west hi" {
		t.Errorf("another port is missing, and shop's answer is %q", got)
	}
	pod(t, x.bankEast, x.east, "tbg300", "10.1.1.2/24", "10.1.1.1")
	x.east.MustDo(t, func() error { return x.eastGateway.Set(x.eastConfig) })
	if got := ask(t, dialUDP(t, x.bankEast, "10.1.2.2:7"), "hi"); got != "bank-west hi" {
		t.Errorf("the port is back, and the answer is %q", got)
	}
}

func (x *transit) testRemove(t *testing.T) {
	for _, f := range []*Fastpath{x.eastGateway, x.westGateway} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := ask(t, dialUDP(t, x.shopEast, "10.1.2.2:7"), "hi"); got != "shop-west hi" {
		t.Errorf("no process has the gateways open, and the answer is %q", got)
	}
	for ns, pins := range map[*linktest.Namespace]string{x.east: x.eastPins, x.west: x.westPins} {
		ns.MustDo(t, func() error {
			f, err := Open(Options{PinPath: pins})
			if err != nil {
				return err
			}
			if err := f.Remove(); err != nil {
				return err
			}
			return wantNothingAttached()
		})
		if _, err := os.Stat(pins); !os.IsNotExist(err) {
			t.Errorf("pins are left: %v", err)
		}
	}
	if out, err := x.shopEast.Run("ping", "-c1", "-W0.2", "10.1.2.2"); err == nil {
		t.Errorf("a packet crosses without the programs:\n%s", out)
	}
}

func wantNothingAttached() error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		result, err := link.QueryPrograms(link.QueryOptions{Target: i.Index, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		if len(result.Programs) != 0 {
			return fmt.Errorf("%s still has %d programs", i.Name, len(result.Programs))
		}
	}
	return nil
}
