// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command pause is the PID 1 that holds namespaces open and reaps orphans.
//
// In a pod sandbox it is started without arguments. In a node's box (package
// node) it first makes the mounts that keep one node's files from another's:
//
//	pause -tmpfs /run -bpffs /sys/fs/bpf -bind SOURCE=TARGET -ready FILE
package main

import (
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
	tmpfs, bpffs, bind []string
	ready              string
}

// mount makes the mounts in the order tmpfs, bpffs, bind, then says so.
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
	for _, pair := range b.bind {
		source, target, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("-bind %q: want SOURCE=TARGET", pair)
		}
		if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", source, target, err)
		}
	}
	if b.ready == "" {
		return nil
	}
	return os.WriteFile(b.ready, nil, 0o644)
}

func list(to *[]string) func(string) error {
	return func(v string) error {
		*to = append(*to, v)
		return nil
	}
}
