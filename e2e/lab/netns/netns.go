// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package netns makes the lab's network: named network namespaces and the
// bridges, veth pairs, addresses and routes in them. It never touches an
// interface of the machine's own namespace.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// root is where ip-netns(8) keeps named namespaces.
const root = "/run/netns"

// Path is the file that stands for the namespace of that name.
func Path(name string) string { return filepath.Join(root, name) }

// Create makes the named network namespace with its loopback up. One that is
// there already is an error: it may not be ours.
func Create(name string) error {
	if err := prepareRoot(); err != nil {
		return fmt.Errorf("create network namespace %s: %w", name, err)
	}
	if _, err := os.Stat(Path(name)); err == nil {
		return fmt.Errorf("create network namespace %s: %s exists; delete it first", name, Path(name))
	}
	if err := create(name); err != nil {
		return fmt.Errorf("create network namespace %s: %w", name, err)
	}
	return LinkUp(name, "lo")
}

// prepareRoot makes root a shared mount of its own, as `ip netns add` does when
// it is none: done after ours, that would hide our mounts and they could not be
// removed any more.
func prepareRoot() error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	dir, err := os.Open(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", root, err)
	}
	err = unix.Mount("", root, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := unix.Mount(root, root, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make %s a mount: %w", root, err)
	}
	return unix.Mount("", root, "none", unix.MS_SHARED|unix.MS_REC, "")
}

func create(name string) error {
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer own.Close()
	// NewNamed moves the thread into the new namespace.
	h, err := netns.NewNamed(name)
	if err == nil {
		err = h.Close()
	}
	return errors.Join(err, goBack(own))
}

// goBack brings the locked thread back to its own namespace and unlocks it. One
// that can't go back stays locked, so that it ends with its goroutine and no
// other one lands in the wrong namespace.
func goBack(own netns.NsHandle) error {
	if err := netns.Set(own); err != nil {
		return fmt.Errorf("leave network namespace: %w", err)
	}
	runtime.UnlockOSThread()
	return nil
}

// Delete removes the named namespace; one that is not there is fine. What still
// runs in it keeps it alive without a name.
func Delete(name string) error {
	if err := unix.Unmount(Path(name), unix.MNT_DETACH); err != nil &&
		!errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	if err := os.Remove(Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	return nil
}

// Exists tells whether the named namespace is there.
func Exists(name string) bool {
	_, err := os.Stat(Path(name))
	return err == nil
}

// List gives the named namespaces whose names start with prefix, sorted.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Do runs fn in the caller's goroutine with its thread in the named namespace.
// Goroutines that fn starts run outside it.
func Do(name string, fn func() error) (err error) {
	target, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer own.Close()
	defer func() { err = errors.Join(err, goBack(own)) }()
	if err := netns.Set(target); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return fn()
}

// Exec runs a command in the named namespace and gives its standard output; its
// standard error is part of the error. Of the machine's other namespaces it
// changes nothing, so /sys is not remounted as `ip netns exec` would do.
func Exec(ctx context.Context, name string, command ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// Only the fork must happen in the namespace.
	err := Do(name, cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.Bytes(), fmt.Errorf("run %q in %s: %w: %s",
			strings.Join(command, " "), name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// Sysctl writes a kernel setting of the namespace, such as
// "net.ipv4.ip_forward". A slash in place of a dot keeps dots in interface names.
func Sysctl(ns, key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	if !strings.HasPrefix(path, "net/") {
		// Only these belong to a network namespace; others are the machine's.
		return fmt.Errorf("set sysctl %s in %s: the key must start with net", key, ns)
	}
	return Do(ns, func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl %s=%s in %s: %w", key, value, ns, err)
		}
		return nil
	})
}

// DialContext gives a dialer whose connections start in the named namespace.
// Addresses must be numeric: a name would be resolved outside.
func DialContext(ns string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if _, err := netip.ParseAddrPort(addr); err != nil {
			return nil, fmt.Errorf("dial %s in %s: want IP:port: %w", addr, ns, err)
		}
		var conn net.Conn
		err := Do(ns, func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
}

// Listen opens a listener in the named namespace; addr must be numeric.
func Listen(ctx context.Context, ns, network, addr string) (net.Listener, error) {
	var l net.Listener
	err := Do(ns, func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

// with opens a netlink socket in the named namespace for the time of fn.
func with(ns string, fn func(*netlink.Handle) error) error {
	target, err := netns.GetFromName(ns)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", ns, err)
	}
	defer target.Close()
	h, err := netlink.NewHandleAt(target)
	if err != nil {
		return fmt.Errorf("open netlink in %s: %w", ns, err)
	}
	defer h.Close()
	return fn(h)
}
