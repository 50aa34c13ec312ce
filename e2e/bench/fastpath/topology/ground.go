// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package topology builds what is compared: pods, gateways and what carries packets
// between them, each path in network namespaces of its own. No interface of the
// machine is touched.
package topology

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

const (
	// prefix of every namespace: what has it is a bench's, and may be deleted.
	prefix = "tmbf-"
	// directory of the lock, the product's driver and a bpffs for its pins.
	directory = "/run/tombolo-bench-fastpath"
	driver    = "./spoke-agent/internal/fastpath/cmd/fastpath-apply"
)

// Ground is what all paths stand on. One bench of the machine has it at a time.
type Ground struct {
	lock *os.File
}

// Break clears away what a bench before this one has left, mounts a bpffs, and builds the product's driver. It must
// run in a directory of this module.
func Break(ctx context.Context) (*Ground, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("make namespaces: only root may; run it as root")
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(directory, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock %s: another bench runs; wait for it: %w", lock.Name(), err)
	}
	g := &Ground{lock: lock}
	if err := clearAway(); err != nil {
		return nil, fmt.Errorf("clear away an earlier bench: %w", err)
	}
	if err := os.MkdirAll(pinsDirectory(), 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if err := unix.Mount("bpf", pinsDirectory(), "bpf", 0, "mode=0700"); err != nil {
		return nil, errors.Join(fmt.Errorf("mount bpffs: %w", err), g.Remove())
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", driverPath(), modulePath+driver[1:]).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build the product's driver: %w: %s", err, out), g.Remove())
	}
	return g, nil
}

const modulePath = "github.com/tombolo-io/tombolo"

func pinsDirectory() string { return filepath.Join(directory, "bpf") }

func driverPath() string { return filepath.Join(directory, "fastpath-apply") }

// Remove leaves nothing behind: namespaces with all that is in them, pins, files.
func (g *Ground) Remove() error {
	return errors.Join(clearAway(), os.RemoveAll(directory), g.lock.Close())
}

func clearAway() error {
	names, err := netns.List(prefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, netns.Delete(name))
	}
	// Programs and maps go with their pins, and so with the file system.
	err = unix.Unmount(pinsDirectory(), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("unmount %s: %w", pinsDirectory(), err))
	}
	return errors.Join(errs...)
}
