// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "golang.org/x/sys/unix"

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

// pinToCPU keeps the thread on one CPU.
func pinToCPU(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
