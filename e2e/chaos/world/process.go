// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package world runs what a history happens to: for the hub and for each cluster a real kube-apiserver, two etcds, the
// real tombolo-hub, one real tombolo-agent and one ovsdb-server with OVN's northbound database per cluster. All are
// children that die with this process, on loopback and on unix sockets in one directory.
package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a child that may be killed, stopped and started again.
type Process struct {
	name string
	log  string
	path string
	args []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// forks runs every start on one thread that never ends: the kernel ends a child whose parent's thread has ended.
var forks = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

func newProcess(dir, name, path string, args ...string) *Process {
	return &Process{name: name, log: filepath.Join(dir, name+".log"), path: path, args: args}
}

// Start starts the process unless it runs.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.alive() {
		return nil
	}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.name, err)
	}
	defer out.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "GOGC=200") // a third of the time of several small servers would be collection
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	forks() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // that it ended is what matters
		close(ended)
	}()
	p.cmd, p.ended = cmd, ended
	return nil
}

func (p *Process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Alive is false before Start and after the end.
func (p *Process) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.alive()
}

// Signal sends s; a process that is not there gets nothing.
func (p *Process) Signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && p.alive() {
		_ = p.cmd.Process.Signal(s) // it may just have ended
	}
}

// Kill ends the process as a crash does, and waits for its end.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// Log is the path of what the process writes.
func (p *Process) Log() string { return p.log }

// Tail is the end of the log.
func (p *Process) Tail(bytes int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-bytes):])
}

// freePort is a port of loopback that nobody listens on.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// until asks again until check has no error, or the context ends.
func until(ctx context.Context, what string, check func(context.Context) error) error {
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), last))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
