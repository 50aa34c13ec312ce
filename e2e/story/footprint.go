// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/lab"
)

// Footprint is what a container of Tombolo's takes.
type Footprint struct {
	lab.Container
	// RSS is its resident memory in KiB, proc(5) VmRSS.
	RSS int
}

// Footprints are those of all containers of Tombolo.
func (f *Fleet) Footprints(ctx context.Context) ([]Footprint, error) {
	var all []Footprint
	for _, c := range f.Lab.Clusters() {
		containers, err := f.Lab.Containers(ctx, c.Name)
		if err != nil {
			return nil, err
		}
		for _, container := range containers {
			kib, err := rss(container.PID)
			if err != nil {
				return nil, fmt.Errorf("read memory of %s in %s: %w", container.Pod, c.Name, err)
			}
			all = append(all, Footprint{Container: container, RSS: kib})
		}
	}
	return all, nil
}

func rss(pid int) (kib int, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	_, err = fmt.Sscan(after, &kib)
	return kib, err
}
