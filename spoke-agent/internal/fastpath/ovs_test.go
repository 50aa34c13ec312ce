// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// TestTransitThroughOVS puts Open vSwitch's userspace datapath between pods and gateway ports, all of them as package
// link makes them: an unfinished checksum or a frame longer than the MTU would stop TCP, while ping went on.
func TestTransitThroughOVS(t *testing.T) {
	x := &transit{
		east: linktest.New(t, "east"), west: linktest.New(t, "west"), router: linktest.New(t, "router"),
		shopEast: linktest.New(t, "shop-east"), shopWest: linktest.New(t, "shop-west"),
	}
	x.router.Sysctl(t, "net/ipv4/ip_forward", "1")
	x.underlay(t, x.east, "r0", "192.0.2.1", "192.0.2.254")
	x.underlay(t, x.west, "r1", "198.51.100.1", "198.51.100.254")
	switched(t, x.shopEast, x.east, "10.1.1.2/24", "10.1.1.1")
	switched(t, x.shopWest, x.west, "10.1.2.2/24", "10.1.2.1")
	x.eastConfig = transitConfig("192.0.2.1", "west", "198.51.100.1", "10.1.1.0/24", "10.1.2.0/24")
	x.westConfig = transitConfig("198.51.100.1", "east", "192.0.2.1", "10.1.2.0/24", "10.1.1.0/24")
	x.eastConfig.Ports, x.westConfig.Ports = x.eastConfig.Ports[:1], x.westConfig.Ports[:1]
	x.links("169.254.0.2", "169.254.0.10")
	path := pinPath(t)
	x.eastGateway = openGateway(t, x.east, path+"-east", x.eastConfig)
	x.westGateway = openGateway(t, x.west, path+"-west", x.westConfig)
	for _, f := range []*Fastpath{x.eastGateway, x.westGateway} {
		t.Cleanup(func() {
			if err := f.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	out, err := x.shopEast.Run("ping", "-c", "5", "-i", "0.05", "-W", "10", "10.1.2.2")
	if err != nil || strings.Count(out, "ttl=64") != 5 {
		t.Errorf("ping: %v\n%s", err, out)
	}
	t.Logf("TCP through OVS at both ends: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 16<<20))

	for _, gw := range []*linktest.Namespace{x.east, x.west} {
		gw.IP(t, "link set ul0 mtu 1400")
	}
	x.withSlowPath(t)
	out, err = x.shopEast.Run("ping", "-c", "1", "-W", "10", "-Mdo", "-s", "1323", "10.1.2.2")
	if !strings.Contains(out, "From 169.254.0.2 icmp_seq=1 Frag needed and DF set (mtu = 1350)") {
		t.Errorf("the underlay has become smaller than the pods' MTU and the overhead: %v\n%s", err, out)
	}
	x.shopEast.IP(t, "route flush cache")
	if out, err = x.shopEast.Run("ping", "-c", "1", "-W", "10", "-Mdont", "-s", "1372", "10.1.2.2"); err != nil {
		t.Errorf("a packet that may be fragmented: %v\n%s", err, out)
	}
	t.Logf("TCP over the smaller underlay: %.0f Mbit/s", transfer(t, x.shopEast, x.shopWest, "10.1.2.2:80", 16<<20))
}

// switched joins a pod and a gateway port by a learning switch.
func switched(t *testing.T, pod, gw *linktest.Namespace, address, gateway string) {
	t.Helper()
	vsctl := startOVS(t, gw)
	gw.MustDo(t, func() error {
		if err := link.Ensure(link.Pair{GatewayEnd: "tbg100", OVSEnd: "tbo100", MAC: "0a:58:a9:fe:00:02", MTU: 1400}); err != nil {
			return err
		}
		return link.AddPod(link.PodLink{
			NetNSPath: pod.Path(), IfName: "eth0", HostEnd: "tbp1", MAC: "0a:58:a9:fe:00:01", MTU: 1400, DisableTxOffload: true,
			Address: netip.MustParsePrefix(address), Gateway: netip.MustParseAddr(gateway),
		})
	})
	pod.IP(t, fmt.Sprintf("neigh replace %s lladdr 0a:58:a9:fe:00:02 dev eth0", gateway))
	vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--", "add-port", "br0", "tbo100", "--", "add-port", "br0", "tbp1")
}

// startOVS runs ovsdb-server and ovs-vswitchd in a namespace until the test ends, and returns ovs-vsctl.
func startOVS(t *testing.T, ns *linktest.Namespace) (vsctl func(args ...string)) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "db.sock")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s (Debian: openvswitch-switch): %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	daemon := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ip", append([]string{"netns", "exec", ns.Name}, args...)...)
		cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it says "killed"
		})
	}
	run("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	daemon("ovsdb-server", "-vconsole:off", "--remote=punix:"+socket, "--unixctl="+dir+"/db.ctl", filepath.Join(dir, "conf.db"))
	// ovs-vsctl waits for the server's socket, and from add-br on for ovs-vswitchd.
	run("ovs-vsctl", "--db=unix:"+socket, "--retry", "--timeout=10", "--no-wait", "init")
	daemon("ovs-vswitchd", "-vconsole:off", "--disable-system", "--unixctl="+dir+"/vswitchd.ctl", "unix:"+socket)
	return func(args ...string) {
		t.Helper()
		run("ovs-vsctl", append([]string{"--db=unix:" + socket, "--timeout=10"}, args...)...)
	}
}
