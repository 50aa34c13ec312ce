// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ICMP types of RFC 792.
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpEchoRequest  = 8
	icmpTimeExceeded = 11

	codeFragNeeded = 4 // of icmpUnreachable; carries the next hop's MTU (RFC 1191)
)

// icmpSocket is a raw ICMP socket, or Linux's unprivileged one
// (net.ipv4.ping_group_range) where raw is refused.
type icmpSocket struct {
	*os.File
	raw bool
	id  uint16
}

func openICMP(df bool) (*icmpSocket, error) {
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|flags, unix.IPPROTO_ICMP)
	raw := err == nil
	if !raw {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|flags, unix.IPPROTO_ICMP)
	}
	if err != nil {
		return nil, fmt.Errorf("open ICMP socket: %w (want CAP_NET_RAW, or this group in net.ipv4.ping_group_range)", err)
	}
	pmtu := unix.IP_PMTUDISC_DONT
	if df {
		pmtu = unix.IP_PMTUDISC_DO
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, pmtu),
	)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("prepare ICMP socket: %w", err)
	}
	// A file of a non-blocking descriptor is in Go's poller: closing it wakes the reader.
	return &icmpSocket{File: os.NewFile(uintptr(fd), "icmp"), raw: raw, id: uint16(rand.Uint32())}, nil
}

func (s *icmpSocket) send(to netip.Addr, seq, size int) error {
	b := make([]byte, 8+size)
	b[0] = icmpEchoRequest
	binary.BigEndian.PutUint16(b[4:], s.id) // replaced by the kernel on an unprivileged socket
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	for i := range size {
		b[8+i] = byte(i)
	}
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	conn, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = conn.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), b, 0, &unix.SockaddrInet4{Addr: to.As4()})
		return sendErr != unix.EAGAIN
	})
	return errors.Join(err, sendErr)
}

// receive hands over the answers to our requests until the socket is closed or
// ctx ends. SentAt of what it hands over is the time of receipt.
func (s *icmpSocket) receive(ctx context.Context, to chan<- Reply) {
	conn, err := s.SyscallConn()
	if err != nil {
		return
	}
	buf, control := make([]byte, 65536), make([]byte, 256)
	for {
		var n, cn int
		var from unix.Sockaddr
		var recvErr error
		err := conn.Read(func(fd uintptr) bool {
			n, cn, _, from, recvErr = unix.Recvmsg(int(fd), buf, control, 0)
			return recvErr != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
		if recvErr != nil {
			continue // an asynchronous error of an earlier send
		}
		reply, ok := s.parse(buf[:n])
		if !ok {
			continue
		}
		reply.SentAt, reply.TTL = time.Now(), ttlOf(control[:cn])
		if a, ok := from.(*unix.SockaddrInet4); ok {
			reply.From = netip.AddrFrom4(a.Addr)
		}
		select {
		case to <- reply:
		case <-ctx.Done():
			return
		}
	}
}

// parse reads an echo reply to us, or an ICMP error about a request of ours.
func (s *icmpSocket) parse(b []byte) (Reply, bool) {
	if s.raw { // a raw IPv4 socket delivers the IP header too
		b = afterIPHeader(b)
	}
	if len(b) < 8 {
		return Reply{}, false
	}
	kind, code := b[0], b[1]
	switch kind {
	case icmpEchoReply:
		return s.ours(b, "")
	case icmpUnreachable, icmpTimeExceeded:
		inner := afterIPHeader(b[8:])
		if len(inner) < 8 || inner[0] != icmpEchoRequest {
			return Reply{}, false
		}
		return s.ours(inner, icmpError(kind, code, b))
	}
	return Reply{}, false
}

func (s *icmpSocket) ours(echo []byte, text string) (Reply, bool) {
	if s.raw && binary.BigEndian.Uint16(echo[4:]) != s.id {
		return Reply{}, false
	}
	return Reply{Seq: int(binary.BigEndian.Uint16(echo[6:])), Error: text}, true
}

func icmpError(kind, code byte, b []byte) string {
	switch {
	case kind == icmpTimeExceeded:
		return "time exceeded"
	case code == codeFragNeeded:
		return fmt.Sprintf("fragmentation needed, mtu %d", binary.BigEndian.Uint16(b[6:]))
	}
	return fmt.Sprintf("unreachable, code %d", code)
}

// afterIPHeader is what an IPv4 packet carries; nil when it is cut short.
func afterIPHeader(b []byte) []byte {
	if len(b) < 20 {
		return nil
	}
	if n := int(b[0]&0x0f) * 4; n >= 20 && n <= len(b) {
		return b[n:]
	}
	return nil
}

func ttlOf(control []byte) int {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// checksum is the Internet checksum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
