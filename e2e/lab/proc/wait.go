// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	pollEvery = 50 * time.Millisecond
	tailLines = 15
	tailBytes = 16 << 10
)

// Wait asks ready every 50 ms until it gives nil. It gives up when ctx ends, and
// at once when p died; the error then names what was waited for, p's log and its
// last lines. p may be nil when no process of ours answers for the wait.
func Wait(ctx context.Context, what string, p *Process, ready func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		// Asked before ready, so that a process that dies while ready is being
		// tried is found in the next round.
		alive := p == nil || p.Alive()
		err := ready(ctx)
		switch {
		case err == nil:
			return nil
		case !alive:
			return fmt.Errorf("wait for %s: %s", what, p.diagnose(p.ended(), err))
		}
		select {
		case <-ctx.Done():
			if p == nil {
				return fmt.Errorf("wait for %s: %w (last: %w)", what, ctx.Err(), err)
			}
			return fmt.Errorf("wait for %s: %w: %s", what, ctx.Err(), p.diagnose("not ready", err))
		case <-tick.C:
		}
	}
}

// ended says how the process ended, as far as that is known: only its starter
// learns the exit status.
func (p *Process) ended() string {
	if p.reaped == nil {
		return "process ended"
	}
	// A child that has ended is a zombie before its status is collected. The
	// bound is for one whose other threads outlive its first.
	select {
	case <-p.reaped:
		return "process ended: " + p.exit.String()
	case <-time.After(time.Second):
		return "process ended, its exit status is not known yet"
	}
}

func (p *Process) diagnose(state string, last error) string {
	return fmt.Sprintf("%s (pid %d): %s; last answer: %v; %s", p.name, p.pid, state, last, p.dir.LastWords(p.name))
}

// LastWords tells where the log of a process is, and how it ends. The process need not run.
func (d Dir) LastWords(name string) string {
	p := &Process{dir: d, name: name}
	return fmt.Sprintf("log %s ends with:\n%s", p.Log(), p.Tail(tailLines))
}

// Tail gives the last n lines of the process's log.
func (p *Process) Tail(n int) string {
	f, err := os.Open(p.Log())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
