// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"encoding/binary"
	"math/rand/v2"
)

// generator makes the random frames of a pod of shop east: a frame depends on the seed and its number only, so that each
// can be made again alone.
type generator struct {
	seed  uint64
	pcg   rand.PCG
	rand  *rand.Rand
	noise []byte
}

func newGenerator(seed uint64) *generator {
	g := &generator{seed: seed, noise: make([]byte, 1<<16)}
	random := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = random.Read(g.noise) // never fails
	g.rand = rand.New(&g.pcg)
	return g
}

// in is true once in n times.
func (g *generator) in(n int) bool { return g.rand.IntN(n) == 0 }

func (g *generator) oneOf(of ...uint32) uint32 { return of[g.rand.IntN(len(of))] }

func ipv4(a, b, c, d uint32) uint32 { return a<<24 | b<<16 | c<<8 | d }

// frame makes number n in buf.
func (g *generator) frame(n uint32, buf []byte) []byte {
	g.pcg.Seed(g.seed, uint64(n))
	r := g.rand
	copy(buf, gatewayMAC)
	if g.in(200) {
		copy(buf, someMAC)
	}
	copy(buf[6:], routerMAC)
	buf[12], buf[13] = 8, 0
	ip := buf[14:]
	header := 20 + g.options(ip[20:])
	protocol := g.protocol()
	length := g.length(header)
	copy(ip[header:length], g.noise[r.IntN(len(g.noise)-length):])
	ip[0], ip[1] = byte(0x40|header/4), byte(r.Uint32())
	binary.BigEndian.PutUint16(ip[2:], uint16(length))
	binary.BigEndian.PutUint16(ip[4:], uint16(n))
	binary.BigEndian.PutUint16(ip[6:], g.fragment())
	ip[8], ip[9] = byte(g.oneOf(64, 63, 1, 2, 254, 2+r.Uint32N(250), 64, 128)), protocol
	if g.in(40) {
		ip[8] = byte(g.oneOf(0, 255))
	}
	binary.BigEndian.PutUint32(ip[12:], g.source())
	binary.BigEndian.PutUint32(ip[16:], g.destination())
	g.transport(protocol, ip[:length], header)
	return buf[:14+g.spoil(ip, header, length)]
}

// options writes IPv4 options and returns their length.
func (g *generator) options(at []byte) int {
	if !g.in(10) {
		return 0
	}
	all := [][]byte{
		{1, 1, 1, 0}, {1, 1, 1, 1, 1, 1, 1, 1}, {148, 4, 0, 0}, {136, 4, 1, 2}, {30, 4, 0xff, 0}, {222, 6, 1, 2, 3, 4, 0, 0},
		{94, 4, 5, 6, 136, 4, 1, 2}, {131, 7, 4, 10, 1, 2, 3, 0}, {137, 7, 4, 10, 1, 2, 3, 0}, {30, 1, 0, 0}, {30, 9, 0, 0}, {136, 0, 0, 0},
	}
	return copy(at, all[g.rand.IntN(len(all))])
}

func (g *generator) protocol() byte {
	switch g.rand.IntN(10) {
	case 0, 1, 2:
		return tcp
	case 3, 4, 5:
		return udp
	case 6, 7:
		return icmp
	}
	return byte(g.oneOf(47, 50, 132, 4, 41, 253, g.rand.Uint32N(256)))
}

// length of the packet with its header: many short ones, and many around what fits.
func (g *generator) length(header int) int {
	n := header + g.rand.IntN(120)
	switch g.rand.IntN(10) {
	case 0:
		n = header + g.rand.IntN(1500-header)
	case 1, 2:
		n = int(g.oneOf(1400, 1410, 1450, 1496)) - 3 + g.rand.IntN(8)
	}
	return min(n, 1500)
}

// fragment is the word of flags and offset.
func (g *generator) fragment() uint16 {
	if g.in(8) {
		return uint16(g.oneOf(0x2000, 0x2010, 0x0010, 0x1fff, 0x4001, 0x6000, 0x8000, 0xc000, g.rand.Uint32()))
	}
	return uint16(g.oneOf(0, 0x4000))
}

func (g *generator) source() uint32 {
	if g.in(12) {
		return g.oneOf(0, ipv4(10, 1, 2, 2), ipv4(10, 1, 0, 255), ipv4(127, 0, 0, 1), ipv4(224, 0, 0, 1), ipv4(239, 1, 2, 3), ^uint32(0),
			ipv4(192, 0, 2, 1), ipv4(198, 51, 100, 1), ipv4(169, 254, 0, 2), ipv4(169, 254, 0, 10), ipv4(169, 254, 0, 5), g.rand.Uint32())
	}
	return ipv4(10, 1, 1, g.rand.Uint32N(256))
}

func (g *generator) destination() uint32 {
	if g.in(12) {
		return g.oneOf(0, ipv4(10, 1, 1, 9), ipv4(10, 1, 3, 0), ipv4(127, 0, 0, 1), ipv4(224, 0, 0, 1), ^uint32(0), ipv4(192, 0, 2, 1),
			ipv4(169, 254, 0, 2), ipv4(169, 254, 0, 10), ipv4(169, 254, 0, 11), ipv4(169, 254, 0, 16), g.rand.Uint32())
	}
	return ipv4(10, 1, 2, g.rand.Uint32N(256))
}

// transport writes what a transport's header needs to be nearly right over the noise.
func (g *generator) transport(protocol byte, ip []byte, header int) {
	at := ip[header:]
	checksum := -1
	switch {
	case protocol == tcp && len(at) >= 20:
		at[12], at[13] = 5<<4, byte(g.rand.Uint32())
		g.tcpOptions(at)
		checksum = 16
	case protocol == udp && len(at) >= 8:
		binary.BigEndian.PutUint16(at[4:], uint16(len(at)))
		checksum = 6
	case protocol == icmp && len(at) >= 8:
		at[0], at[1] = byte(g.oneOf(0, 3, 5, 8, 8, 11, 13, 14, g.rand.Uint32())), 0
		checksum = 2
	// Packets within packets end in the first: how far the kernel's dissector gets in noise is not the gateways' business.
	case protocol == 4 && len(at) >= 20:
		at[0], at[9] = 0x45, udp
	case protocol == 41 && len(at) >= 40:
		at[6] = udp
	case protocol == 47 && len(at) >= 4:
		clear(at[:4])
	}
	if checksum < 0 {
		return
	}
	switch g.rand.IntN(3) {
	case 0:
		binary.BigEndian.PutUint16(at[checksum:], uint16(g.oneOf(0, 1, 0xfffe, 0xffff)))
	case 1:
		binary.BigEndian.PutUint16(at[checksum:], 0)
		sum := sumOf(0, at)
		if protocol != icmp {
			sum = sumOf(sum+uint32(protocol)+uint32(len(at)), ip[12:20])
		}
		binary.BigEndian.PutUint16(at[checksum:], ^fold16(sum))
	}
}

// tcpOptions makes every other segment one that opens a connection.
func (g *generator) tcpOptions(at []byte) {
	if g.in(2) {
		return
	}
	at[13] |= 2
	mss := []byte{2, 4, byte(g.oneOf(5, 5, 5, 35, 2)), byte(g.rand.Uint32())}
	pieces := [][]byte{mss, {1}, {1, 1}, {4, 2}, {3, 3, 7}, {0}, {8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, {30, 0}, {30, 1}, {2, 6, 9, 9, 9, 9}, {2, 4}}
	n := 20
	for range 1 + g.rand.IntN(4) {
		piece := pieces[0]
		if g.in(2) {
			piece = pieces[g.rand.IntN(len(pieces))]
		}
		if n+len(piece) > min(60, len(at)) {
			break
		}
		n += copy(at[n:], piece)
	}
	for ; n%4 != 0 && n < len(at); n++ {
		at[n] = byte(g.oneOf(0, 1))
	}
	at[12] = byte(n/4) << 4
	if g.in(30) {
		at[12] = byte(g.rand.Uint32())
	}
}

// spoil makes a few packets wrong, writes the header's checksum and returns the length of what is sent of them.
func (g *generator) spoil(ip []byte, header, length int) int {
	sent := length
	switch g.rand.IntN(300) {
	case 0: // longer than it says, as short Ethernet frames are
		sent = min(1500, length+1+g.rand.IntN(60))
		clear(ip[length:sent])
	case 1: // shorter than it says
		binary.BigEndian.PutUint16(ip[2:], uint16(length+1+g.rand.IntN(2000)))
	case 2:
		binary.BigEndian.PutUint16(ip[2:], uint16(g.rand.IntN(header)))
	case 3: // a longer header than there is
		ip[0] = 0x4f
	case 4:
		ip[0] = byte(g.oneOf(0x44, 0x65, 0x55, 0x00, 0xf5, 0x40))
	case 5:
		sent = g.rand.IntN(20)
	}
	binary.BigEndian.PutUint16(ip[10:], 0)
	sum := ^fold16(sumOf(0, ip[:min(int(ip[0]&15)*4, length)]))
	if g.in(100) {
		sum += uint16(1 + g.rand.Uint32N(0xfffe))
	}
	binary.BigEndian.PutUint16(ip[10:], sum)
	return sent
}

// sumOf adds 16-bit words, the last of which may be half.
func sumOf(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}

func fold16(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
