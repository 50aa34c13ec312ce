// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// prefix of every network namespace of this test.
const prefix = "tmb-ovntest-"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// namespaces makes them and deletes them when all processes are gone.
func namespaces(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		must(t, netns.Create(prefix+name))
		t.Cleanup(func() {
			if err := netns.Delete(prefix + name); err != nil {
				t.Error(err)
			}
		})
	}
}

type pod struct {
	node *NodeOVS
	name string
	ip   netip.Prefix
}

// plug is what a CNI does: a pair whose OVS end is bound by iface-id.
func (p pod) plug(t *testing.T, c *Central) {
	t.Helper()
	ns, mac := prefix+p.name, macOf(p.ip.Addr())
	namespaces(t, p.name)
	must(t, netns.Veth(ns, "eth0", p.node.NetNS, "v"+p.name, 1400))
	for _, args := range [][]string{
		{ns, "ip", "link", "set", "eth0", "address", mac},
		{ns, "ethtool", "-K", "eth0", "tx", "off"}, // userspace OVS takes no partial checksums
		{p.node.NetNS, "ip", "link", "set", "v" + p.name, "arp", "off", "addrgenmode", "none"},
	} {
		_, err := netns.Exec(t.Context(), args[0], args[1:]...)
		must(t, err)
	}
	must(t, netns.AddAddr(ns, "eth0", p.ip))
	_, err := c.NBCtl(t.Context(), "lsp-add", "net", p.name, "--", "lsp-set-addresses", p.name, mac+" "+p.ip.Addr().String())
	must(t, err)
	_, err = p.node.VSCtl(t.Context(), "add-port", IntegrationBridge, "v"+p.name, "--",
		"set", "Interface", "v"+p.name, "external_ids:iface-id="+p.name)
	must(t, err)
	_, err = c.NBCtl(t.Context(), "wait-until", "Logical_Switch_Port", p.name, "up=true")
	must(t, err)
}

func (p pod) ping(t *testing.T, o probe.PingOptions) probe.PingReport {
	t.Helper()
	var report probe.PingReport
	must(t, netns.Do(prefix+p.name, func() (err error) {
		report, err = probe.Ping(t.Context(), o)
		return err
	}))
	return report
}

// TestTwoNodes brings up a central and two nodes, and pings between two logical
// ports through Geneve; then it kills what can be killed and starts it again.
func TestTwoNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	begin := time.Now()
	lap := func(what string) {
		t.Logf("%-40s %v", what, time.Since(begin).Round(time.Millisecond))
		begin = time.Now()
	}
	dir, state := proc.Dir(t.TempDir()), t.TempDir()
	t.Cleanup(func() { // runs last
		if left, err := netns.List(prefix); err != nil || len(left) > 0 || len(dir.List()) > 0 {
			t.Errorf("left behind: namespaces %v, processes %v, %v", left, dir.List(), err)
		}
	})
	namespaces(t, "fab", "cp")
	must(t, netns.Bridge(prefix+"fab", "br0"))

	options := CentralOptions{Dir: dir, Cluster: "east", NetNS: prefix + "cp", StateDir: state + "/central"}
	c, err := StartCentral(ctx, options)
	must(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	lap("central")

	var nodes []*NodeOVS
	for i := range 2 {
		name := fmt.Sprintf("n%d", i+1)
		namespaces(t, name)
		must(t, netns.Veth(prefix+name, "up0", prefix+"fab", "u"+name, 1500))
		must(t, netns.SetMaster(prefix+"fab", "u"+name, "br0"))
		n, err := StartNode(ctx, NodeOptions{
			Dir: dir, Cluster: "east", Node: name, NetNS: prefix + name, StateDir: state + "/" + name, SB: c.SB(),
			EncapIP: netip.MustParsePrefix(fmt.Sprintf("172.30.1.%d/24", 11+i)), UnderlayIf: "up0",
		})
		must(t, err)
		t.Cleanup(func() { must(t, n.Stop()) })
		nodes = append(nodes, n)
		lap("node " + name)
	}
	must(t, nodes[0].Warm(ctx, nodes[1].EncapIP.Addr()))
	must(t, nodes[1].Warm(ctx, nodes[0].EncapIP.Addr()))
	lap("warm")

	_, err = c.NBCtl(ctx, "ls-add", "net")
	must(t, err)
	a := pod{node: nodes[0], name: "a", ip: netip.MustParsePrefix("10.0.0.11/24")}
	b := pod{node: nodes[1], name: "b", ip: netip.MustParsePrefix("10.0.0.12/24")}
	a.plug(t, c)
	b.plug(t, c)
	_, err = c.NBCtl(ctx, "--wait=hv", "sync")
	must(t, err)
	lap("two logical ports")

	full := probe.PingOptions{Address: b.ip.Addr(), Count: 5, Interval: 10 * time.Millisecond, Wait: time.Second, Size: 1372, DF: true}
	if r := a.ping(t, full); r.Lost != 0 {
		t.Errorf("full-size packets (1400) through Geneve, from the very first: %+v", r)
	}
	tunnels, err := nodes[0].SwitchCtl(ctx, "dpctl/show")
	must(t, err)
	if !strings.Contains(tunnels, "genev_sys_6081") {
		t.Errorf("the packets did not go through Geneve; the datapath has:\n%s", tunnels)
	}
	lap("ping")

	t.Run("KernelStaysSilentOnTheUnderlay", func(t *testing.T) { silent(t, nodes) })
	t.Run("Restart", func(t *testing.T) {
		northd, _ := c.Northd()
		must(t, northd.Kill())
		for _, name := range []string{"vswitchd", "ovn-controller"} {
			p, ok := nodes[1].Process(name)
			if !ok {
				t.Fatalf("%s does not run", name)
			}
			must(t, p.Kill())
		}
		_, err := StartCentral(ctx, options)
		must(t, err)
		_, err = StartNode(ctx, nodes[1].NodeOptions)
		must(t, err)
		_, err = c.NBCtl(ctx, "--wait=hv", "sync")
		must(t, err)
		full.Count = 20
		if r := a.ping(t, full); r.Received == 0 {
			t.Errorf("nothing passes after the restart: %+v", r)
		}
	})
	lap("restart")
}

// silent checks that only Open vSwitch answers on the underlay: a kernel that
// also did would answer twice, or refuse Geneve with ICMP.
func silent(t *testing.T, nodes []*NodeOVS) {
	before, after := icmpSent(t, nodes[1].NetNS), 0
	report := probe.PingReport{}
	must(t, netns.Do(nodes[0].NetNS, func() (err error) {
		report, err = probe.Ping(t.Context(), probe.PingOptions{
			Address: nodes[1].EncapIP.Addr(), Count: 3, Interval: 10 * time.Millisecond, Wait: time.Second,
		})
		return err
	}))
	after = icmpSent(t, nodes[1].NetNS)
	if report.Received != 3 || after-before != 3 {
		t.Errorf("3 requests, %d answered, %d ICMP packets sent by the other kernel", report.Received, after-before)
	}
}

// icmpSent is OutMsgs of the Icmp lines of /proc/net/snmp.
func icmpSent(t *testing.T, ns string) int {
	t.Helper()
	out, err := netns.Exec(t.Context(), ns, "sh", "-c", "cat /proc/net/snmp")
	must(t, err)
	var names []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if fields[0] != "Icmp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "OutMsgs" {
				var n int
				_, err := fmt.Sscan(fields[i], &n)
				must(t, err)
				return n
			}
		}
	}
	t.Fatalf("no OutMsgs in %s", out)
	return 0
}

func TestPrepareRefusesALongPath(t *testing.T) {
	err := prepare("/tmp/"+strings.Repeat("x", 120), "nb.sock")
	if err == nil || !strings.Contains(err.Error(), "StateDir") {
		t.Errorf("a socket name that the kernel cuts was taken: %v", err)
	}
}
