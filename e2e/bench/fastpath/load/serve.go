// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// half is one end's share of a Result.
type half struct {
	result Result
	err    error
}

// both is what the two ends share.
type both struct {
	Request
	// ready is closed when the receiver takes what comes, and sent when nothing more comes.
	ready, sent chan struct{}
	// received bytes.
	received atomic.Int64
}

// serve runs both ends, each on its own thread.
func serve(r Request) (Result, error) {
	debug.SetGCPercent(-1) // nothing may stop threads that the runtime can't see waiting
	ends, ok := map[Kind][2]func(*both) (Result, error){
		RR:  {answer, ask},
		UDP: {sink, flood},
		TCP: {drain, pour},
	}[r.Kind]
	if !ok {
		return Result{}, fmt.Errorf("kind %q: use %s, %s or %s", r.Kind, RR, UDP, TCP)
	}
	b, halves := &both{Request: r, ready: make(chan struct{}), sent: make(chan struct{})}, make(chan half, 2)
	run := func(ns string, end func(*both) (Result, error)) {
		realTime, err := Enter(ns, r.CPU)
		if err != nil {
			halves <- half{err: err}
			return
		}
		result, err := end(b)
		result.RealTime = realTime
		halves <- half{result, err}
	}
	go run(r.To, ends[0])
	select {
	case <-b.ready:
	case h := <-halves:
		return Result{}, h.err
	}
	go run(r.From, ends[1])
	var out [2]half
	for i := range out {
		out[i] = <-halves
		if out[i].err != nil { // nobody comes to end the other one
			return Result{}, out[i].err
		}
	}
	a, z := out[0].result, out[1].result
	return Result{
		Count: a.Count + z.Count, Sent: a.Sent + z.Sent, Wall: max(a.Wall, z.Wall), P50: max(a.P50, z.P50), RealTime: a.RealTime && z.RealTime,
	}, nil
}

// transfer is a read or write that the runtime does not see: it costs no more than the system call.
func transfer(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (r Request) sockaddr() *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: r.Address.As4(), Port: int(r.Port)}
}

// bind opens the receiver's socket.
func (r Request) bind(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("set option of socket: %w", err)
	}
	if err := unix.Bind(fd, r.sockaddr()); err != nil {
		return 0, fmt.Errorf("bind to %s: %w", r.Address, err)
	}
	return fd, nil
}

// connect opens the sender's socket; nothing waits for ever on either end.
func (r Request) connect(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	if err := patient(fd); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, r.sockaddr()); err != nil {
		return 0, fmt.Errorf("connect to %s: %w", r.Address, err)
	}
	return fd, nil
}

// patience is how long a read or write may wait, between turns too.
const patience = 20 * time.Second

func patient(fd int) error {
	limit := unix.NsecToTimeval(patience.Nanoseconds())
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("set timeout of socket: %w", err)
		}
	}
	return nil
}

// accept listens, says that it does, and takes one connection.
func (b *both) accept() (int, error) {
	l, err := b.bind(unix.SOCK_STREAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(l)
	if err := errors.Join(patient(l), unix.Listen(l, 1)); err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	close(b.ready)
	fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("accept: %w", err)
	}
	return fd, errors.Join(patient(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

func answer(b *both) (Result, error) {
	fd, err := b.accept()
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 1)
	for {
		n, err := transfer(unix.SYS_READ, fd, buf)
		if err != nil {
			return Result{}, fmt.Errorf("read question: %w", err)
		}
		if n == 0 {
			return Result{}, nil
		}
		if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
			return Result{}, fmt.Errorf("write answer: %w", err)
		}
	}
}

func ask(b *both) (Result, error) {
	fd, err := b.connect(unix.SOCK_STREAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return Result{}, fmt.Errorf("set option of socket: %w", err)
	}
	buf, took, c := make([]byte, 1), make([]time.Duration, 0, 1<<20), clock{}
	err = c.turns(b.CPU, func(until time.Time) (int64, error) {
		for last := time.Now(); last.Before(until); {
			if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
				return 0, fmt.Errorf("write question: %w", err)
			}
			if n, err := transfer(unix.SYS_READ, fd, buf); err != nil || n == 0 {
				return 0, fmt.Errorf("read answer of %d bytes: %w", n, err)
			}
			now := time.Now()
			took = append(took, now.Sub(last))
			last = now
		}
		return int64(len(took)), nil
	})
	result := Result{Count: int64(len(took)), Wall: c.wall}
	if len(took) > 0 {
		slices.Sort(took)
		result.P50 = took[len(took)/2]
	}
	return result, err
}

func drain(b *both) (Result, error) {
	fd, err := b.accept()
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		n, err := transfer(unix.SYS_READ, fd, buf)
		if err != nil {
			return Result{}, fmt.Errorf("read stream: %w", err)
		}
		if n == 0 {
			return Result{Count: b.received.Load()}, nil
		}
		b.received.Add(int64(n))
	}
}

func pour(b *both) (Result, error) {
	fd, err := b.connect(unix.SOCK_STREAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf, sent, c := make([]byte, 64<<10), int64(0), clock{}
	err = c.turns(b.CPU, func(until time.Time) (int64, error) {
		for time.Now().Before(until) {
			n, err := transfer(unix.SYS_WRITE, fd, buf)
			if err != nil {
				return 0, fmt.Errorf("write stream: %w", err)
			}
			sent += int64(n)
		}
		return sent, b.drained(sent)
	})
	return Result{Wall: c.wall}, err
}

// drained waits until everything has been read: what a turn has paid for is its own.
func (b *both) drained(sent int64) error {
	for limit := time.Now().Add(patience); b.received.Load() < sent; {
		if time.Now().After(limit) {
			return fmt.Errorf("%d of %d bytes were read", b.received.Load(), sent)
		}
		pause := unix.Timespec{Nsec: 20_000}
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&pause)), 0, 0) // if it is interrupted, the sooner
	}
	return nil
}

// sink takes datagrams and lets a filter drop each: a datagram that was filtered has been delivered, and no reader's
// work is measured with it.
func sink(b *both) (Result, error) {
	fd, err := b.bind(unix.SOCK_DGRAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	program := unix.SockFprog{Len: 1, Filter: &nothing[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return Result{}, fmt.Errorf("attach filter: %w", err)
	}
	close(b.ready)
	<-b.sent
	time.Sleep(50 * time.Millisecond) // for what is on its way
	count, err := filtered(b.Port)
	return Result{Count: count}, err
}

// filtered reads the drops of the socket with that port: the last column of /proc/net/udp.
func filtered(port uint16) (int64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/udp")
	if err != nil {
		return 0, fmt.Errorf("read sockets: %w", err)
	}
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 12 && strings.HasSuffix(fields[1], suffix) {
			return strconv.ParseInt(fields[12], 10, 64)
		}
	}
	return 0, fmt.Errorf("find socket with port %d: it is gone", port)
}

func flood(b *both) (Result, error) {
	defer close(b.sent)
	fd, err := b.connect(unix.SOCK_DGRAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf, sent, c := make([]byte, 18), int64(0), clock{}
	err = c.turns(b.CPU, func(until time.Time) (int64, error) {
		for time.Now().Before(until) {
			for range 64 {
				if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
					return 0, fmt.Errorf("write datagram: %w", err)
				}
			}
			sent += 64
		}
		return sent, nil
	})
	return Result{Sent: sent, Wall: c.wall}, err
}
