// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package linktest makes network namespaces for tests. It needs root, and a test
// without root fails.
package linktest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of one test; it goes when the test ends.
type Namespace struct {
	// Name as `ip netns` knows it: tmb-<process>-<name>.
	Name string
}

// inUse has the names of this process's namespaces.
var inUse sync.Map

// New makes a namespace whose loopback is up, and which has no IPv6.
func New(tb testing.TB, name string) *Namespace {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("this test makes network namespaces: run it as root")
	}
	n := &Namespace{Name: fmt.Sprintf("tmb-%d-%s", os.Getpid(), name)}
	if _, ours := inUse.LoadOrStore(n.Name, true); ours {
		tb.Fatalf("namespace %s: another test of this process has it; give it another name", n.Name)
	}
	if _, err := os.Stat(n.Path()); err == nil { // left by a process that had the same number and was killed
		ip(tb, "netns", "del", n.Name)
	}
	ip(tb, "netns", "add", n.Name)
	tb.Cleanup(func() {
		ip(tb, "netns", "del", n.Name)
		inUse.Delete(n.Name)
	})
	n.IP(tb, "link set lo up")
	n.Sysctl(tb, "net/ipv6/conf/default/disable_ipv6", "1")
	return n
}

// Path of the namespace's file.
func (n *Namespace) Path() string { return "/run/netns/" + n.Name }

// IP runs `ip -n <namespace>` with the words of args.
func (n *Namespace) IP(tb testing.TB, args string) string {
	tb.Helper()
	return ip(tb, append([]string{"-n", n.Name}, strings.Fields(args)...)...)
}

// Veth joins an interface of n with one of peer.
func (n *Namespace) Veth(tb testing.TB, name string, peer *Namespace, peerName string) {
	tb.Helper()
	n.IP(tb, fmt.Sprintf("link add %s type veth peer name %s netns %s", name, peerName, peer.Name))
}

// Run runs a program in the namespace and returns what it wrote and how it ended.
func (n *Namespace) Run(name string, args ...string) (string, error) {
	out, err := exec.Command("ip", append([]string{"netns", "exec", n.Name, name}, args...)...).CombinedOutput()
	return string(out), err
}

// Sysctl writes a file below /proc/sys of the namespace.
func (n *Namespace) Sysctl(tb testing.TB, path, value string) {
	tb.Helper()
	n.MustDo(tb, func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0o644) })
}

// Do runs f on a thread in the namespace. What f opens stays there.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its namespace with it.
		runtime.LockOSThread()
		ns, err := os.Open(n.Path())
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace %s: %w", n.Name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// MustDo is Do, and an error ends the test.
func (n *Namespace) MustDo(tb testing.TB, f func() error) {
	tb.Helper()
	if err := n.Do(f); err != nil {
		tb.Fatalf("in %s: %v", n.Name, err)
	}
}

func ip(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
