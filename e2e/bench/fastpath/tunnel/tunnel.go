// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package tunnel is wireguard-go between two network namespaces, in a process of its
// own whose CPU time can be told from all else: what the product is compared with.
package tunnel

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Request is one tunnel.
type Request struct {
	// Name of the TUN interface in both namespaces. It comes without addresses, and down.
	Name string
	// MTU of the interface in bytes.
	MTU int
	// Port is the UDP port of both ends.
	Port uint16
	Ends [2]End
}

// End is one end of a tunnel.
type End struct {
	// Namespace that TUN interface and UDP socket are in.
	Namespace string
	// Endpoint is the address on the underlay, and Behind the prefixes that are reached through this end.
	Endpoint string
	Behind   []string
}

// command is the first argument of the process that Start starts.
const command = "tunnel"

// ready is what the process writes when packets may come.
const ready = "OK"

// Process is a program that runs until it is closed, and whose CPU time counts.
type Process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// Start starts this program again as the tunnel r.
func Start(ctx context.Context, r Request) (*Process, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", command)
	return StartCommand(cmd, cmd.Start, r)
}

// StartCommand calls start, which starts cmd, gives it r as JSON, and waits until it says OK. It is to end when its
// standard input does, and so with this process. (A signal at the parent's death would come when the thread ends that
// started it, and threads end here.)
func StartCommand(cmd *exec.Cmd, start func() error, r any) (*Process, error) {
	in, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the terminal is this process's to handle
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd, stdin}
	_, err = stdin.Write(append(in, '\n'))
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	if err := errors.Join(err, readErr); err != nil || strings.TrimSpace(line) != ready {
		return nil, errors.Join(fmt.Errorf("wait for %s: it said %q", cmd.Path, line), err, p.Close(), errors.New(stderr.String()))
	}
	return p, nil
}

// CPU time of the process until now, all threads together.
func (p *Process) CPU() (time.Duration, error) {
	var t unix.Timespec
	clock := ^p.cmd.Process.Pid<<3 | 2 // CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it
	if err := unix.ClockGettime(int32(clock), &t); err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.cmd.Path, err)
	}
	return time.Duration(t.Nano()), nil
}

// Close ends the process.
func (p *Process) Close() error {
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

// Asked says whether args (without the program's name) are those of a process that Start started.
func Asked(args []string) bool { return len(args) == 1 && args[0] == command }

// Serve is the main of the process that Start started.
func Serve(in io.Reader, out io.Writer) error {
	var r Request
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	devices, err := open(r)
	if err != nil {
		return err
	}
	defer func() {
		for _, d := range devices {
			d.Close()
		}
	}()
	if _, err := fmt.Fprintln(out, ready); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
