// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestSlowPath has the kernel carry what the programs can't, through the tunnel and no other way.
func TestSlowPath(t *testing.T) {
	w := newWorld(t)
	for _, s := range []*side{&w.east, &w.west} {
		s.gateway.IP(t, "link set tbg100 mtu 1500")
		s.pod.IP(t, "link set eth0 mtu 1500")
		s.config.Ports[0].Address = s.config.Ports[0].Local[0].Addr().Next() // of the ICMP errors
		s.withSlowPath(t)
	}
	eventually(t, "an answer", func() bool { return w.ping(t, 1) == 1 })
	w.wire.take("")

	before := w.east.slow(t, "too_big")
	if n := w.ping(t, 3, "-M", "dont", "-s", "1400"); n != 3 {
		t.Errorf("%d of 3 answered: 1428 bytes do not fit 1440 with VXLAN, and may be fragmented", n)
	}
	if n := w.east.slow(t, "too_big") - before; n != 3 {
		t.Errorf("%d packets were left to the kernel, want 3", n)
	}
	if ports, readable := w.wire.take("tombolo"); ports[port] < 12 || ports[4789] != 0 || readable != 0 {
		t.Errorf("on the wire: %v by UDP port, and %d frames that can be read", ports, readable)
	}
	if n := w.ping(t, 1, "-M", "do", "-s", "1400"); n != 0 || w.east.drops(t, "fragmentation_needed") == 0 {
		t.Errorf("%d of 1 answered, and the sender was told nothing: the tunnel takes 1390 bytes", n)
	}

	w.west.gateway.IP(t, "link set tbg100 mtu 1000")
	w.west.pod.IP(t, "link set eth0 mtu 1000")
	w.west.set(t)
	before = w.west.slow(t, "too_big")
	if n := w.ping(t, 3, "-M", "dont", "-s", "1200"); n != 3 || w.west.slow(t, "too_big") == before {
		t.Errorf("%d of 3 answered: what came out of the tunnel and is too big for the port goes by the kernel's device", n)
	}

	t.Run("in the clear, in fragments", func(t *testing.T) { w.forgeTo(t, w.east.gateway, true) })
	t.Run("in the clear, not by the underlay", func(t *testing.T) { w.forgeTo(t, w.west.gateway, false) })
}

// forgeTo sends west what the kernel takes for VXLAN of east's gateway.
func (w *world) forgeTo(t *testing.T, from *linktest.Namespace, fragments bool) {
	before := w.west.drops(t, "not_encrypted")
	inner := append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0x64, 0xd9, 10, 1, 1, 2, 10, 1, 2, 2}, make([]byte, 8)...)
	datagram := append([]byte{8, 0, 0, 0, 0, 0, 100, 0}, append(append(make([]byte, 12), 8, 0), inner...)...)
	udp := append([]byte{0xc3, 0x50, 4789 >> 8, 4789 & 0xff, 0, byte(8 + len(datagram)), 0, 0}, datagram...)
	send := func(fd int, flags, offset byte, payload []byte) error {
		header := []byte{0x45, 0, 0, 0, 0x12, 0x34, flags, offset, 64, unix.IPPROTO_UDP, 0, 0}
		header = append(append(header, w.east.address.AsSlice()...), w.west.address.AsSlice()...)
		return unix.Sendto(fd, append(header, payload...), 0, &unix.SockaddrInet4{Addr: w.west.address.As4()})
	}
	from.MustDo(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if !fragments {
			return send(fd, 0, 0, udp)
		}
		if err := send(fd, 0x20, 0, udp[:24]); err != nil {
			return err
		}
		return send(fd, 0, 3, udp[24:])
	})
	eventually(t, "west to count the packet", func() bool { return w.west.drops(t, "not_encrypted") == before+1 })
}

// withSlowPath puts the kernel's slow path under the gateway.
func (s *side) withSlowPath(t *testing.T) {
	t.Helper()
	here := s.config.Ports[0]
	slow := link.SlowPath{VXLAN: link.VXLAN{Port: 4789, Address: s.address, Underlay: "ul0"}, Vpcs: []link.SlowVpc{{
		Interface: "tbg100", VNI: 100, RouterMAC: here.RouterMAC, Router: here.Local[0].Addr().Next().Next(), Local: here.Local,
		Remotes: []link.SlowRemote{{
			VNI: 100, Endpoints: []netip.Addr{s.config.Clusters[0].Endpoints[0]}, Prefixes: here.Remotes[0].Prefixes, EncryptedMTU: 1390,
		}},
	}}}
	s.config.Underlay.VXLAN = link.VXLANName(4789)
	s.gateway.MustDo(t, func() error { return link.EnsureVXLAN(slow.VXLAN) })
	s.set(t)
	s.gateway.MustDo(t, func() error { return link.SetSlowPath(slow) })
	s.gateway.MustDo(t, func() error { return link.SetSlowPath(slow) }) // what is right is left alone
}

func (s *side) slow(t *testing.T, reason string) uint64 {
	t.Helper()
	counters, err := s.fastpath.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return counters.Slow[reason]
}
