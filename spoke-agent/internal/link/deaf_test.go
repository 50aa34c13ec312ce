// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestNodeIsDeaf: what comes out of a Vpc is for the programs on the gateway port. While they are not attached (yet), it
// must reach neither the node's own services nor, by the node's routes, anybody else.
func TestNodeIsDeaf(t *testing.T) {
	ns := linktest.New(t, "deaf")
	for _, which := range []string{"all", "default"} {
		ns.Sysctl(t, "net/ipv4/conf/"+which+"/rp_filter", "0")
	}
	ns.IP(t, "link add eth0 type bridge")
	ns.IP(t, "link set eth0 up")
	ns.IP(t, "addr add 192.0.2.1/24 dev eth0")
	ns.IP(t, "route add default via 192.0.2.254")
	for _, loose := range []string{"0", "2"} {
		ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", loose)
		ns.MustDo(t, func() error { return Ensure(gatewayPort) })
		if hears(t, ns, 300*time.Millisecond) {
			t.Errorf("with all/rp_filter=%s the node took in a packet of a Vpc", loose)
		}
	}
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	ns.Sysctl(t, "net/ipv4/conf/tbg100/rp_filter", "0")
	if !hears(t, ns, 10*time.Second) {
		t.Error("the packet of this test would not have been taken in anyway: the test proves nothing")
	}
}

// hears sends a UDP packet from a pod's address to the node's own, as the router of a Vpc would.
func hears(t *testing.T, ns *linktest.Namespace, patience time.Duration) (heard bool) {
	t.Helper()
	ns.MustDo(t, func() error {
		listener, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4242})
		if err != nil {
			return err
		}
		defer listener.Close()
		if err := inject("tbo100"); err != nil {
			return err
		}
		if err := listener.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, _, err = listener.ReadFromUDP(make([]byte, 16))
		heard = err == nil
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return err
	})
	return heard
}

func inject(ifname string) error {
	device, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b := []byte{0x0a, 0x58, 0xa9, 0xfe, 0, 2, 0x0a, 0x58, 0xa9, 0xfe, 0, 1, 8, 0}
	b = append(b, 0x45, 0, 0, 30, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0, 10, 0, 0, 2, 192, 0, 2, 1)
	sum := uint32(0)
	for i := 14; i < 34; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[24:], ^uint16(sum+sum>>16))
	b = append(b, 0x10, 0x92, 0x10, 0x92, 0, 10, 0, 0, 'h', 'i') // RFC 768 without a checksum
	return unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: device.Index})
}
