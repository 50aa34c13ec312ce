// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovntest

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Vswitch is a node's Open_vSwitch database with an ovs-vswitchd in a network namespace of its own.
type Vswitch struct {
	DB *Database

	daemon *process
}

// StartVswitch starts both. bridges are made with the userspace datapath, which every kernel has.
func StartVswitch(t testing.TB, bridges ...string) *Vswitch {
	t.Helper()
	v := &Vswitch{DB: StartDatabase(t, "/usr/share/openvswitch/vswitch.ovsschema")}
	v.VSCtl(t, "--no-wait", "init")
	v.daemon = start(t, v.DB.dir, "ovs-vswitchd", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET},
		"-vconsole:info", "--no-chdir", "--disable-system", "--unixctl="+filepath.Join(v.DB.dir, "vswitchd.ctl"), v.DB.Endpoint)
	for _, b := range bridges {
		v.VSCtl(t, "add-br", b, "--", "set", "bridge", b, "datapath_type=netdev", "fail-mode=secure")
	}
	return v
}

// VSCtl runs ovs-vsctl on the database.
func (v *Vswitch) VSCtl(t testing.TB, args ...string) string {
	t.Helper()
	return Run(t, "ovs-vsctl", append([]string{"--db=" + v.DB.Endpoint, "--timeout=20"}, args...)...)
}

// IP runs ip(8) in the namespace of ovs-vswitchd.
func (v *Vswitch) IP(t testing.TB, args ...string) string {
	t.Helper()
	return Run(t, "nsenter", append([]string{"--net", "--target", strconv.Itoa(v.daemon.cmd.Process.Pid), Installed(t, "ip")}, args...)...)
}

// StopDaemon ends ovs-vswitchd and leaves the database.
func (v *Vswitch) StopDaemon() { v.daemon.stop() }

// Inside runs f in the namespace of ovs-vswitchd, as an agent on a node runs in that of its ovs-vswitchd. f must not
// start goroutines that need the namespace too.
func (v *Vswitch) Inside(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // Never unlocked: the thread ends with the goroutine instead of coming back changed.
		ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", v.daemon.cmd.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			defer unix.Close(ns)
			err = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		if err != nil {
			t.Errorf("enter namespace: %v: run the test as root", err)
			return
		}
		f()
	}()
	<-done
}

// Send sends one broadcast packet out of a device in the namespace.
func (v *Vswitch) Send(t testing.TB, device string) {
	t.Helper()
	v.Inside(t, func() {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), device) })
			return err
		}}
		c, err := lc.ListenPacket(t.Context(), "udp4", ":0")
		if err == nil {
			defer c.Close()
			_, err = c.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4bcast, Port: 9})
		}
		if err != nil {
			t.Errorf("send from %s: %v", device, err)
		}
	})
}

// received are the counters of packets in "ovs-appctl dpif/show": those that a flow took, and those that none did.
var received = regexp.MustCompile(`hit:(\d+) missed:(\d+)`)

// Received is the number of packets that the userspace datapath has received.
func (v *Vswitch) Received(t testing.TB) int {
	t.Helper()
	m := received.FindStringSubmatch(Run(t, "ovs-appctl", "-t", filepath.Join(v.DB.dir, "vswitchd.ctl"), "dpif/show"))
	if m == nil {
		t.Fatal("dpif/show tells no counters")
	}
	hit, _ := strconv.Atoi(m[1])
	missed, _ := strconv.Atoi(m[2])
	return hit + missed
}
