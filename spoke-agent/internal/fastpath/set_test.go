// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestSetRefuses(t *testing.T) {
	ns, f := storyGateway(t)
	before := dump(t, f)
	for name, tc := range map[string]struct {
		reason string
		change func(*Config)
		want   []string
	}{
		"no underlay":      {"where should packets leave", func(c *Config) { c.Underlay = Underlay{} }, []string{"underlay: interface is empty"}},
		"underlay IPv6":    {"the outer header is IPv4", func(c *Config) { c.Underlay.Address = netip.MustParseAddr("fd00::1") }, []string{"underlay: address fd00::1 is not IPv4"}},
		"underlay port":    {"a forgotten field", func(c *Config) { c.Underlay.UDPPort = 0 }, []string{"VXLAN's is 4789"}},
		"underlay missing": {"a wrong name is not a port that comes later", func(c *Config) { c.Underlay.Interface = "eth9" }, []string{"no interface eth9; this node has lo, tbg100, tbg300, tbo100"}},
		"duplicate VNI":    {"one VNI is one Vpc's", func(c *Config) { c.Ports[1].VNI = 100 }, []string{"port of bank/blue: vni 100 is shop/blue's too; give each Vpc its own"}},
		"VNI 0":            {"a forgotten field", func(c *Config) { c.Ports[1].VNI = 0 }, []string{"vni 0 is not between 1 and 16777215"}},
		"VNI 2^24":         {"24 bits", func(c *Config) { c.Ports[0].Remotes[0].VNI = 1 << 24 }, []string{"remote shop/blue: vni 16777216 is not between"}},
		"same interface":   {"the interface tells the Vpc", func(c *Config) { c.Ports[1].Interface = "tbg100" }, []string{"port of bank/blue: interface tbg100 is shop/blue's too"}},
		"tunnel as port":   {"it would be both", func(c *Config) { c.Underlay.Tunnel = "tbg300" }, []string{"interface tbg300 is the underlay, the tunnel or the VXLAN device"}},
		"own address remote": {"another cluster would have this node's address", func(c *Config) {
			c.Ports[0].Remotes[0].Prefixes = append(c.Ports[0].Remotes[0].Prefixes, netip.PrefixFrom(c.Ports[0].Address, 32))
		}, []string{"prefix 169.254.0.2/32 is this port's own address"}},
		"underlay as port":  {"all of the node's packets would be a Vpc's", func(c *Config) { c.Ports[1].Interface = "ul0" }, []string{"interface ul0 is the underlay"}},
		"MAC":               {"a forgotten field", func(c *Config) { c.Ports[1].RouterMAC = "" }, []string{"port of bank/blue: router MAC"}},
		"long MAC":          {"an InfiniBand address", func(c *Config) { c.Ports[1].GatewayMAC = "02:00:5e:10:00:00:00:01" }, []string{"8 octets, Ethernet has 6"}},
		"address":           {"the link is IPv4", func(c *Config) { c.Ports[0].Address = netip.MustParseAddr("fd00::1") }, []string{"address fd00::1 is not IPv4"}},
		"local IPv6":        {"only IPv4 is forwarded", func(c *Config) { c.Ports[0].Local = prefixes("fd00::/64") }, []string{"local: prefix fd00::/64 is not IPv4"}},
		"host bits":         {"the trie would take it for 10.1.1.0/24", func(c *Config) { c.Ports[0].Local = prefixes("10.1.1.7/24") }, []string{"prefix 10.1.1.7/24 has host bits; write 10.1.1.0/24"}},
		"unknown cluster":   {"nobody says where it is", func(c *Config) { c.Ports[0].Remotes[0].Cluster = "wets" }, []string{`remote shop/blue: cluster "wets" is unknown; add it`}},
		"same prefix":       {"two clusters can't have one prefix", func(c *Config) { c.Ports[0].Remotes[2].Prefixes = prefixes("10.1.2.0/24") }, []string{"remote prefixes 10.1.2.0/24 and 10.1.2.0/24 overlap"}},
		"overlap":           {"nor one the half of the other's", func(c *Config) { c.Ports[0].Remotes[2].Prefixes = prefixes("10.1.2.128/25") }, []string{"remote prefixes 10.1.2.0/24 and 10.1.2.128/25 overlap"}},
		"overlap apart":     {"with another one between them", func(c *Config) { c.Ports[0].Remotes[2].Prefixes = prefixes("10.1.0.0/16") }, []string{"10.1.0.0/16 and 10.1.2.0/24 overlap", "10.1.0.0/16 and 10.1.4.0/24 overlap"}},
		"duplicate cluster": {"whose endpoints", func(c *Config) { c.Clusters[1].Name = "west" }, []string{`cluster "west": has the id of "west"`}},
		"no cluster name":   {"a forgotten field", func(c *Config) { c.Clusters[2].Name = "" }, []string{"give it 1 to 63"}},
		"shared endpoint":   {"the endpoint tells the cluster", func(c *Config) { c.Clusters[1].Endpoints = c.Clusters[0].Endpoints[:1] }, []string{"cluster south: endpoint 198.51.100.1 is west's too"}},
		"own endpoint":      {"packets to oneself", func(c *Config) { c.Clusters[1].Endpoints = []netip.Addr{c.Underlay.Address} }, []string{"endpoint 192.0.2.1 is this node's too"}},
		"endpoint IPv6":     {"the outer header is IPv4", func(c *Config) { c.Clusters[1].Endpoints = []netip.Addr{netip.MustParseAddr("fd00::1")} }, []string{"endpoint fd00::1 is not IPv4"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := storyConfig()
			tc.change(&cfg)
			err := ns.Do(func() error { return f.Set(cfg) })
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want %q", tc.reason, err, want)
				}
			}
			if diff := cmp.Diff(before, dump(t, f)); diff != "" {
				t.Errorf("%s: it has changed the maps (-before +after):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestManyEndpoints: what one cluster has too much of must not stop the others.
func TestManyEndpoints(t *testing.T) {
	ns, f := storyGateway(t)
	cfg := storyConfig()
	for i := range 17 {
		cfg.Clusters[2].Endpoints = append(cfg.Clusters[2].Endpoints, netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + i)}))
	}
	ns.MustDo(t, func() error { return f.Set(cfg) })
	got := dump(t, f)
	if sources := strings.Count(got, "→ cluster=north\n"); sources != 17 {
		t.Errorf("%d endpoints of north may send, want 17:\n%s", sources, got)
	}
	if !strings.Contains(got, " 203.0.113.115]\n") || strings.Contains(got, "203.0.113.116]") {
		t.Errorf("packets should go to the first 16 endpoints of north:\n%s", got)
	}
}

func dump(t *testing.T, f *Fastpath) string {
	t.Helper()
	text, err := f.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestDump(t *testing.T) {
	ns, f := storyGateway(t)
	want := `cluster north mtu=1500 endpoints=[]
cluster south mtu=1500 endpoints=[203.0.113.1]
cluster vault mtu=0 endpoints=[203.0.113.9] encrypted
cluster west mtu=1500 endpoints=[198.51.100.1 198.51.100.2]
count vni=100 cluster=north vni=100 in by gateway
count vni=100 cluster=north vni=100 in by node
count vni=100 cluster=north vni=100 in by pod
count vni=100 cluster=north vni=100 out by gateway
count vni=100 cluster=north vni=100 out by pod
count vni=100 cluster=south vni=100 in by gateway
count vni=100 cluster=south vni=100 in by node
count vni=100 cluster=south vni=100 in by pod
count vni=100 cluster=south vni=100 out by gateway
count vni=100 cluster=south vni=100 out by pod
count vni=100 cluster=vault vni=100 in by gateway
count vni=100 cluster=vault vni=100 in by node
count vni=100 cluster=vault vni=100 in by pod
count vni=100 cluster=vault vni=100 out by gateway
count vni=100 cluster=vault vni=100 out by pod
count vni=100 cluster=west vni=100 in by gateway
count vni=100 cluster=west vni=100 in by node
count vni=100 cluster=west vni=100 in by pod
count vni=100 cluster=west vni=100 out by gateway
count vni=100 cluster=west vni=100 out by pod
count vni=100 cluster=west vni=200 in by gateway
count vni=100 cluster=west vni=200 in by node
count vni=100 cluster=west vni=200 in by pod
count vni=100 cluster=west vni=200 out by gateway
count vni=100 cluster=west vni=200 out by pod
count vni=300 cluster=south vni=300 in by gateway
count vni=300 cluster=south vni=300 in by node
count vni=300 cluster=south vni=300 in by pod
count vni=300 cluster=south vni=300 out by gateway
count vni=300 cluster=south vni=300 out by pod
deliver vni=100 → tbg100 mtu=1500 router=0a:58:a9:fe:00:01 gateway=0a:58:a9:fe:00:02 169.254.0.2
deliver vni=300 → tbg300 mtu=1500 router=0a:58:a9:fe:00:01 gateway=0a:58:a9:fe:00:02
local vni=100 10.1.1.0/24
local vni=100 169.254.0.0/29
local vni=300 10.1.1.0/24
name vni=100 shop/blue
name vni=200 shop/red
name vni=300 bank/blue
number 10: vni=100 cluster=west vni=200 in by pod
number 11: vni=100 cluster=north vni=100 out by pod
number 12: vni=100 cluster=north vni=100 in by pod
number 1: vni=100 cluster=vault vni=100 out by pod
number 2: vni=100 cluster=vault vni=100 in by pod
number 3: vni=300 cluster=south vni=300 out by pod
number 4: vni=300 cluster=south vni=300 in by pod
number 5: vni=100 cluster=south vni=100 out by pod
number 6: vni=100 cluster=south vni=100 in by pod
number 7: vni=100 cluster=west vni=100 out by pod
number 8: vni=100 cluster=west vni=100 in by pod
number 9: vni=100 cluster=west vni=200 out by pod
port tbg100 → vni=100
port tbg300 → vni=300
route vni=100 10.1.2.0/24 → cluster=west vni=100
route vni=100 10.1.3.0/24 → cluster=south vni=100
route vni=100 10.1.4.0/24 → cluster=north vni=100
route vni=100 10.1.5.0/24 → cluster=vault vni=100
route vni=100 10.2.2.0/24 → cluster=west vni=200
route vni=100 169.254.0.2/32 → this gateway
route vni=100 169.254.0.8/29 → cluster=west vni=100
route vni=300 10.1.2.0/24 → cluster=south vni=300
source 198.51.100.1 by ul0 → cluster=west
source 198.51.100.2 by ul0 → cluster=west
source 203.0.113.1 by ul0 → cluster=south
source 203.0.113.9 by none → cluster=vault
underlay ul0 mtu=1500 address=192.0.2.1 port=4789
`
	for _, step := range []string{"first", "again"} {
		ns.MustDo(t, func() error {
			text, err := f.Dump()
			if diff := cmp.Diff(want, text); diff != "" {
				t.Errorf("Set %s (-want +got):\n%s", step, diff)
			}
			return err
		})
		ns.MustDo(t, func() error { return f.Set(storyConfig()) })
	}
}

// TestSetReplaces: what a new Config does not say is gone, down to the last link.
func TestSetReplaces(t *testing.T) {
	ns, f := storyGateway(t)
	cfg := storyConfig()
	cfg.Ports, cfg.Clusters, cfg.Underlay.Interface = nil, nil, "ul1"
	ns.MustDo(t, func() error { return f.Set(cfg) })
	if got, want := dump(t, f), "underlay"; !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("maps still have:\n%s", got)
	}
	ns.MustDo(t, func() error {
		devices, _, err := findDevices(cfg)
		if err != nil {
			return err
		}
		for name, want := range map[string]int{"ul0": 0, "ul1": 1, "tbg100": 0, "tbg300": 0} {
			got, err := link.QueryPrograms(link.QueryOptions{Target: devices[name].index, Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			if len(got.Programs) != want {
				t.Errorf("%s has %d programs, want %d", name, len(got.Programs), want)
			}
		}
		return nil
	})
}

func TestCountersOutlive(t *testing.T) {
	ns, f := storyGateway(t)
	packet := ethernet(gatewayMAC, routerMAC, 0x0800, ip4{ttl: 64, protocol: udp, src: "10.1.1.2", dst: "10.1.2.3", payload: udpDatagram(1, 2, nil)}.bytes())
	runStory(t, ns, f, f.programs.TomboloOut, "tbg100", packet, skbContext{})
	again := openGateway(t, ns, f.opts.PinPath, storyConfig())
	defer again.Close()
	if got := byName(counters(t, again))["shop/blue out shop/blue@west"]; got.Packets != 1 || got.Bytes != 28 {
		t.Errorf("after a restart and Set the counter is %+v, want 1 packet of 28 bytes", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open(Options{PinPath: filepath.Join(t.TempDir(), "deep", "tombolo")})
	if want := "is not in a bpffs; mount one (mount -t bpf bpf /sys/fs/bpf)"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("no bpffs: error %v, want %q", err, want)
	}
	if !errors.Is(err, ErrNoBPFFS) {
		t.Errorf("no bpffs: error %v is none of ErrNoBPFFS", err)
	}
	for name, tc := range map[string]struct {
		reason string
		err    error
		want   string
		kind   error
	}{
		"old kernel":    {"before 6.6 the attach type is unknown", fmt.Errorf("query programs: %w", unix.EINVAL), "tcx needs Linux 6.6", ErrKernelTooOld},
		"no privileges": {"not root", fmt.Errorf("query programs: %w", unix.EPERM), "run the agent as root with CAP_BPF", ErrMissingCapability},
		"verifier":      {"EACCES as well, but no privilege helps: nothing is added", &ebpf.VerifierError{Cause: unix.EACCES}, "permission denied", nil},
	} {
		if got := cure(tc.err); tc.kind != nil && !errors.Is(got, tc.kind) {
			t.Errorf("%s: %v is none of %v", name, got, tc.kind)
		}
		if got := cure(tc.err).Error(); !strings.HasSuffix(got, tc.want) && !strings.Contains(got, tc.want) || name == "verifier" && strings.Contains(got, "root") {
			t.Errorf("%s: %s: %q, want %q", name, tc.reason, got, tc.want)
		}
	}
}

// TestOpenUnprivileged runs Open in a process of nobody's.
func TestOpenUnprivileged(t *testing.T) {
	path := pinPath(t)
	for dir := filepath.Dir(path); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self := filepath.Join(filepath.Dir(filepath.Dir(path)), "child")
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{childVariable + `={"PinPath":"` + path + `"}`}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run the agent as root with CAP_BPF, CAP_NET_ADMIN") {
		t.Errorf("nobody opens the fast path: %v\n%s", err, out)
	}
}

// TestSetMany is the size that DESIGN asks maps to carry.
func TestSetMany(t *testing.T) {
	ns, f := storyGateway(t)
	cfg := storyConfig()
	const n = 10000
	var many []netip.Prefix
	for i := range n {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>12), byte(i >> 4), byte(i << 4)}), 28))
	}
	cfg.Ports[0].Remotes[0].Prefixes = many
	for _, step := range []string{"new", "unchanged"} {
		start := time.Now()
		ns.MustDo(t, func() error { return f.Set(cfg) })
		t.Logf("Set of %d prefixes, %s: %v", n, step, time.Since(start).Round(time.Millisecond))
	}
	if got := strings.Count(dump(t, f), "route vni=100 172."); got != n {
		t.Errorf("%d routes in the map, want %d", got, n)
	}
}
