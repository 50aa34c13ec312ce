// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// queueLength is how many packets wait between a reader and a session. A full queue holds the reader up, and the kernel's own
// queue takes over.
const queueLength = 256

// usualSize is what packets seldom exceed, in bytes: buffers of that size are used again.
const usualSize = 2048

// message is a packet of the TUN interface, or a datagram and where it came from.
type message struct {
	data     []byte
	endpoint conn.Endpoint
}

var messages = sync.Pool{New: func() any { return &message{data: make([]byte, 0, usualSize)} }}

// newMessage is a copy of data.
func newMessage(data []byte, from conn.Endpoint) *message {
	m := messages.Get().(*message)
	m.data, m.endpoint = append(m.data[:0], data...), from
	return m
}

// queue is between one reader and one session.
type queue struct {
	c      chan *message
	closed chan struct{}
	close  func()
}

func newQueue() *queue {
	q := &queue{c: make(chan *message, queueLength), closed: make(chan struct{})}
	q.close = sync.OnceFunc(func() { close(q.closed) })
	return q
}

// push waits for room. A closed queue takes everything, to nowhere.
func (q *queue) push(m *message) {
	select {
	case q.c <- m:
	case <-q.closed:
	}
}

// pop gives take at least one message, and as many more, up to limit, as are there. It returns how many, 0 when the queue is closed.
func (q *queue) pop(limit int, take func(i int, m *message)) int {
	var m *message
	select {
	case m = <-q.c:
	case <-q.closed:
		return 0
	}
	for n := 0; ; {
		take(n, m)
		m.endpoint = nil
		messages.Put(m)
		if n++; n == limit {
			return n
		}
		select {
		case m = <-q.c:
		default:
			return n
		}
	}
}
