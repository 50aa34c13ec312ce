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
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// half is one end's share of a Result.
type half struct {
	result Result
	err    error
}

// serve runs both ends, each on its own thread.
func serve(r Request) (Result, error) {
	debug.SetGCPercent(-1) // nothing may stop threads that the runtime can't see waiting
	ends, ok := map[Kind][2]func(Request, chan<- struct{}) (Result, error){
		RR:  {answer, ask},
		UDP: {sink, flood},
		TCP: {drain, pour},
	}[r.Kind]
	if !ok {
		return Result{}, fmt.Errorf("kind %q: use %s, %s or %s", r.Kind, RR, UDP, TCP)
	}
	softirq, err := SoftirqTime(r.CPU)
	if err != nil {
		return Result{}, err
	}
	ready, halves := make(chan struct{}), make(chan half, 2)
	run := func(ns string, end func(Request, chan<- struct{}) (Result, error)) {
		realTime, err := Enter(ns, r.CPU)
		if err != nil {
			halves <- half{err: err}
			return
		}
		result, err := end(r, ready)
		result.RealTime = realTime
		halves <- half{result, err}
	}
	go run(r.To, ends[0])
	select {
	case <-ready:
	case h := <-halves:
		return Result{}, h.err
	}
	go run(r.From, ends[1])
	a, z := <-halves, <-halves
	if err := errors.Join(a.err, z.err); err != nil {
		return Result{}, err
	}
	after, err := SoftirqTime(r.CPU)
	out := Result{
		Count: a.result.Count + z.result.Count, Sent: a.result.Sent + z.result.Sent,
		CPU:      a.result.CPU + z.result.CPU + after - softirq,
		Softirq:  after - softirq,
		Wall:     max(a.result.Wall, z.result.Wall),
		P50:      max(a.result.P50, z.result.P50),
		Each:     a.result.Each + z.result.Each,
		RealTime: a.result.RealTime && z.result.RealTime,
	}
	if out.Count > 0 {
		if out.Sent > 0 {
			out.Each *= float64(out.Sent) / float64(out.Count) // what was lost has been paid for
		}
		out.Each += float64(out.Softirq) / float64(out.Count)
	}
	return out, err
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
	if err := patience(fd); err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, r.sockaddr()); err != nil {
		return 0, fmt.Errorf("connect to %s: %w", r.Address, err)
	}
	return fd, nil
}

func patience(fd int) error {
	limit := unix.Timeval{Sec: 3}
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &limit); err != nil {
			return fmt.Errorf("set timeout of socket: %w", err)
		}
	}
	return nil
}

// accept listens, says that it does, and takes one connection.
func (r Request) accept(ready chan<- struct{}) (int, error) {
	l, err := r.bind(unix.SOCK_STREAM)
	if err != nil {
		return 0, err
	}
	defer unix.Close(l)
	if err := errors.Join(patience(l), unix.Listen(l, 1)); err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	close(ready)
	fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("accept: %w", err)
	}
	return fd, errors.Join(patience(fd), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

func answer(r Request, ready chan<- struct{}) (Result, error) {
	fd, err := r.accept(ready)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 1)
	begin := ThreadTime()
	for {
		n, err := transfer(unix.SYS_READ, fd, buf)
		if err != nil {
			return Result{}, fmt.Errorf("read question: %w", err)
		}
		if n == 0 {
			return Result{CPU: ThreadTime() - begin}, nil
		}
		if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
			return Result{}, fmt.Errorf("write answer: %w", err)
		}
	}
}

func ask(r Request, _ chan<- struct{}) (Result, error) {
	fd, err := r.connect(unix.SOCK_STREAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return Result{}, fmt.Errorf("set option of socket: %w", err)
	}
	buf, took := make([]byte, 1), make([]time.Duration, 0, 1<<20)
	start, begin := time.Now(), ThreadTime()
	m := newMeter(start)
	for last := start; ; {
		if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
			return Result{}, fmt.Errorf("write question: %w", err)
		}
		if n, err := transfer(unix.SYS_READ, fd, buf); err != nil || n == 0 {
			return Result{}, fmt.Errorf("read answer of %d bytes: %w", n, err)
		}
		now := time.Now()
		took = append(took, now.Sub(last))
		m.look(now, int64(len(took)))
		if last = now; now.Sub(start) >= r.Duration {
			break
		}
	}
	result := Result{Count: int64(len(took)), CPU: ThreadTime() - begin, Wall: time.Since(start), Each: m.cost()}
	slices.Sort(took)
	result.P50 = took[len(took)/2]
	return result, nil
}

func drain(r Request, ready chan<- struct{}) (Result, error) {
	fd, err := r.accept(ready)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	begin, total, m := ThreadTime(), int64(0), newMeter(time.Now())
	for {
		n, err := transfer(unix.SYS_READ, fd, buf)
		if err != nil {
			return Result{}, fmt.Errorf("read stream: %w", err)
		}
		if n == 0 {
			return Result{Count: total, CPU: ThreadTime() - begin, Each: m.cost()}, nil
		}
		total += int64(n)
		m.look(time.Now(), total)
	}
}

func pour(r Request, _ chan<- struct{}) (Result, error) {
	fd, err := r.connect(unix.SOCK_STREAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	start, begin := time.Now(), ThreadTime()
	for time.Since(start) < r.Duration {
		if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
			return Result{}, fmt.Errorf("write stream: %w", err)
		}
	}
	return Result{CPU: ThreadTime() - begin, Wall: time.Since(start)}, nil
}

// sink takes datagrams and lets a filter drop each: a datagram that was filtered has been delivered, and no reader's
// work is measured with it.
func sink(r Request, ready chan<- struct{}) (Result, error) {
	fd, err := r.bind(unix.SOCK_DGRAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	program := unix.SockFprog{Len: 1, Filter: &nothing[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return Result{}, fmt.Errorf("attach filter: %w", err)
	}
	close(ready)
	time.Sleep(r.Duration + 100*time.Millisecond)
	count, err := filtered(r.Port)
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

func flood(r Request, _ chan<- struct{}) (Result, error) {
	fd, err := r.connect(unix.SOCK_DGRAM)
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 18)
	start, begin, sent := time.Now(), ThreadTime(), int64(0)
	m := newMeter(start)
	for now := start; now.Sub(start) < r.Duration; now = time.Now() {
		m.look(now, sent)
		for range 64 {
			if _, err := transfer(unix.SYS_WRITE, fd, buf); err != nil {
				return Result{}, fmt.Errorf("write datagram: %w", err)
			}
		}
		sent += 64
	}
	return Result{Sent: sent, CPU: ThreadTime() - begin, Wall: time.Since(start), Each: m.cost()}, nil
}
