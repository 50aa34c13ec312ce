// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package proc runs the lab's components as processes of the machine. They
// outlive the program that started them (a demo leaves its lab up), so all that
// is known about them lies in a directory: the next program finds them there.
package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is the state directory of a set of processes: <Dir>/pid/<name> holds
// "pid starttime" and <Dir>/log/<name>.log what the process wrote.
type Dir string

// Spec says what to run.
type Spec struct {
	// Name is the process's name in its Dir.
	Name string
	// Path is the executable; a name without a slash is looked up in PATH.
	Path string
	// Args are the arguments after the program's own name.
	Args []string
	// Env is added to the starter's environment.
	Env []string
	// NetNS names a network namespace under /run/netns to run in; "" stays in
	// the starter's own.
	NetNS string
	// BoxPID, when not 0, is a process whose mount, pid and network namespaces
	// the new process enters. With NetNS set too, NetNS gives the network.
	BoxPID int
	// Cwd is the working directory; "" is the starter's own.
	Cwd string
}

// Process is one process that was started from a Spec, by this program or by
// an earlier one.
type Process struct {
	dir     Dir
	name    string
	pid     int
	start   uint64
	created time.Time
	// reaped is closed once exit is known; nil when another program started it.
	reaped chan struct{}
	exit   *os.ProcessState
}

// Start runs spec in a session of its own with its output appended to its log,
// and records it. It refuses a name whose process is alive. ctx only guards the
// start: the process lives on when ctx ends.
func (d Dir) Start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	if p, ok := d.Find(spec.Name); ok {
		return nil, fmt.Errorf("start %s: already running with pid %d", spec.Name, p.pid)
	}
	for _, sub := range []string{"pid", "log"} {
		if err := os.MkdirAll(filepath.Join(string(d), sub), 0o755); err != nil {
			return nil, fmt.Errorf("start %s: %w", spec.Name, err)
		}
	}
	log, err := os.OpenFile(d.logPath(spec.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	defer log.Close()

	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir = append(os.Environ(), spec.Env...), spec.Cwd
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := startIn(cmd, spec); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}

	p := &Process{dir: d, name: spec.Name, pid: cmd.Process.Pid, created: time.Now(), reaped: make(chan struct{})}
	// A child stays visible as a zombie until Wait below, so stat can't miss it.
	if st, err := readStat(p.pid); err == nil {
		p.start = st.start
	}
	record := fmt.Sprintf("%d %d\n", p.pid, p.start)
	if err := os.WriteFile(d.pidPath(spec.Name), []byte(record), 0o644); err != nil {
		return nil, errors.Join(fmt.Errorf("record %s: %w", spec.Name, err), cmd.Process.Kill(), cmd.Wait())
	}
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		p.exit = cmd.ProcessState
		close(p.reaped)
	}()
	return p, nil
}

// startIn forks from a thread that has entered the wanted namespaces: a child is
// born in those of the thread that forks it, and its pid is the real one, which a
// fork by nsenter would hide.
func startIn(cmd *exec.Cmd, spec Spec) error {
	if spec.NetNS == "" && spec.BoxPID == 0 {
		return cmd.Start()
	}
	result := make(chan error, 1)
	go onOwnThread(func() {
		if err := enter(spec); err != nil {
			result <- err
			return
		}
		result <- cmd.Start()
	})
	return <-result
}

// onOwnThread runs fn on a thread that ends with the calling goroutine, so that
// nothing else ever runs in the namespaces fn enters. The program's main thread
// can't end (and is what /proc/PID shows), so it is kept busy while another does it.
func onOwnThread(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		fn()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		fn()
	}()
	<-done
}

// Find gives the process of that name if it is alive.
func (d Dir) Find(name string) (*Process, bool) {
	p, err := d.load(name)
	if err != nil || !p.Alive() {
		return nil, false
	}
	return p, true
}

// List gives all recorded processes in the order of their starts, those that
// have died without being stopped included.
func (d Dir) List() []*Process {
	entries, err := os.ReadDir(filepath.Join(string(d), "pid"))
	if err != nil {
		return nil
	}
	var all []*Process
	for _, e := range entries {
		if p, err := d.load(e.Name()); err == nil {
			all = append(all, p)
		}
	}
	// The kernel's start time counts in 10 ms; the record's own time decides
	// within such a step.
	slices.SortStableFunc(all, func(a, b *Process) int {
		return cmp.Or(cmp.Compare(a.start, b.start), a.created.Compare(b.created))
	})
	return all
}

// StopAll stops every process of the directory, the last started first, each
// with that grace.
func (d Dir) StopAll(grace time.Duration) error {
	var errs []error
	for _, p := range slices.Backward(d.List()) {
		errs = append(errs, p.Stop(grace))
	}
	return errors.Join(errs...)
}

func (d Dir) load(name string) (*Process, error) {
	path := d.pidPath(name)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &Process{dir: d, name: name}
	if _, err := fmt.Sscan(string(b), &p.pid, &p.start); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	p.created = info.ModTime()
	return p, nil
}

func (d Dir) pidPath(name string) string { return filepath.Join(string(d), "pid", name) }
func (d Dir) logPath(name string) string { return filepath.Join(string(d), "log", name+".log") }

// Name is the process's name in its Dir.
func (p *Process) Name() string { return p.name }

// PID is the process's own pid as this program sees it, in a box too.
func (p *Process) PID() int { return p.pid }

// Log is the path of the file with the process's output.
func (p *Process) Log() string { return p.dir.logPath(p.name) }

// Alive tells whether this very process still runs: another one that was given
// the same pid, and a zombie, are not alive.
func (p *Process) Alive() bool {
	st, err := readStat(p.pid)
	return err == nil && st.start == p.start && st.state != 'Z' && st.state != 'X'
}

// Signal sends s to the process if it is still the one that was started.
func (p *Process) Signal(s os.Signal) error {
	sig, ok := s.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %s: %v is not a signal of this system", p.name, s)
	}
	if !p.Alive() {
		return fmt.Errorf("signal %s: %w", p.name, os.ErrProcessDone)
	}
	if err := syscall.Kill(p.pid, sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill ends the process and what it left in its process group at once, as a
// crash would; its record is removed.
func (p *Process) Kill() error {
	if p.Alive() {
		// The group has the process's pid, as Start made it a session leader.
		if err := syscall.Kill(-p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill %s: %w", p.name, err)
		}
	}
	if !p.gone(10 * time.Second) {
		return fmt.Errorf("kill %s: pid %d is still there after 10s", p.name, p.pid)
	}
	return p.forget()
}

// Stop asks the process to end (SIGTERM) and kills it when it has not within
// grace. A process that is not alive is only forgotten.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && p.Alive() {
		return err
	}
	if p.gone(grace) {
		return p.forget()
	}
	return p.Kill()
}

func (p *Process) gone(within time.Duration) bool {
	for deadline := time.Now().Add(within); p.Alive(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// forget removes the record unless a newer process took the name.
func (p *Process) forget() error {
	now, err := p.dir.load(p.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (now.pid != p.pid || now.start != p.start) {
		return nil
	}
	if err := os.Remove(p.dir.pidPath(p.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget %s: %w", p.name, err)
	}
	return nil
}

type stat struct {
	state byte
	start uint64
}

// readStat reads fields 3 (state) and 22 (start time in clock ticks since boot)
// of /proc/PID/stat, proc(5). Field 2, the command, may hold spaces and
// brackets, so counting starts behind its last bracket.
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	s := string(b)
	fields := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %d fields after the command, want 20", pid, len(fields))
	}
	st := stat{state: fields[0][0]}
	if _, err := fmt.Sscan(fields[19], &st.start); err != nil {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return st, nil
}
