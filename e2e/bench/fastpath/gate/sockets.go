// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// settle is how long after the last packet one may still arrive.
const settle = 300 * time.Millisecond

// receiver counts datagrams that arrive whole at the server.
type receiver struct {
	conn  *net.UDPConn
	count atomic.Int64
}

// receive counts datagrams of length octets until the receiver is closed.
func receive(p *topology.Path, port uint16, length int) (*receiver, error) {
	r := &receiver{}
	err := netns.Do(p.Server.Namespace, func() (err error) {
		r.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Server.Address, port)))
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := option(r.conn, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err != nil {
		return nil, errors.Join(err, r.conn.Close())
	}
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := r.conn.Read(buf)
			if err != nil {
				return
			}
			if n == length {
				r.count.Add(1)
			}
		}
	}()
	return r, nil
}

// total is the count when want have arrived, or when none comes any more.
func (r *receiver) total(want int64) int64 {
	for deadline := time.Now().Add(settle); time.Now().Before(deadline) && r.count.Load() < want; {
		time.Sleep(time.Millisecond)
	}
	return r.count.Load()
}

func dial(p *topology.Path, port uint16) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := netns.Do(p.Client.Namespace, func() (err error) {
		conn, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Server.Address, port)))
		return err
	})
	return conn, err
}

// control calls f with the socket of conn.
func control(conn *net.UDPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func option(conn *net.UDPConn, level, name, value int) error {
	err := control(conn, func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) })
	if err != nil {
		return fmt.Errorf("set option %d of socket: %w", name, os.NewSyscallError("setsockopt", err))
	}
	return nil
}
