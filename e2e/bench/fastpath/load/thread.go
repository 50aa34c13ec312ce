// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Enter makes the calling goroutine's thread one that runs on cpu only, in the namespace ns, before everything else.
// The thread ends with the goroutine.
func Enter(ns string, cpu int) (realTime bool, err error) {
	runtime.LockOSThread()
	target, err := netns.GetFromName(ns)
	if err != nil {
		return false, fmt.Errorf("open network namespace %s: %w", ns, err)
	}
	defer target.Close()
	if err := netns.Set(target); err != nil {
		return false, fmt.Errorf("enter network namespace %s: %w", ns, err)
	}
	return Pin(cpu)
}

// Pin makes the calling thread run on cpu only, and before everything else there if the kernel lets it.
func Pin(cpu int) (realTime bool, err error) {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return false, fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	attr := unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: 10}
	return unix.SchedSetAttr(0, &attr, 0) == nil, nil
}

// ThreadTime is the CPU time of the calling thread, in which the kernel's work on its packets is.
func ThreadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(t.Nano())
}

// Softirq is the kernel's thread that takes what softirqs of a core have left over.
type Softirq struct{ schedstat *os.File }

// OpenSoftirq finds that of a core.
func OpenSoftirq(cpu int) (*Softirq, error) {
	pid, err := softirqThread(cpu)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "schedstat"))
	if err != nil {
		return nil, fmt.Errorf("open CPU time of ksoftirqd/%d: %w", cpu, err)
	}
	return &Softirq{file}, nil
}

// Time is its CPU time.
func (s *Softirq) Time() (time.Duration, error) {
	var b [64]byte
	n, err := s.schedstat.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read CPU time of ksoftirqd: %w", err)
	}
	first, _, _ := strings.Cut(string(b[:n]), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read CPU time of ksoftirqd: %w", err)
	}
	return time.Duration(ns), nil
}

// Close forgets it.
func (s *Softirq) Close() error { return s.schedstat.Close() }

func softirqThread(cpu int) (int, error) {
	name := fmt.Sprintf("ksoftirqd/%d\n", cpu)
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && string(text) == name {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("find ksoftirqd/%d: no such thread; the bench needs the kernel's threads in /proc", cpu)
}
