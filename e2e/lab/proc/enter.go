// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// enter moves the calling thread into the spec's namespaces (setns(2)). The pid
// namespace counts only for the children of the thread, which is what is wanted.
func enter(spec Spec) error {
	type namespace struct {
		path string
		kind int
	}
	var want []namespace
	box := func(ns string) string { return fmt.Sprintf("/proc/%d/ns/%s", spec.BoxPID, ns) }
	switch {
	case spec.NetNS != "":
		want = append(want, namespace{filepath.Join("/run/netns", spec.NetNS), unix.CLONE_NEWNET})
	case spec.BoxPID > 0:
		want = append(want, namespace{box("net"), unix.CLONE_NEWNET})
	}
	if spec.BoxPID > 0 {
		want = append(want, namespace{box("pid"), unix.CLONE_NEWPID}, namespace{box("mnt"), unix.CLONE_NEWNS})
		// A thread that shares its root and working directory with the others
		// may not change its mount namespace.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare file system attributes: %w", err)
		}
	}
	// All files are opened first: their paths mean something else once the
	// thread is in another mount namespace.
	files := make([]*os.File, len(want))
	for i, ns := range want {
		f, err := os.Open(ns.path)
		if err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		defer f.Close()
		files[i] = f
	}
	for i, ns := range want {
		if err := unix.Setns(int(files[i].Fd()), ns.kind); err != nil {
			return fmt.Errorf("enter namespace %s: %w", ns.path, err)
		}
	}
	return nil
}
