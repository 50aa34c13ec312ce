// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
)

// oracle says from the Configs and the RFCs what must become of a packet that shop east's pod sends: on the fast path, where
// only what the programs can't do goes to the kernel, and on the slow one, where everything does. It knows no map and no
// program. Where the two differ is written down in kernel and in out, and nowhere else:
//
//   - too big, and must not be fragmented: the programs tell the sender (RFC 1191), the kernel tells nobody (decision 0008);
//   - TTL 255 and 0: there is no 256, and the kernel forwards nothing that has no TTL left;
//   - what is not well-formed IPv4 (header checksum, lengths, options) and source routes: the kernel drops them, the programs
//     are a wire;
//   - octets behind the packet's end (short frames are padded) and behind the options' end: the kernel cuts off the former and
//     clears the latter.
type oracle struct {
	east, west side
	slow       bool
	// stays are the prefixes that east's programs know on the slow path too.
	stays []netip.Prefix
	// toWest and toEast are what the pods get of the packets since reset, without Ethernet headers, and drops what the
	// gateways count; kernels is how many packets east's kernel gets by each reason.
	toWest, toEast [][]byte
	drops          map[string]uint64
	kernels        map[string]uint64
	arena          []byte
}

// side is what the oracle needs of a gateway's Config, and the largest packet that its port takes.
type side struct {
	address        uint32
	local, remotes []netip.Prefix
	mtu            int
}

const (
	oracleUnderlay = 1500
	oracleMSS      = oracleUnderlay - 50 - 40
)

func newSide(p Port, mtu int) side {
	return side{address: word(p.Address.AsSlice()), local: p.Local, remotes: p.Remotes[0].Prefixes, mtu: mtu}
}

// linkOf is the prefix of a port's link address: ICMP errors come from there, and what says who may send is law on both paths.
func linkOf(p Port) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(p.Local), func(local netip.Prefix) bool { return !local.Contains(p.Address) })
}

func word(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func newOracle(east, west Port, westMTU int, slow bool) *oracle {
	return &oracle{
		east: newSide(east, oracleUnderlay), west: newSide(west, westMTU), slow: slow, stays: linkOf(west),
		drops: map[string]uint64{}, kernels: map[string]uint64{}, arena: make([]byte, 0, 1<<22),
	}
}

// reset forgets what pods get.
func (o *oracle) reset() { o.toWest, o.toEast, o.arena = o.toWest[:0], o.toEast[:0], o.arena[:0] }

// keep copies a packet that differs from what was sent.
func (o *oracle) keep(b []byte) []byte {
	o.arena = append(o.arena, b...)
	return o.arena[len(o.arena)-len(b) : len(o.arena) : len(o.arena)]
}

func covers(prefixes []netip.Prefix, address uint32) bool {
	for _, p := range prefixes {
		a := p.Addr().As4()
		if (address^word(a[:]))>>(32-p.Bits()) == 0 {
			return true
		}
	}
	return false
}

// out is what east's gateway makes of a frame.
func (o *oracle) out(frame []byte) {
	ip := frame[14:]
	switch {
	case !bytes.Equal(frame[:6], gatewayMAC):
		o.drops["other_mac"]++
		return
	case len(ip) < 20 || ip[0]>>4 != 4 || ip[0]&15 < 5:
		o.drops["malformed"]++
		return
	}
	dst := word(ip[16:])
	if ip[9] == tcp && binary.BigEndian.Uint16(ip[6:])&0x1fff == 0 {
		ip = o.clamp(ip)
	}
	own := dst == o.east.address
	switch {
	case own && !o.slow: // the prober's
	case own || !covers(o.east.remotes, dst):
		o.drops["no_route"]++
	case o.slow && !covers(o.stays, dst):
		o.kernels["no_route"]++
		o.kernel(ip, oracleUnderlay-50, o.in)
	case len(ip) <= oracleUnderlay-50:
		o.in(ip)
	case ip[6]&0x40 != 0:
		o.refuse(ip, &o.east, oracleUnderlay-50)
	default:
		o.kernels["too_big"]++
		o.kernel(ip, oracleUnderlay-50, o.in)
	}
}

// in is what west's gateway makes of an inner packet.
func (o *oracle) in(ip []byte) {
	src, dst := word(ip[12:]), word(ip[16:])
	switch {
	case !covers(o.west.local, dst):
		o.drops["not_local"]++
	case !covers(o.west.remotes, src) || src == o.west.address:
		o.drops["spoofed_source"]++
	case len(ip) <= o.west.mtu:
		o.toWest = append(o.toWest, ip)
	case ip[6]&0x40 != 0:
		o.refuse(ip, &o.west, o.west.mtu)
	default:
		o.kernel(ip, o.west.mtu, func(p []byte) { o.toWest = append(o.toWest, p) })
	}
}

// refuse tells the sender of a packet what fits, unless RFC 1122 (3.2.2) forbids it.
func (o *oracle) refuse(ip []byte, by *side, mtu int) {
	src := word(ip[12:])
	query := ip[9] != icmp || ip[20] == 8 || ip[20] == 0 || ip[20] == 13 || ip[20] == 14
	if ip[0] != 0x45 || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 || src == 0 || src >= 0xe0000000 || !query {
		o.drops["too_big"]++
		return
	}
	o.drops["fragmentation_needed"]++
	quote := ip[:28]
	if ip[9] == tcp {
		quote = ip[:40]
	}
	b := o.keep(make([]byte, 28+len(quote)))
	b[0], b[1], b[8], b[9] = 0x45, 0xc0, 64, icmp
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint32(b[12:], by.address)
	binary.BigEndian.PutUint32(b[16:], src)
	binary.BigEndian.PutUint16(b[10:], ^fold16(sumOf(0, b[:20])))
	b[20], b[21] = 3, 4
	binary.BigEndian.PutUint16(b[26:], uint16(mtu))
	copy(b[28:], quote)
	binary.BigEndian.PutUint16(b[22:], ^fold16(sumOf(0, b[20:])))
	o.toEast = append(o.toEast, b)
}

// kernel forwards a packet as Linux does, after one has been added to its TTL, and fragments it (RFC 791).
func (o *oracle) kernel(ip []byte, mtu int, then func([]byte)) {
	header, length := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if header > len(ip) || ^fold16(sumOf(0, ip[:header])) != 0 || length > len(ip) || length < header || !forwardable(ip[20:header]) || martian(word(ip[12:])) {
		return
	}
	ttl := min(int(ip[8])+1, 255) - 1
	if ttl == 0 || length > mtu && ip[6]&0x40 != 0 {
		return
	}
	p := o.keep(ip[:length])
	p[8] = byte(ttl)
	zeroEnd(p[20:header])
	if length <= mtu {
		seal4(p[:header])
		then(p)
		return
	}
	offset, most := binary.BigEndian.Uint16(ip[6:]), (mtu-header)&^7
	for at := 0; at < length-header; at += most {
		n := min(most, length-header-at)
		if last := length - header - at; last <= mtu-header {
			n = last
		}
		f := o.keep(p[:header+n])
		copy(f[header:], p[header+at:header+at+n])
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		flags := offset & 0x2000
		if at+n < length-header {
			flags = 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], flags|(offset&0x1fff+uint16(at/8))) // an offset that is too large runs into the flags
		if at == 0 && offset&0x1fff == 0 {
			onlyCopied(p[20:header])
		}
		seal4(f[:header])
		then(f)
		if n == length-header-at {
			return
		}
	}
}

// martian is true of a source that Linux lets no host have (RFC 1812 5.3.7, but for 0.0.0.0/8 and 240.0.0.0/4).
func martian(src uint32) bool {
	return src == 0 || src>>24 == 127 || src>>28 == 14 || src == ^uint32(0)
}

// seal4 writes the checksum of an IPv4 header.
func seal4(header []byte) {
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], ^fold16(sumOf(0, header)))
}

// forwardable is false of options that are broken, and of source routes.
func forwardable(options []byte) bool {
	for len(options) > 0 {
		switch kind := options[0]; {
		case kind == 0:
			return true
		case kind == 1:
			options = options[1:]
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) || kind == 131 || kind == 137:
			return false
		default:
			options = options[options[1]:]
		}
	}
	return true
}

// zeroEnd clears what is behind the end of the options.
func zeroEnd(options []byte) {
	for len(options) > 0 {
		switch options[0] {
		case 0:
			clear(options)
			return
		case 1:
			options = options[1:]
		default:
			options = options[options[1]:]
		}
	}
}

// onlyCopied makes no-operations of the options that fragments but the first don't have (RFC 791: the copied flag).
func onlyCopied(options []byte) {
	for len(options) > 0 && options[0] != 0 {
		n := 1
		if options[0] != 1 {
			n = int(options[1])
			if options[0]&0x80 == 0 {
				copy(options[:n], bytes.Repeat([]byte{1}, n))
			}
		}
		options = options[n:]
	}
}

// clamp lowers the MSS of a SYN to what fits (RFC 9293 3.7.1), and corrects its checksum by the difference, whether it was
// right or not.
func (o *oracle) clamp(ip []byte) []byte {
	header := int(ip[0]&15) * 4
	if len(ip) < header+14 || ip[header+13]&2 == 0 {
		return ip
	}
	segment := ip[header:]
	end := min(int(segment[12]>>4)*4, len(segment))
	for at := 20; at+4 <= end && segment[at] != 0; {
		switch kind, n := segment[at], int(segment[at+1]); {
		case kind == 1:
			at++
		case kind == 2:
			if n != 4 || binary.BigEndian.Uint16(segment[at+2:]) <= oracleMSS {
				return ip
			}
			return o.lower(ip, header, at+2)
		case n < 2:
			return ip
		default:
			at += n
		}
	}
	return ip
}

func (o *oracle) lower(ip []byte, header, at int) []byte {
	ip = o.keep(ip)
	segment := ip[header:]
	before := binary.BigEndian.Uint16(segment[at:])
	after := uint16(oracleMSS)
	binary.BigEndian.PutUint16(segment[at:], after)
	if at%2 == 1 {
		before, after = before<<8|before>>8, after<<8|after>>8
	}
	sum := binary.BigEndian.Uint16(segment[16:])
	binary.BigEndian.PutUint16(segment[16:], ^fold16(uint32(^sum)+uint32(^before)+uint32(after))) // RFC 1624
	return ip
}
