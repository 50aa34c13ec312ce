// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ovntest starts the real servers of OVN and Open vSwitch for one test: on unix sockets in a directory of its
// own, as children that end with it. It needs the Debian packages ovn-central and openvswitch-switch; ovs-vswitchd
// also needs root, for a network namespace of its own.
package ovntest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// debian says which package has a file.
var debian = map[string]string{
	"ovsdb-server": "openvswitch-common", "ovsdb-tool": "openvswitch-common", "ovsdb-client": "openvswitch-common", "ovs-vswitchd": "openvswitch-switch",
	"ovs-vsctl": "openvswitch-switch", "ovn-northd": "ovn-central", "ovn-nbctl": "ovn-common", "ovn-trace": "ovn-common",
	"/usr/share/ovn/ovn-nb.ovsschema": "ovn-central", "/usr/share/ovn/ovn-sb.ovsschema": "ovn-central",
	"/usr/share/openvswitch/vswitch.ovsschema": "openvswitch-switch", "nsenter": "util-linux", "ip": "iproute2", "ovs-appctl": "openvswitch-common", "ovn-sbctl": "ovn-common",
}

// Installed fails the test when a program or file is not installed, and names its package; else it returns its path.
func Installed(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if filepath.IsAbs(name) {
		path = name
		_, err = os.Stat(name)
	}
	if err != nil {
		t.Fatalf("find %s: %v: install the Debian package %s", name, err, debian[name])
	}
	return path
}

// Run runs a program and returns what it prints; the test fails when the program does.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // Also used while a test cleans up.
	defer cancel()
	out, err := exec.CommandContext(ctx, Installed(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("run %s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// process is a server that runs as a child.
type process struct {
	cmd *exec.Cmd
	log string
}

// start runs a server until the test ends. A failed test shows the end of its log.
func start(t testing.TB, dir, name string, attr *syscall.SysProcAttr, args ...string) *process {
	t.Helper()
	p := &process{log: filepath.Join(dir, name+".log")}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatalf("open log: %v", err)
	}
	defer out.Close()
	p.cmd = exec.Command(Installed(t, name), args...)
	p.cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVN_RUNDIR="+dir)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = out, out, attr
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			log, _ := os.ReadFile(p.log)
			t.Logf("end of %s:\n%s", p.log, log[max(0, len(log)-2000):])
		}
	})
	return p
}

// stop ends the child and waits for its end. A second call does nothing.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}

// Database is an ovsdb-server with one database.
type Database struct {
	// File is the database, Endpoint where its server listens, and Control its socket for ovs-appctl(8).
	File, Endpoint, Control string

	dir, socket string
	server      *process
}

// StartDatabase makes an empty database of a schema file and serves it, with more options of ovsdb-server(1).
func StartDatabase(t testing.TB, schema string, options ...string) *Database {
	t.Helper()
	d := newDatabase(t)
	Run(t, "ovsdb-tool", "create", d.File, Installed(t, schema))
	d.Start(t, options...)
	return d
}

func newDatabase(t testing.TB) *Database {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovntest") //nolint:usetesting // with the test's name in it, a socket's path may get too long (108 bytes)
	if err != nil {
		t.Fatalf("make directory: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &Database{File: filepath.Join(dir, "db"), Control: filepath.Join(dir, "ctl"), dir: dir, socket: filepath.Join(dir, "sock")}
	d.Endpoint = "unix:" + d.socket
	return d
}

// StartCluster starts n servers of one clustered database (ovsdb(7)); the first one is the leader.
func StartCluster(t testing.TB, schema, name string, n int) []*Database {
	t.Helper()
	var members []*Database
	for i := range n {
		d := newDatabase(t)
		address := "unix:" + filepath.Join(d.dir, "raft")
		if i == 0 {
			Run(t, "ovsdb-tool", "create-cluster", d.File, Installed(t, schema), address)
		} else {
			Run(t, "ovsdb-tool", "join-cluster", d.File, name, address, "unix:"+filepath.Join(members[0].dir, "raft"))
		}
		d.Start(t)
		Run(t, "ovsdb-client", "--timeout=20", "wait", d.Endpoint, name, "connected")
		members = append(members, d)
	}
	return members
}

// Start serves the database and returns when it answers.
func (d *Database) Start(t testing.TB, options ...string) {
	t.Helper()
	args := append(slices.Clone(options), "-vconsole:info", "--no-chdir", "--remote=p"+d.Endpoint, "--unixctl="+d.Control, d.File)
	d.server = start(t, d.dir, "ovsdb-server", nil, args...)
	Eventually(t, "ovsdb-server to listen", func() bool {
		c, err := net.Dial("unix", d.socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// Stop ends the server; the file stays.
func (d *Database) Stop() { d.server.stop() }

// Freeze stops the server in the middle of what it does, as a machine that lost its power looks from afar; Thaw goes on.
func (d *Database) Freeze() { _ = d.server.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (d *Database) Thaw() { _ = d.server.cmd.Process.Signal(syscall.SIGCONT) }

// Log is what the server has said.
func (d *Database) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(d.server.log)
	if err != nil {
		t.Fatalf("read log: %v", err)
	}
	return string(text)
}

// Size of the file: it grows by each transaction that writes.
func (d *Database) Size(t testing.TB) int64 {
	t.Helper()
	info, err := os.Stat(d.File)
	if err != nil {
		t.Fatalf("look at database: %v", err)
	}
	return info.Size()
}

// Central is a northbound and a southbound database with ovn-northd between them.
type Central struct {
	NB, SB *Database
}

// StartCentral starts them; ovn-northd has seen both when it returns.
func StartCentral(t testing.TB) *Central {
	t.Helper()
	c := &Central{
		NB: StartDatabase(t, "/usr/share/ovn/ovn-nb.ovsschema"),
		SB: StartDatabase(t, "/usr/share/ovn/ovn-sb.ovsschema"),
	}
	start(t, c.SB.dir, "ovn-northd", nil, "-vconsole:info", "--no-chdir", "--unixctl="+filepath.Join(c.SB.dir, "northd.ctl"),
		"--ovnnb-db="+c.NB.Endpoint, "--ovnsb-db="+c.SB.Endpoint)
	c.NBCtl(t, "init")
	c.Sync(t)
	return c
}

// NBCtl runs ovn-nbctl on the northbound database.
func (c *Central) NBCtl(t testing.TB, args ...string) string {
	t.Helper()
	return Run(t, "ovn-nbctl", append([]string{"--db=" + c.NB.Endpoint, "--timeout=20"}, args...)...)
}

// Sync returns when ovn-northd has carried everything into the southbound database.
func (c *Central) Sync(t testing.TB) {
	t.Helper()
	c.NBCtl(t, "--wait=sb", "sync")
}

// Trace follows a packet through the logical flows of the southbound database (ovn-trace(8)), and returns only what it
// did to the packet and where it went.
func (c *Central) Trace(t testing.TB, logicalSwitch, packet string) string {
	t.Helper()
	return Run(t, "ovn-trace", "--db="+c.SB.Endpoint, "--minimal", logicalSwitch, packet)
}

// Eventually waits until ok, at most ten seconds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
	}
}
