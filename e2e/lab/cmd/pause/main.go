// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pause is the PID 1 that holds namespaces open and reaps orphans.
//
// In a pod sandbox it is started without arguments. In a node's box (package
// node) it first makes the mounts that keep one node's files from another's:
//
//	pause -tmpfs /run -bpffs /sys/fs/bpf -overlay SCRATCH=DIR -bind SOURCE=TARGET -ready FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	var b box
	flag.Func("tmpfs", "mount an empty tmpfs on `DIR` (may be repeated)", list(&b.tmpfs))
	flag.Func("bpffs", "mount a private bpffs on `DIR` (may be repeated)", list(&b.bpffs))
	flag.Func("overlay", "let what is written below the second directory of `SCRATCH=DIR` go into the first (may be repeated)", list(&b.overlay))
	flag.Func("bind", "bind-mount `SOURCE=TARGET` (may be repeated)", list(&b.bind))
	flag.StringVar(&b.ready, "ready", "", "create this `FILE` when all mounts are made")
	flag.Parse()

	// Before the mounts: a signal must never find the default action.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	if err := b.mount(); err != nil {
		fmt.Fprintln(os.Stderr, "pause:", err)
		os.Exit(1)
	}
	for s := range signals {
		if s != syscall.SIGCHLD {
			return // the end of PID 1 ends every process of its namespace
		}
		reap()
	}
}

// reap collects every child that has ended. One SIGCHLD may stand for many.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}

// box lists the mounts of a node's own mount namespace.
type box struct {
	tmpfs, bpffs, overlay, bind []string
	ready                       string
}

// mount makes the mounts in the order tmpfs, bpffs, overlay, bind, then says so.
func (b box) mount() error {
	for _, dir := range b.tmpfs {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	for _, dir := range b.bpffs {
		if err := syscall.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
			return fmt.Errorf("mount bpffs on %s: %w", dir, err)
		}
	}
	if err := each(b.overlay, overlay); err != nil {
		return err
	}
	if err := each(b.bind, bind); err != nil {
		return err
	}
	if b.ready == "" {
		return nil
	}
	return os.WriteFile(b.ready, nil, 0o644)
}

// each calls mount with both sides of every pair.
func each(pairs []string, mount func(from, to string) error) error {
	for _, pair := range pairs {
		from, to, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("mount %q: want FROM=TO", pair)
		}
		if err := mount(from, to); err != nil {
			return fmt.Errorf("mount %s on %s: %w", from, to, err)
		}
	}
	return nil
}

// overlay makes a directory of the machine writable, for this box alone.
func overlay(scratch, dir string) error {
	upper, work := scratch+"/upper", scratch+"/work"
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	return syscall.Mount("overlay", dir, "overlay", 0, "lowerdir="+dir+",upperdir="+upper+",workdir="+work)
}

// bind makes the directory that it mounts a directory on.
func bind(source, target string) error {
	if info, err := os.Stat(source); err == nil && info.IsDir() {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	}
	return syscall.Mount(source, target, "", syscall.MS_BIND, "")
}

func list(to *[]string) func(string) error {
	return func(v string) error {
		*to = append(*to, v)
		return nil
	}
}
