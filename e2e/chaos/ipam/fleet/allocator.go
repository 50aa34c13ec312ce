// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// Program is what is run as an allocator.
const Program = "./hub/internal/allocator"

// Build compiles the allocator into a directory; overlay is a file for go build -overlay, or empty.
func Build(ctx context.Context, dir, overlay string) (path string, err error) {
	root, err := binaries.Root(ctx)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "allocator")
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", path}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, Program)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build allocator: %w\n%s", err, out)
	}
	return path, nil
}

// endLimit is how long an allocator may take to end what it has begun.
const endLimit = 2 * time.Minute

// end of a process: err is there when done is closed.
type end struct {
	done chan struct{}
	err  error
}

// allocator is a process that is started again and again.
type allocator struct {
	name    string
	history string
	log     string
	program string
	args    []string

	cmd   *exec.Cmd
	ended *end
	// input is open while it shall run: it ends when this process does.
	input io.Closer
}

func newAllocator(dir, program, kubeconfig string, n int, seed uint64, args ...string) *allocator {
	a := &allocator{name: "a" + strconv.Itoa(n), program: program}
	a.history, a.log = filepath.Join(dir, a.name+".history"), filepath.Join(dir, a.name+".log")
	a.args = append([]string{"-kubeconfig=" + kubeconfig, "-history=" + a.history, "-name=" + a.name, "-seed=" + strconv.FormatUint(seed+uint64(n), 10)}, args...)
	return a
}

func (a *allocator) start() error {
	out, err := os.OpenFile(a.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log of allocator %s: %w", a.name, err)
	}
	defer out.Close()
	cmd := exec.Command(a.program, a.args...)
	cmd.Stdout, cmd.Stderr = out, out
	if a.input, err = cmd.StdinPipe(); err != nil {
		return fmt.Errorf("start allocator %s: %w", a.name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start allocator %s: %w", a.name, err)
	}
	a.cmd = cmd
	a.ended = &end{done: make(chan struct{})}
	go func(cmd *exec.Cmd, ended *end) {
		ended.err = cmd.Wait()
		close(ended.done)
	}(a.cmd, a.ended)
	return nil
}

// kill ends the process with SIGKILL and starts it again. One that has ended by itself is a failure.
func (a *allocator) kill() error {
	if err := a.failed(); err != nil {
		return err
	}
	if err := a.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill allocator %s: %w", a.name, err)
	}
	<-a.ended.done
	return a.start()
}

// failed says why the process has ended by itself; nil when it runs.
func (a *allocator) failed() error {
	select {
	case <-a.ended.done:
		return a.failure(a.ended.err)
	default:
		return nil
	}
}

func (a *allocator) failure(err error) error {
	text, _ := os.ReadFile(a.log) // what it can't say is not known
	return fmt.Errorf("allocator %s has ended by itself: %w: %s", a.name, cmpErr(err), text[max(0, len(text)-2000):])
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("without an error")
	}
	return err
}

// end lets the process end what it has begun.
func (a *allocator) end() error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop allocator %s: %w", a.name, err)
	}
	return a.wait()
}

func (a *allocator) wait() error {
	select {
	case <-a.ended.done:
		if a.ended.err != nil {
			return a.failure(a.ended.err)
		}
		return nil
	case <-time.After(endLimit):
		return fmt.Errorf("allocator %s does not come to an end within %s", a.name, endLimit)
	}
}

// abort ends the process whatever it does.
func (a *allocator) abort() {
	if a.cmd != nil {
		_ = a.input.Close()
		_ = a.cmd.Process.Kill() // it may have ended
		<-a.ended.done
	}
}
