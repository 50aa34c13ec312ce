// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package load sends and receives between two network namespaces, both ends pinned
// to one core, in a process of its own: the threads make system calls past Go's
// scheduler, so that what is measured is the kernel's work.
package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Kind is what is sent.
type Kind string

const (
	// RR is a TCP ping-pong of one byte each way.
	RR Kind = "rr"
	// UDP is 18-byte datagrams, 64 bytes of Ethernet each, as fast as the sender can.
	UDP Kind = "udp"
	// TCP is a stream, written and read 64 KB at a time.
	TCP Kind = "tcp"
)

// Request says who sends what to whom.
type Request struct {
	Kind Kind
	// From and To are network namespaces.
	From, To string
	// Address and Port of the receiver.
	Address netip.Addr
	Port    uint16
	// CPU that both ends run on.
	CPU int
}

// Result is what was delivered in all turns.
type Result struct {
	// Count of transactions (RR), of datagrams that reached the socket (UDP), or of bytes read (TCP).
	Count int64
	// Sent datagrams (UDP).
	Sent int64
	// Wall time of the turns.
	Wall time.Duration
	// P50 of a transaction (RR).
	P50 time.Duration
	// RealTime says that both threads had priority over everything else on the core.
	RealTime bool
}

// Turn is what a Session has done when it was its turn.
type Turn struct {
	// Spent is the CPU time of both threads and of the core's ksoftirqd, to which the kernel may leave what it has too much of.
	Spent time.Duration
	// Count of transactions (RR), of datagrams sent (UDP), or of bytes read (TCP).
	Count int64
}

// Session is a load that sends when it is told to, and waits without any work in between.
type Session struct {
	request        Request
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ask, tell      *os.File
	cancel         context.CancelFunc
}

// command is the first argument of the process that Start starts.
const command = "load"

// longest is how long all turns of a Session may take.
const longest = time.Minute

// Start starts this program again as a load, and waits until both ends are connected.
func Start(ctx context.Context, r Request) (*Session, error) {
	in, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	childAsk, ask, err := pipe()
	if err != nil {
		return nil, err
	}
	tell, childTell, err := pipe()
	if err != nil {
		return nil, errors.Join(err, childAsk.Close(), ask.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	s := &Session{request: r, cmd: exec.CommandContext(ctx, "/proc/self/exe", command), ask: ask, tell: tell, cancel: cancel}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = bytes.NewReader(in), &s.stdout, &s.stderr
	s.cmd.ExtraFiles = []*os.File{childAsk, childTell}
	// A signal of Go's preemption would interrupt system calls that nobody repeats.
	s.cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=4")
	// It ends with its pipe. Pdeathsig would end it with the thread that started it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = s.cmd.Start()
	err = errors.Join(err, childAsk.Close(), childTell.Close())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	// Not as turns: the copying of its standard input must not have to wait for this thread.
	if _, err := io.ReadFull(s.tell, make([]byte, turnSize)); err != nil {
		_, err := s.End()
		return nil, err
	}
	return s, nil
}

// Turn lets the load send for a time.
func (s *Session) Turn(d time.Duration) (Turn, error) {
	if err := s.say(d); err != nil {
		return Turn{}, s.failed(err)
	}
	t, err := s.hear()
	if err != nil {
		return Turn{}, s.failed(err)
	}
	return t, nil
}

// End closes the connection. It has to be called once.
func (s *Session) End() (Result, error) {
	_ = s.say(0) // if it has failed, Wait says why
	err := s.cmd.Wait()
	err = errors.Join(err, s.close())
	if err != nil {
		return Result{}, s.failed(fmt.Errorf("%w: %s", err, strings.TrimSpace(s.stderr.String())))
	}
	var result Result
	if err := json.Unmarshal(s.stdout.Bytes(), &result); err != nil {
		return Result{}, s.failed(fmt.Errorf("read result: %w", err))
	}
	if result.Count == 0 {
		return Result{}, s.failed(errors.New("nothing was delivered"))
	}
	return result, nil
}

func (s *Session) close() error {
	s.cancel()
	return errors.Join(s.ask.Close(), s.tell.Close())
}

func (s *Session) failed(err error) error {
	return fmt.Errorf("load %s from %s to %s: %w", s.request.Kind, s.request.From, s.request.To, err)
}

// Asked says whether args (without the program's name) are those of a process that Start started.
func Asked(args []string) bool { return len(args) == 1 && args[0] == command }

// Serve is the main of the process that Start started.
func Serve(in io.Reader, out io.Writer) error {
	var r Request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	result, err := serve(r)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}
