// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"net/netip"
)

// Packets of the tests, octet by octet from the RFCs: nothing of the programs' or maps.go's code is used here.

var (
	gatewayMAC  = []byte{0x0a, 0x58, 169, 254, 0, 2}
	routerMAC   = []byte{0x0a, 0x58, 169, 254, 0, 1}
	underlayMAC = []byte{0x02, 0, 0, 0, 0, 0x01}
	someMAC     = []byte{0x02, 0, 0, 0, 0, 0x99}
)

const (
	icmp = 1
	tcp  = 6
	udp  = 17
)

func ethernet(dst, src []byte, protocol uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst...), src...)
	b = binary.BigEndian.AppendUint16(b, protocol)
	return append(b, payload...)
}

// ip4 is an IPv4 header (RFC 791), and its payload.
type ip4 struct {
	tos      byte
	id, frag uint16
	ttl      byte
	protocol byte
	src, dst string
	options  []byte
	payload  []byte
}

func (p ip4) bytes() []byte {
	ihl := 5 + len(p.options)/4
	b := []byte{byte(0x40 | ihl), p.tos}
	b = binary.BigEndian.AppendUint16(b, uint16(4*ihl+len(p.payload)))
	b = binary.BigEndian.AppendUint16(b, p.id)
	b = binary.BigEndian.AppendUint16(b, p.frag)
	b = append(b, p.ttl, p.protocol, 0, 0)
	b = append(b, addr(p.src)...)
	b = append(b, addr(p.dst)...)
	b = append(b, p.options...)
	binary.BigEndian.PutUint16(b[10:], onesComplement(b))
	return append(b, p.payload...)
}

func onesComplement(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func ports(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	return append(b, payload...)
}

// udpDatagram is RFC 768 without a checksum.
func udpDatagram(src, dst uint16, payload []byte) []byte {
	b := ports(src, dst, nil)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// tcpSegment is a header of 20 octets (RFC 9293) and its payload.
func tcpSegment(src, dst uint16, payload []byte) []byte {
	b := append(ports(src, dst, nil), make([]byte, 16)...)
	b[12] = 5 << 4
	return append(b, payload...)
}

// vxlan is RFC 7348: flags, VNI, inner Ethernet frame.
func vxlan(vni uint32, frame []byte) []byte {
	b := []byte{0x08, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, vni<<8)
	return append(b, frame...)
}

func addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// flowHash is flow_hash of bpf/packet.h.
func flowHash(src, dst string, protocol byte, srcPort, dstPort uint16) uint64 {
	mix := func(h uint64) uint64 {
		h ^= h >> 33
		h *= 0xff51afd7ed558ccd
		h ^= h >> 33
		h *= 0xc4ceb9fe1a85ec53
		return h ^ h>>33
	}
	word := func(b []byte) uint64 { return uint64(binary.NativeEndian.Uint32(b)) }
	h := mix(word(addr(src))<<32 | word(addr(dst)))
	return mix(h + (word(ports(srcPort, dstPort, nil))<<8 | uint64(protocol)))
}
