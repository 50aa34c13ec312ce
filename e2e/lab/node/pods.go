// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// PodProcesses gives the processes of a pod's containers, by their pids on this
// machine; the sandbox's own is none of them.
func (n *Node) PodProcesses(podUID string) ([]int, error) {
	roots, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var pids []int
	// Every hierarchy has every process; a pod's directory has one for each container.
	err = filepath.WalkDir(roots[0]+n.cgroup(), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.Name() != "cgroup.procs" || !strings.Contains(path, "/pod"+podUID+"/") {
			return err
		}
		lines, err := os.ReadFile(path)
		if err != nil && !gone(err) {
			return err
		}
		for field := range bytes.FieldsSeq(lines) {
			pid, err := strconv.Atoi(string(field))
			if err != nil {
				return err
			}
			name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if err == nil && string(name) != "pause\n" {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find processes of pod %s on node %s: %w", podUID, n.Name, err)
	}
	return pids, nil
}

// gone tells whether a cgroup went while it was read.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}
