// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

const cgroupMount = "/sys/fs/cgroup"

// cgroup is the parent of all pods' cgroups, the kubelet's cgroupRoot.
func (n *Node) cgroup() string { return "/" + n.NetNS }

// hierarchies gives the roots of the machine's cgroup hierarchies: the only one
// of cgroup v2, or one for each controller of v1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	var roots []string
	for _, e := range entries {
		root := filepath.Join(cgroupMount, e.Name())
		// Aliases such as cpu -> cpu,cpuacct are symbolic links and left out.
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); e.IsDir() && err == nil {
			roots = append(roots, root)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("find cgroups: no hierarchy below %s; mount cgroup v1 or v2 there", cgroupMount)
	}
	return roots, nil
}

// setUpCgroups makes the node's cgroup in every hierarchy: the kubelet wants it
// to exist.
func (n *Node) setUpCgroups(context.Context) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(root+n.cgroup(), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		// A cpuset of v1 without processors and memory nodes takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(root, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(root+n.cgroup(), file), value, 0)
			}
			if err != nil {
				return fmt.Errorf("make cgroup: %w", err)
			}
		}
	}
	return nil
}

// removeCgroups removes the node's cgroups, which stay busy for a moment after
// their last process is gone.
func (n *Node) removeCgroups(ctx context.Context) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	return proc.Wait(ctx, "empty cgroups of "+n.Name, nil, func(context.Context) error {
		var errs []error
		for _, root := range roots {
			errs = append(errs, removeTree(root+n.cgroup()))
		}
		return errors.Join(errs...)
	})
}

// removeTree removes a directory of cgroups from its leaves up. Their files are
// the kernel's and go with them.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
