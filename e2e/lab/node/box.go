// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// ownDirs are empty in the box at its start. They hold what programs keep at
// fixed paths: containerd's shim sockets and the lock of iptables (/run), CNI
// results and device plugins (/var/lib), container log links (/var/log).
var ownDirs = []string{"/run", "/var/lib", "/var/log"}

// ownViews are the machine's, but what a node has in them besides is its own.
var ownViews = []string{"/etc", "/opt"}

// Where a node looks for network configurations and plugins, as every
// installation of Kubernetes does.
const (
	cniConfDir = "/etc/cni/net.d"
	cniBinDir  = "/opt/cni/bin"
)

// mounts maps directories of the node to those that hold what is in them.
func (n *Node) mounts() map[string]string {
	all := map[string]string{cniConfDir: n.CNIConfDir(), cniBinDir: n.CNIBinDir()}
	maps.Copy(all, n.Mounts)
	return all
}

// ownSettings are kernel settings of the whole machine that a kubelet or runc
// writes; the box has copies.
var ownSettings = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

func (n *Node) startBox(ctx context.Context) error {
	ready := n.file("box.ready")
	p, ok := n.Process("box")
	if !ok {
		if err := os.Remove(ready); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		args := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", n.Pause}
		for _, dir := range ownDirs {
			args = append(args, "-tmpfs", dir)
		}
		args = append(args, "-bpffs", "/sys/fs/bpf")
		for _, dir := range ownViews {
			args = append(args, "-overlay", "/run/box"+dir+"="+dir)
		}
		for target, source := range n.mounts() {
			if err := os.MkdirAll(source, 0o755); err != nil {
				return err
			}
			args = append(args, "-bind", source+"="+target)
		}
		for _, setting := range ownSettings {
			from, err := n.copySetting(setting)
			if err != nil {
				return err
			}
			args = append(args, "-bind", from+"=/proc/sys/"+setting)
		}
		args = append(args, "-ready", ready)
		var err error
		p, err = n.Dir.Start(ctx, proc.Spec{Name: n.process("box"), Path: "unshare", Args: args, NetNS: n.NetNS})
		if err != nil {
			return err
		}
	}
	return proc.Wait(ctx, n.process("box"), p, func(context.Context) error {
		_, err := os.Stat(ready)
		return err
	})
}

func (n *Node) copySetting(setting string) (string, error) {
	value, err := os.ReadFile("/proc/sys/" + setting)
	if err != nil {
		return "", fmt.Errorf("copy setting: %w", err)
	}
	to := n.file("settings", strings.ReplaceAll(setting, "/", "."))
	return to, write(to, value)
}

// BoxPID is the box's PID 1 as this machine sees it: the only child of unshare.
func (n *Node) BoxPID() (int, error) {
	p, ok := n.Process("box")
	if !ok {
		return 0, fmt.Errorf("find box of node %s of %s: it does not run", n.Name, n.Cluster)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", p.PID(), p.PID()))
	if err != nil {
		return 0, fmt.Errorf("find box of node %s of %s: %w", n.Name, n.Cluster, err)
	}
	var pid int
	if _, err := fmt.Sscan(string(children), &pid); err != nil {
		return 0, fmt.Errorf("find box of node %s of %s: read %q: %w", n.Name, n.Cluster, children, err)
	}
	return pid, nil
}

// Exec runs a command in the box and gives its standard output; its standard
// error is part of the error.
func (n *Node) Exec(ctx context.Context, command ...string) ([]byte, error) {
	pid, err := n.BoxPID()
	if err != nil {
		return nil, err
	}
	args := append([]string{"-t", fmt.Sprint(pid), "--mount", "--pid", "--net", "--"}, command...)
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &stdout, &stderr
	// nsenter forks into the pid namespace: the end of ctx must end the child too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("run %q in node %s: %w: %s",
			strings.Join(command, " "), n.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// stopBox kills PID 1: the kernel kills the rest of its pid namespace and drops
// the mounts. unshare itself ignores SIGTERM and ends with its child.
func (n *Node) stopBox() error {
	p, ok := n.Process("box")
	if !ok {
		return nil
	}
	if pid, err := n.BoxPID(); err == nil {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill box: %w", err)
		}
	}
	return p.Stop(stopGrace)
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
