// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "golang.org/x/sys/unix"

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
