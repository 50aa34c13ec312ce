// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package proc

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities that a Spec may keep, by the names of Kubernetes.
var capabilities = map[string]int{
	"BPF": unix.CAP_BPF, "NET_ADMIN": unix.CAP_NET_ADMIN, "NET_RAW": unix.CAP_NET_RAW, "PERFMON": unix.CAP_PERFMON,
	"SYS_ADMIN": unix.CAP_SYS_ADMIN,
}

// confine takes all capabilities but those of keep from the calling thread's
// bounding set, and so from every program that it executes; nil keeps all. The
// thread itself keeps what it has (capabilities(7)).
func confine(keep []string) error {
	if keep == nil {
		return nil
	}
	kept := map[int]bool{}
	for _, name := range keep {
		number, ok := capabilities[name]
		if !ok {
			return fmt.Errorf("keep capability %q: give one of %s", name, strings.Join(slices.Sorted(maps.Keys(capabilities)), ", "))
		}
		kept[number] = true
	}
	for number := range unix.CAP_LAST_CAP + 1 {
		if kept[number] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", number, err)
		}
	}
	return nil
}
