// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package tunnelprobe

import (
	"encoding/binary"
	"errors"
)

// Lengths of headers, in octets.
const (
	headers     = 20 + 8      // IPv4 (RFC 791) and UDP (RFC 768), which the kernel writes
	frameOffset = 8           // behind VXLAN (RFC 7348)
	bodyOffset  = 8 + 14      // behind the inner Ethernet header
	payloadLen  = 8 + 14 + 16 // the least that is sent
	smallest    = headers + payloadLen
)

// What bpf/echo.h of package fastpath answers: VNI 0, the EtherType that the IEEE leaves to experiments, and two octets that
// the one who answers swaps.
const (
	vxlanFlags    = 0x08
	echoEtherType = 0x88b5
	echoAsked     = 1
	echoAsking    = 2
)

// echo is what a request carries and its answer brings back.
type echo struct {
	// cookie of the process, which nobody else knows; id of the target, seq of the request.
	cookie  uint64
	id, seq uint32
}

// request is the UDP payload of a request whose IPv4 packet has size octets, at least smallest.
func (e echo) request(size int) []byte {
	b := make([]byte, max(size, smallest)-headers)
	b[0] = vxlanFlags
	to, from := b[frameOffset:frameOffset+6], b[frameOffset+6:frameOffset+12]
	copy(to, []byte{2, 't', 'm', 'b', 0, echoAsked}) // locally administered
	copy(from, []byte{2, 't', 'm', 'b', 0, echoAsking})
	binary.BigEndian.PutUint16(b[frameOffset+12:], echoEtherType)
	binary.BigEndian.PutUint64(b[bodyOffset:], e.cookie)
	binary.BigEndian.PutUint32(b[bodyOffset+8:], e.id)
	binary.BigEndian.PutUint32(b[bodyOffset+12:], e.seq)
	return b
}

// parseAnswer reads the UDP payload of an answer.
func parseAnswer(b []byte) (echo, error) {
	if len(b) < payloadLen {
		return echo{}, errors.New("parse answer: too short")
	}
	if b[0] != vxlanFlags || binary.BigEndian.Uint32(b[4:])>>8 != 0 || binary.BigEndian.Uint16(b[frameOffset+12:]) != echoEtherType ||
		b[frameOffset+5] != echoAsking || b[frameOffset+11] != echoAsked {
		return echo{}, errors.New("parse answer: no answer to an echo")
	}
	return echo{
		cookie: binary.BigEndian.Uint64(b[bodyOffset:]),
		id:     binary.BigEndian.Uint32(b[bodyOffset+8:]),
		seq:    binary.BigEndian.Uint32(b[bodyOffset+12:]),
	}, nil
}
