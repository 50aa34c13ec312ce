// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/tun"
)

// largest is the longest IP packet, in bytes.
const largest = 65535

// batch is how many packets a device of wireguard-go takes at once. It keeps a buffer of the longest packet for each, twice: with its own
// 128 these were 16 MiB of a device, and while keys are replaced there are several.
const batch = 16

// interfaceEnd is the TUN interface as one of several devices of wireguard-go has it: what it reads was routed to it.
type interfaceEnd struct {
	tun.Device
	packets *queue
	events  chan tun.Event
	close   func()
}

func newInterfaceEnd(shared tun.Device) *interfaceEnd {
	e := &interfaceEnd{Device: shared, packets: newQueue(), events: make(chan tun.Event)}
	e.close = sync.OnceFunc(func() { e.packets.close(); close(e.events) })
	return e
}

// Read implements tun.Device.
func (e *interfaceEnd) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n := e.packets.pop(len(bufs), func(i int, m *message) { sizes[i] = copy(bufs[i][offset:], m.data) })
	if n == 0 {
		return 0, os.ErrClosed
	}
	return n, nil
}

// File, Events, BatchSize and Close implement tun.Device. The shared interface stays open.
func (e *interfaceEnd) File() *os.File           { return nil }
func (e *interfaceEnd) Events() <-chan tun.Event { return e.events }
func (e *interfaceEnd) BatchSize() int           { return batch }
func (e *interfaceEnd) Close() error             { e.close(); return nil }

// socket is the one UDP socket of all devices.
type socket struct {
	conn.Bind
	// longest datagram that comes by itself, in bytes.
	longest int

	mu   sync.Mutex
	port uint16
	ends atomic.Pointer[[]*socketEnd]
}

// open makes the socket listen on port instead of the one before.
func (s *socket) open(port uint16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port == port {
		return nil
	}
	if err := s.Bind.Close(); err != nil {
		return fmt.Errorf("close socket of port %d: %w", s.port, err)
	}
	s.port = 0
	receive, _, err := s.Bind.Open(port)
	if err != nil {
		return err
	}
	s.port = port
	for _, f := range receive {
		go s.receive(f)
	}
	return nil
}

func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.port = 0
	return s.Bind.Close()
}

// receive gives all devices what comes. Each knows by the message's index, or its key, whether it is its own, and passes over
// what is not.
func (s *socket) receive(receive conn.ReceiveFunc) {
	bufs := buffers(s.Bind.BatchSize(), s.longest)
	sizes, from := make([]int, len(bufs)), make([]conn.Endpoint, len(bufs))
	for {
		n, err := receive(bufs, sizes, from)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		ends := s.ends.Load()
		if err != nil || ends == nil {
			<-time.After(look) // an error that stays must not keep a processor busy
			continue
		}
		for i := range n {
			if sizes[i] == 0 {
				continue
			}
			for _, end := range *ends {
				end.push(newMessage(bufs[i][:sizes[i]], copyOf(from[i])))
			}
		}
	}
}

// joined is into how many buffers, the last ones, conn.StdNetBind reads what the kernel has joined of several datagrams; it splits that over all.
const joined = 2

// buffers for n datagrams.
func buffers(n, longest int) [][]byte {
	bufs := make([][]byte, n)
	for i := range bufs {
		size := longest
		if i >= n-joined {
			size = largest
		}
		bufs[i] = make([]byte, size)
	}
	return bufs
}

// longestOf is the longest datagram that comes to a tunnel of that MTU: of one with jumbo frames at the other end at least.
func longestOf(mtu int) int { return min(max(mtu+Overhead, 16<<10), largest) }

// copyOf is an endpoint of the device's own: devices change them.
func copyOf(e conn.Endpoint) conn.Endpoint {
	if standard, ok := e.(*conn.StdNetEndpoint); ok {
		c := *standard
		return &c
	}
	return e
}

// socketEnd is the socket as one of the devices has it.
type socketEnd struct {
	*socket
	mu        sync.Mutex
	datagrams *queue
}

func (e *socketEnd) push(m *message) {
	e.mu.Lock()
	q := e.datagrams
	e.mu.Unlock()
	if q != nil {
		q.push(m)
	}
}

// Open implements conn.Bind: the socket is open already.
func (e *socketEnd) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := newQueue()
	e.datagrams = q
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		n := q.pop(len(packets), func(i int, m *message) { sizes[i], from[i] = copy(packets[i], m.data), m.endpoint })
		if n == 0 {
			return 0, net.ErrClosed
		}
		return n, nil
	}}, port, nil
}

// Close implements conn.Bind. The socket stays open.
func (e *socketEnd) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.datagrams != nil {
		e.datagrams.close()
		e.datagrams = nil
	}
	return nil
}

// SetMark implements conn.Bind: nothing is marked.
func (e *socketEnd) SetMark(uint32) error { return nil }

// BatchSize implements conn.Bind.
func (e *socketEnd) BatchSize() int { return batch }
