// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

const (
	ethernetLen = 14
	ipv4Len     = 20
	icmpLen     = 8
	cookieLen   = 8

	etherTypeIPv4    = 0x0800
	protocolICMP     = 1
	icmpEchoReply    = 0
	icmpEchoRequest  = 8
	notWholeFragment = 0x3fff // more fragments, or an offset
)

// echo is an ICMP echo request (RFC 792) in IPv4 in Ethernet, or the reply to it.
type echo struct {
	srcMAC, dstMAC [6]byte
	src, dst       netip.Addr
	// id is the target's, seq the probe's, cookie the prober's: an answer to another prober's question is not ours.
	id, seq uint16
	cookie  uint64
}

// request encodes e.
func (e echo) request() []byte {
	b := append(e.dstMAC[:], e.srcMAC[:]...)
	b = binary.BigEndian.AppendUint16(b, etherTypeIPv4)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, ipv4Len+icmpLen+cookieLen)
	b = append(b, 0, 0, 0x40, 0, 64, protocolICMP, 0, 0) // DF, TTL 64
	b = append(b, e.src.AsSlice()...)
	b = append(b, e.dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[ethernetLen+10:], checksum(b[ethernetLen:]))
	icmp := len(b)
	b = append(b, icmpEchoRequest, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, e.id)
	b = binary.BigEndian.AppendUint16(b, e.seq)
	b = binary.BigEndian.AppendUint64(b, e.cookie)
	binary.BigEndian.PutUint16(b[icmp+2:], checksum(b[icmp:]))
	return b
}

var errNotReply = errors.New("no ICMP echo reply")

// parseReply decodes a frame with an echo reply. The frame may be longer than the packet: short ones are padded.
func parseReply(b []byte) (echo, error) {
	if len(b) < ethernetLen+ipv4Len || binary.BigEndian.Uint16(b[12:]) != etherTypeIPv4 {
		return echo{}, errNotReply
	}
	e := echo{dstMAC: [6]byte(b), srcMAC: [6]byte(b[6:])}
	ip := b[ethernetLen:]
	header, total := int(ip[0]&0xf)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < ipv4Len || total < header+icmpLen+cookieLen || total > len(ip) {
		return echo{}, fmt.Errorf("%w: header of %d octets, packet of %d, in %d", errNotReply, header, total, len(ip))
	}
	if ip[9] != protocolICMP || binary.BigEndian.Uint16(ip[6:])&notWholeFragment != 0 {
		return echo{}, errNotReply
	}
	icmp := ip[header:total]
	if icmp[0] != icmpEchoReply || icmp[1] != 0 {
		return echo{}, errNotReply
	}
	if checksum(ip[:header]) != 0 || checksum(icmp) != 0 {
		return echo{}, fmt.Errorf("%w: wrong checksum", errNotReply)
	}
	e.src, e.dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	e.id, e.seq = binary.BigEndian.Uint16(icmp[4:]), binary.BigEndian.Uint16(icmp[6:])
	e.cookie = binary.BigEndian.Uint64(icmp[8:])
	return e, nil
}

// checksum is RFC 1071. Over octets that contain their checksum it is 0.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
