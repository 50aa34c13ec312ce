// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

func slowPrefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func slowAddresses(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// storySlowPath is two Vpcs with the same addresses. The second one's cluster north has no gateway.
func storySlowPath() SlowPath {
	vpc := func(name string, vni uint32) SlowVpc {
		return SlowVpc{
			Interface: name, VNI: vni, Router: netip.MustParseAddr("169.254.0.1"), RouterMAC: "0a:58:a9:fe:00:01",
			Local: slowPrefixes("10.1.1.0/24", "169.254.0.0/29"),
		}
	}
	shop, bank := vpc("tbg100", 100), vpc("tbg16777215", 1<<24-1)
	shop.Remotes = []SlowRemote{
		{VNI: 100, Endpoints: slowAddresses("198.51.100.2", "198.51.100.1"), Prefixes: slowPrefixes("10.1.2.0/24", "169.254.0.8/29")},
		{VNI: 200, Endpoints: slowAddresses("203.0.113.1"), Prefixes: slowPrefixes("10.2.2.0/24")},
	}
	bank.Remotes = []SlowRemote{
		{VNI: 1<<24 - 1, Endpoints: slowAddresses("203.0.113.1"), Prefixes: slowPrefixes("0.0.0.0/1")},
		{VNI: 1<<24 - 1, Prefixes: slowPrefixes("192.168.0.0/16")},
	}
	return SlowPath{VXLAN: VXLAN{Port: 4789, Address: netip.MustParseAddr("192.0.2.1"), Underlay: "ul0"}, Vpcs: []SlowVpc{bank, shop}}
}

func slowNode(t *testing.T) *linktest.Namespace {
	t.Helper()
	ns := linktest.New(t, "slow")
	ns.IP(t, "link add ul0 type veth peer name ul1")
	ns.IP(t, "link set ul0 up")
	ns.IP(t, "link set ul1 up")
	ns.IP(t, "addr add 192.0.2.1/24 dev ul0")
	ns.IP(t, "route add default via 192.0.2.254")
	ns.MustDo(t, func() error {
		for _, p := range []Pair{gatewayPort, {GatewayEnd: "tbg16777215", OVSEnd: "tbo16777215", MAC: "0a:58:a9:fe:00:02", MTU: 1400}} {
			if err := Ensure(p); err != nil {
				return err
			}
		}
		return nil
	})
	// Somebody else's.
	ns.IP(t, "rule add iif tbg100 lookup 77 pref 3000")
	ns.IP(t, "route add 10.7.0.0/16 dev ul0 table 77")
	ns.IP(t, "route add blackhole 10.8.0.0/16 table 1409286244")
	return ns
}

// all is what the kernel has of routing, as text.
func all(t *testing.T, ns *linktest.Namespace) string {
	t.Helper()
	var lines []string
	for line := range strings.SplitSeq(ns.IP(t, "rule")+ns.IP(t, "route show table all"), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.Contains(line, "table local") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

const slowRouting = `0: from all lookup local
83: from all iif lo goto 85 proto 84
83: from all iif ul0 goto 85 proto 84
85: from all nop proto 84
84: from all iif tbg16777215 lookup 1426063359 proto 84
84: from all iif tbg100 lookup 1409286244 proto 84
3000: from all iif tbg100 lookup 77
32766: from all lookup main
32767: from all lookup default
10.7.0.0/16 dev ul0 table 77 scope link
blackhole default table 1409286244 proto 84
10.1.1.0/24 via 169.254.0.1 dev tbg100 table 1409286244 proto 84 onlink
10.1.2.0/24 table 1409286244 proto 84 scope link
nexthop encap ip id 100 src 192.0.2.1 dst 198.51.100.1 ttl 64 tos 0 dev tbx4789 weight 1
nexthop encap ip id 100 src 192.0.2.1 dst 198.51.100.2 ttl 64 tos 0 dev tbx4789 weight 1
10.2.2.0/24 encap ip id 200 src 192.0.2.1 dst 203.0.113.1 ttl 64 tos 0 dev tbx4789 table 1409286244 proto 84 scope link
blackhole 10.8.0.0/16 table 1409286244
169.254.0.0/29 via 169.254.0.1 dev tbg100 table 1409286244 proto 84 onlink
169.254.0.8/29 table 1409286244 proto 84 scope link
nexthop encap ip id 100 src 192.0.2.1 dst 198.51.100.1 ttl 64 tos 0 dev tbx4789 weight 1
nexthop encap ip id 100 src 192.0.2.1 dst 198.51.100.2 ttl 64 tos 0 dev tbx4789 weight 1
default via 192.0.2.254 dev ul0
192.0.2.0/24 dev ul0 proto kernel scope link src 192.0.2.1
0.0.0.0/1 encap ip id 16777215 src 192.0.2.1 dst 203.0.113.1 ttl 64 tos 0 dev tbx4789 table 1426063359 proto 84 scope link
blackhole default table 1426063359 proto 84
10.1.1.0/24 via 169.254.0.1 dev tbg16777215 table 1426063359 proto 84 onlink
169.254.0.0/29 via 169.254.0.1 dev tbg16777215 table 1426063359 proto 84 onlink
`

func setSlow(t *testing.T, ns *linktest.Namespace, s SlowPath) {
	t.Helper()
	ns.MustDo(t, func() error { return SetSlowPath(s) })
}

func TestSlowPath(t *testing.T) {
	ns := slowNode(t)
	before := all(t, ns)
	ns.MustDo(t, func() error { return EnsureVXLAN(storySlowPath().VXLAN) })
	if out := ns.IP(t, "-d link show tbx4789"); !strings.Contains(out, "state DOWN") {
		t.Errorf("a new VXLAN device is up before anybody can look at what comes out of it:\n%s", out)
	}
	setSlow(t, ns, storySlowPath())
	if diff := cmp.Diff(sorted(slowRouting), sorted(all(t, ns))); diff != "" {
		t.Errorf("rules and routes (-want +got):\n%s", diff)
	}
	tunnel := ns.IP(t, "-d link show tbx4789")
	for _, want := range []string{"mtu 1450", "NOARP", "external", "dstport 4789", "nolearning", "srcport 49152 65535", "addrgenmode none", "UP,"} {
		if !strings.Contains(tunnel, want) {
			t.Errorf("VXLAN device lacks %q:\n%s", want, tunnel)
		}
	}
	if out := ns.IP(t, "neigh show dev tbg100"); strings.Join(strings.Fields(out), " ") != "169.254.0.1 lladdr 0a:58:a9:fe:00:01 PERMANENT" {
		t.Errorf("neighbours: %s", out)
	}
	if out := ns.IP(t, "-o addr show dev tbg100"); out != "" {
		t.Errorf("the gateway end has an address: %s", out)
	}
	wantSysctls(t, ns, map[string]string{
		"net.ipv4.conf.tbg100.forwarding": "1", "net.ipv4.conf.tbg100.rp_filter": "0", "net.ipv4.conf.tbx4789.forwarding": "0",
		"net.ipv4.conf.tbx4789.rp_filter": "1", "net.ipv4.conf.ul0.forwarding": "0", "net.ipv4.ip_forward": "0", "net.ipv4.icmp_errors_use_inbound_ifaddr": "0", "net.ipv4.fwmark_reflect": "0",
	})
	t.Run("SecondSetWritesNothing", func(t *testing.T) {
		again := func() {
			ns.MustDo(t, func() error { return Ensure(gatewayPort) }) // as before each Set
			setSlow(t, ns, storySlowPath())
		}
		if out := monitored(t, ns, again); out != "" {
			t.Errorf("it wrote:\n%s", out)
		}
		if out := monitored(t, ns, func() { ns.IP(t, "route add 10.99.0.0/16 dev ul0") }); !strings.Contains(out, "10.99.0.0/16") {
			t.Errorf("the monitor sees nothing: %s", out)
		}
		ns.IP(t, "route del 10.99.0.0/16 dev ul0")
	})
	t.Run("Changes", func(t *testing.T) { testSlowChanges(t, ns) })
	t.Run("SpoiltIsPutRight", func(t *testing.T) {
		want := sorted(all(t, ns))
		ns.IP(t, "rule del pref 84 iif tbg100")
		ns.IP(t, "rule add pref 84 iif tbg100 lookup 5 proto 84")
		ns.IP(t, "route replace 10.2.2.0/24 table 1409286244 encap ip id 100 dst 203.0.113.1 dev tbx4789 proto 84")
		ns.IP(t, "route del blackhole default table 1409286244")
		ns.IP(t, "link set tbx4789 down")
		setSlow(t, ns, storySlowPath())
		if diff := cmp.Diff(want, sorted(all(t, ns))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("PortGone", func(t *testing.T) {
		ns.IP(t, "link del tbg16777215")
		setSlow(t, ns, storySlowPath())
		if got := all(t, ns); strings.Contains(got, "1426063359") || !strings.Contains(got, "84: from all iif tbg100") {
			t.Errorf("a port's table outlives it, or another one's does not:\n%s", got)
		}
	})
	t.Run("Remove", func(t *testing.T) {
		for range 2 { // the second time there is nothing
			ns.MustDo(t, RemoveSlowPath)
		}
		if diff := cmp.Diff(before, all(t, ns)); diff != "" {
			t.Errorf("what others have is as it was, and nothing of ours is left (-want +got):\n%s", diff)
		}
		if out := ns.IP(t, "-br link"); strings.Contains(out, "tbx") {
			t.Errorf("the VXLAN device is left:\n%s", out)
		}
		wantSysctls(t, ns, map[string]string{"net.ipv4.conf.tbg100.forwarding": "0", "net.ipv4.conf.tbg100.rp_filter": "1"})
	})
}

func testSlowChanges(t *testing.T, ns *linktest.Namespace) {
	s := storySlowPath()
	s.VXLAN.Port = 4790
	shop := &s.Vpcs[1]
	shop.Remotes[0].Endpoints = slowAddresses("198.51.100.9")
	shop.Remotes[1].Prefixes = slowPrefixes("10.3.0.0/16")
	shop.Local = shop.Local[:1]
	s.Vpcs = s.Vpcs[1:]
	setSlow(t, ns, s)
	got := all(t, ns)
	for _, want := range []string{
		"10.1.2.0/24 encap ip id 100 src 192.0.2.1 dst 198.51.100.9 ttl 64 tos 0 dev tbx4790 table 1409286244 proto 84 scope link\n",
		"10.3.0.0/16 encap ip id 200 src 192.0.2.1 dst 203.0.113.1 ttl 64 tos 0 dev tbx4790 table 1409286244 proto 84 scope link\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing: %s", want)
		}
	}
	for _, old := range []string{"198.51.100.1 ", "10.2.2.0/24", "tbx4789", "169.254.0.0/29", "tbg16777215", "1426063359"} {
		if strings.Contains(got, old) {
			t.Errorf("%s is still there:\n%s", old, got)
		}
	}
	wantSysctls(t, ns, map[string]string{"net.ipv4.conf.tbg16777215.forwarding": "0"})
	setSlow(t, ns, storySlowPath())
}

func TestSlowPathRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		before func(t *testing.T, ns *linktest.Namespace)
		change func(*SlowPath)
		want   string
	}{
		"no port":     {reason: "a forgotten field", change: func(s *SlowPath) { s.VXLAN.Port = 0 }, want: "UDP port is 0"},
		"no underlay": {reason: "a wrong name", change: func(s *SlowPath) { s.VXLAN.Underlay = "eth9" }, want: `find underlay "eth9"`},
		"reverse path filter of all": {
			reason: "the stricter setting wins, and ours would be in vain",
			before: func(t *testing.T, ns *linktest.Namespace) { ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1") },
			want:   "net.ipv4.conf.all.rp_filter is 1: the kernel would drop what it forwards between clusters; set it to 0",
		},
		"the port is taken": {
			reason: "two VXLAN devices without a VNI can't share it",
			before: func(t *testing.T, ns *linktest.Namespace) {
				ns.IP(t, "link add flannel type vxlan external dstport 4789")
				ns.IP(t, "link set flannel up")
			},
			want: "something else on this node has UDP port 4789 (ss -ulnp; ip -d link show type vxlan): move it to another port",
		},
		"the name is taken": {
			reason: "an interface that is no VXLAN device is somebody's",
			before: func(t *testing.T, ns *linktest.Namespace) { ns.IP(t, "link add tbx4789 type bridge") },
			want:   "delete interface tbx4789: it is a bridge and no vxlan",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := slowNode(t)
			if tc.before != nil {
				tc.before(t, ns)
			}
			s := storySlowPath()
			if tc.change != nil {
				tc.change(&s)
			}
			if err := ns.Do(func() error { return SetSlowPath(s) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func wantSysctls(t *testing.T, ns *linktest.Namespace, want map[string]string) {
	t.Helper()
	for key, value := range want {
		out, err := ns.Run("sysctl", "-n", key)
		if err != nil || strings.TrimSpace(out) != value {
			t.Errorf("%s is %s (%v), want %s", key, strings.TrimSpace(out), err, value)
		}
	}
}

func sorted(s string) string {
	return strings.Join(slices.Sorted(strings.SplitAfterSeq(s, "\n")), "")
}

// monitored returns what rtnetlink tells of f: interfaces, addresses, neighbours, routes, rules, settings.
func monitored(t *testing.T, ns *linktest.Namespace, f func()) string {
	t.Helper()
	cmd := exec.Command("ip", "-n", ns.Name, "monitor", "all")
	var out safeBuffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It has begun when it tells of a route of ours, and has told all when it tells of a later one.
	tell := func(address string) {
		for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), address); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("ip monitor does not tell of %s: %s", address, out.String())
			}
			ns.IP(t, "route add blackhole "+address)
			ns.IP(t, "route del blackhole "+address)
		}
	}
	tell("198.18.0.1")
	f()
	tell("198.18.0.2")
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it says "killed"
	lines := slices.Collect(strings.Lines(out.String()))
	return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "blackhole 198.18.0.") }), "")
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
