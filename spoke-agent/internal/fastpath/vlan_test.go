// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testVLAN: a frame of a VLAN on the underlay's wire is no frame of the underlay, although the kernel has the tag off by
// the time that the program sees it.
func (x *transit) testVLAN(t *testing.T) {
	var underlay, port *net.Interface
	x.west.MustDo(t, func() (err error) { underlay, err = net.InterfaceByName("ul0"); return err })
	x.router.MustDo(t, func() (err error) { port, err = net.InterfaceByName("r1"); return err })
	inner := ethernet(someMAC, someMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.2", payload: udpDatagram(9, 9, []byte("hi"))}.bytes())
	plain := ethernet(underlay.HardwareAddr, someMAC, 0x0800, ip4{
		frag: 0x4000, ttl: 63, protocol: udp, src: "192.0.2.1", dst: "198.51.100.1", payload: udpDatagram(50000, 4789, vxlan(100, inner)),
	}.bytes())
	tagged := slices.Insert(slices.Clone(plain), 12, 0x81, 0, 0, 5)
	for name, tc := range map[string]struct {
		frame []byte
		want  uint64
	}{
		"untagged": {frame: plain, want: 1},
		"VLAN 5":   {frame: tagged, want: 0},
	} {
		before := x.cameIn(t)
		x.router.MustDo(t, func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, tc.frame, 0, &unix.SockaddrLinklayer{Ifindex: port.Index})
		})
		deadline := time.Now().Add(time.Minute)
		for tc.want > 0 && x.cameIn(t)-before < tc.want && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond) // long enough for one too many to have come in
		if got := x.cameIn(t) - before; got != tc.want {
			t.Errorf("%s: %d packets came in, want %d", name, got, tc.want)
		}
	}
}

// cameIn is how many packets the western gateway has delivered.
func (x *transit) cameIn(t *testing.T) (packets uint64) {
	t.Helper()
	flows := counters(t, x.westGateway).Flows
	for _, f := range flows {
		if f.Direction == "in" {
			packets += f.Packets
		}
	}
	return packets
}
