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
	// Duration of the sending.
	Duration time.Duration
}

// Result is what was delivered, and what it cost.
type Result struct {
	// Count of transactions (RR), of datagrams that reached the socket (UDP), or of bytes read (TCP).
	Count int64
	// Sent datagrams (UDP).
	Sent int64
	// CPU time of both threads and of the core's ksoftirqd, to which the kernel may leave what it has too much of.
	CPU time.Duration
	// Each is the CPU time of one of Count, in nanoseconds: the median over slices of the run.
	Each float64
	// Softirq is ksoftirqd's part of CPU.
	Softirq time.Duration
	// Wall time.
	Wall time.Duration
	// P50 of a transaction (RR).
	P50 time.Duration
	// RealTime says that both threads had priority over everything else on the core.
	RealTime bool
}

// command is the first argument of the process that Run starts.
const command = "load"

// Run starts this program again as the load and waits for its result.
func Run(ctx context.Context, r Request) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Duration+10*time.Second)
	defer cancel()
	in, err := json.Marshal(r)
	if err != nil {
		return Result{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	// A signal of Go's preemption would interrupt system calls that nobody repeats.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=4")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Run(); err != nil {
		return Result{}, fmt.Errorf("load %s from %s to %s: %w: %s", r.Kind, r.From, r.To, err, strings.TrimSpace(stderr.String()))
	}
	var result Result
	if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
		return Result{}, fmt.Errorf("read result of load: %w", err)
	}
	if result.Count == 0 {
		return Result{}, fmt.Errorf("load %s from %s to %s: nothing was delivered", r.Kind, r.From, r.To)
	}
	return result, nil
}

// Asked says whether args (without the program's name) are those of a process that Run started.
func Asked(args []string) bool { return len(args) == 1 && args[0] == command }

// Serve is the main of the process that Run started.
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
