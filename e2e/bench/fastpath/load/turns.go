// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Files of the process that Start started: a turn is a number of nanoseconds on the one, and what it has given on the other.
const (
	askFD  = 3
	tellFD = 4
	// turnSize is the length of what a turn has given.
	turnSize = 16
)

// pipe gives a pipe that blocks.
func pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// say begins a turn. Session's pipes are used past Go's scheduler, so that the next turn begins at once.
func (s *Session) say(d time.Duration) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(d))
	_, err := again(unix.SYS_WRITE, s.ask, b)
	return err
}

// hear waits for the end of a turn.
func (s *Session) hear() (Turn, error) {
	b := make([]byte, turnSize)
	n, err := again(unix.SYS_READ, s.tell, b)
	if err == nil && n < len(b) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Turn{}, fmt.Errorf("hear of turn: %w", err)
	}
	return Turn{Spent: time.Duration(binary.LittleEndian.Uint64(b)), Count: int64(binary.LittleEndian.Uint64(b[8:]))}, nil
}

// again is transfer in a process that signals interrupt.
func again(call uintptr, file *os.File, b []byte) (n int, err error) {
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		n, err = transfer(call, int(file.Fd()), b)
	}
	return n, err
}

// clock takes the CPU time of this process, both ends', and of the kernel's thread that helps it.
type clock struct {
	softirq *Softirq
	spent   time.Duration
	count   int64
	wall    time.Duration
}

// turns calls step for each turn, which works until then and says how much was done in all turns; between them it waits.
// Work that is left from one turn is part of the next.
func (c *clock) turns(cpu int, step func(until time.Time) (int64, error)) error {
	var err error
	if c.softirq, err = OpenSoftirq(cpu); err != nil {
		return err
	}
	defer c.softirq.Close()
	c.spent = processTime()
	for tell := (Turn{}); ; {
		b := binary.LittleEndian.AppendUint64(nil, uint64(tell.Spent))
		if _, err := transfer(unix.SYS_WRITE, tellFD, binary.LittleEndian.AppendUint64(b, uint64(tell.Count))); err != nil {
			return fmt.Errorf("tell of turn: %w", err)
		}
		b = make([]byte, 8)
		if n, err := transfer(unix.SYS_READ, askFD, b); err != nil || n < len(b) {
			return fmt.Errorf("wait for turn: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		d := time.Duration(binary.LittleEndian.Uint64(b))
		if d == 0 {
			return nil
		}
		if tell, err = c.turn(d, step); err != nil {
			return err
		}
	}
}

func (c *clock) turn(d time.Duration, step func(until time.Time) (int64, error)) (Turn, error) {
	helped, err := c.softirq.Time()
	if err != nil {
		return Turn{}, err
	}
	begin := time.Now()
	count, err := step(begin.Add(d))
	if err != nil {
		return Turn{}, err
	}
	c.wall += time.Since(begin)
	spent := processTime()
	after, err := c.softirq.Time()
	t := Turn{Spent: spent - c.spent + after - helped, Count: count - c.count}
	c.spent, c.count = spent, count
	return t, err
}

func processTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(t.Nano())
}
