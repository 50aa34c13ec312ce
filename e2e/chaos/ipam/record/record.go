// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package record is the history that allocators and spokes write: one line for each thing that begins or ends, in a file that is
// written at once, so that a process that is killed leaves all that it has begun.
package record

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a line says.
const (
	// Allocate: an owner is about to ask. Values are what it asks of: the pools.
	Allocate = "allocate"
	// Allocated: the owner has Values.
	Allocated = "allocated"
	// Refused: the owner was told that the pool has none, and is not going to use any that it is given later.
	Refused = "refused"
	// Release: from here on the owner uses nothing of what it has.
	Release = "release"
	// Released: nobody keeps anything for the owner any more.
	Released = "released"
	// Copied: a cluster is about to have what an owner has.
	Copied = "copied"
	// Dropped: a cluster has nothing of the owner any more.
	Dropped = "dropped"
	// Began: a process has begun.
	Began = "began"
)

// Line of a history.
type Line struct {
	// Time is of the machine's monotonic clock, in nanoseconds: the same for all processes.
	Time int64
	// What happened, to which Owner.
	What, Owner string
	// Values are POOL|VALUE.
	Values []string
}

// Value writes what a pool has handed out.
func Value(pool, value string) string { return pool + "|" + value }

// Split reads what Value wrote.
func Split(value string) (pool, rest string) {
	pool, rest, _ = strings.Cut(value, "|")
	return pool, rest
}

// Now is the time of lines.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // there is no Linux without it
	}
	return t.Nano()
}

// Log writes lines. Each is one write, so that several goroutines may share it.
type Log struct {
	file *os.File
}

// Open opens a history to add to it.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	return &Log{f}, nil
}

// Write adds a line of now.
func (l *Log) Write(what, owner string, values ...string) error {
	line := strconv.FormatInt(Now(), 10) + "\t" + what + "\t" + owner + "\t" + strings.Join(values, ",") + "\n"
	if _, err := l.file.WriteString(line); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// Read reads a history.
func Read(path string) ([]Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return Parse(path, text)
}

// Parse reads the lines of a text. The last may be cut off: its writer was killed.
func Parse(name string, text []byte) ([]Line, error) {
	var lines []Line
	scanner := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	for scanner.Scan() {
		parts := strings.Split(scanner.Text(), "\t")
		if len(parts) != 4 {
			return nil, fmt.Errorf("read history %s: line %q", name, scanner.Text())
		}
		at, err := strconv.ParseInt(parts[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read history %s: %w", name, err)
		}
		line := Line{Time: at, What: parts[1], Owner: parts[2]}
		if parts[3] != "" {
			line.Values = strings.Split(parts[3], ",")
		}
		lines = append(lines, line)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read history %s: %w", name, err)
	}
	return lines, nil
}
