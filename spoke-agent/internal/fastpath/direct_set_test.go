// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

func TestSetRefusesDirect(t *testing.T) {
	ns, f := directGateway(t)
	before := dump(t, f)
	address := netip.MustParseAddr
	for name, tc := range map[string]struct {
		reason string
		change func(*Config)
		want   string
	}{
		"pod's VNI":           {"no Vpc that is here", func(c *Config) { c.Pods[0].VNI = 700 }, "pod 10.1.1.2 of vni 700: vni 700 has no port; add one, without an interface if the node is no gateway"},
		"pod's subnet":        {"a wrong address", func(c *Config) { c.Pods[0].Address = address("10.9.1.2") }, "address 10.9.1.2 is in none of the port's local prefixes [10.1.1.0/24 169.254.0.0/29]; add its subnet"},
		"pod's IPv6":          {"only IPv4 is forwarded", func(c *Config) { c.Pods[0].Address = address("fd00::1") }, "address fd00::1 is not IPv4"},
		"pod's MAC":           {"a forgotten field", func(c *Config) { c.Pods[0].MAC = "" }, "pod 10.1.1.2 of vni 100: MAC: "},
		"router's MAC":        {"half an address", func(c *Config) { c.Pods[0].RouterMAC = "0a:58" }, "pod 10.1.1.2 of vni 100: router MAC: "},
		"pod's interface":     {"a forgotten field", func(c *Config) { c.Pods[0].Interface = "" }, "interface is empty; name the node's end of the pod's veth"},
		"two pods' interface": {"it tells the pod", func(c *Config) { c.Pods[1].Interface = "pod0" }, "interface pod0 is pod 10.1.1.2 of vni 100 too; each has its own"},
		"switch is interface": {"packets would go round", func(c *Config) { c.Pods[1].Switch = "pod1" }, "interface pod1 is pod 10.4.1.3 of vni 400 too"},
		"switch is a pod's":   {"it tells the pod", func(c *Config) { c.Pods[1].Switch = "pod0" }, "interface pod0 is pod 10.1.1.2 of vni 100 too"},
		"pod at the underlay": {"all of the node's packets would be the pod's", func(c *Config) { c.Pods[0].Interface = "ul0" }, "interface ul0 is the underlay too"},
		"pod at a port":       {"a wrong name", func(c *Config) { c.Pods[0].Interface = "tbg100" }, "interface tbg100 is the gateway port of shop/blue too"},
		"pod twice":           {"which of them", func(c *Config) { c.Pods[1].VNI, c.Pods[1].Address = 100, address("10.1.1.2") }, "is behind pod0 and pod1; an address is one pod's"},
		"own name":            {"a forgotten field", func(c *Config) { c.Own.Name = "" }, "own cluster: name is empty, and it has nodes; give the ClusterID"},
		"own name, long":      {"maps have 63 octets", func(c *Config) { c.Own.Name = strings.Repeat("x", 64) }, "give it 1 to 63"},
		"own as another":      {"its packets would be held for another's", func(c *Config) { c.Own.Name = "west" }, `cluster "west": has the id of "this node's own cluster"`},
		"node IPv6":           {"the outer header is IPv4", func(c *Config) { c.Own.Nodes[1] = address("fd00::1") }, "own cluster: node fd00::1 is not IPv4"},
		"this node":           {"packets to itself", func(c *Config) { c.Own.Nodes[1] = c.Underlay.Address }, "own cluster: node 192.0.2.1 is this one; list the others"},
		"node twice":          {"a list of a set", func(c *Config) { c.Own.Nodes[1] = c.Own.Nodes[0] }, "own cluster: node 192.0.2.8 is there twice"},
		"gateway no node":     {"its packets would be a stranger's", func(c *Config) { c.Own.Gateways[0] = address("192.0.2.7") }, "gateway 192.0.2.7 is none of the nodes; add it to them"},
		"host's node":         {"a stranger", func(c *Config) { c.Own.Hosts[0].Node = address("192.0.2.7") }, "host of 10.1.1.9: node 192.0.2.7 is none of the own cluster's; add it to the nodes"},
		"host's VNI":          {"a forgotten field", func(c *Config) { c.Own.Hosts[0].VNI = 0 }, "host of 10.1.1.9: vni 0 is not between 1 and 16777215"},
		"host's address":      {"only IPv4 is forwarded", func(c *Config) { c.Own.Hosts[0].Address = address("fd00::1") }, "host of fd00::1: address is not IPv4"},
		"host twice": {
			"where is it", func(c *Config) {
				h := c.Own.Hosts[0]
				h.Node = address("192.0.2.8")
				c.Own.Hosts = append(c.Own.Hosts, h)
			}, "host of 10.1.1.9 in vni 100: is 192.0.2.9 and 192.0.2.8; a pod is in one place",
		},
		"sender of two":   {"it tells the cluster", func(c *Config) { c.Clusters[1].Senders = []netip.Addr{address("198.51.100.3")} }, "cluster south: sender 198.51.100.3 is west's too; a sender is one cluster's"},
		"other's gateway": {"it tells the cluster", func(c *Config) { c.Clusters[1].Senders = []netip.Addr{address("198.51.100.1")} }, "cluster south: sender 198.51.100.1 is west's too"},
		"own sender":      {"it may send anyway", func(c *Config) { c.Clusters[1].Senders = c.Own.Nodes[:1] }, "cluster south: sender 192.0.2.8 is a node of this cluster; leave it out"},
		"sender IPv6":     {"the outer header is IPv4", func(c *Config) { c.Clusters[1].Senders = []netip.Addr{address("fd00::1")} }, "sender fd00::1 is not IPv4"},
		"relay to itself": {"Ports are for that", func(c *Config) { c.Relays[4].To = "east" }, "east is this node's own cluster, which Ports are for"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := directConfig()
			tc.change(&cfg)
			if err := ns.Do(func() error { return f.Set(cfg) }); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
			if diff := cmp.Diff(before, dump(t, f)); diff != "" {
				t.Errorf("%s: it has changed the maps (-before +after):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDumpDirect(t *testing.T) {
	ns, f := directGateway(t)
	ns.MustDo(t, func() error {
		text, err := f.Dump()
		for _, want := range []string{
			"cluster east mtu=1500 endpoints=[192.0.2.8]\n",
			"deliver vni=400 → none mtu=0 router=00:00:00:00:00:00 gateway=00:00:00:00:00:00\n",
			"place vni=100 10.1.1.2 → pod0 mtu=1400 0a:58:0a:01:01:02 router=0a:58:0a:01:01:01\n",
			"place vni=100 10.1.1.9 → node 192.0.2.9\n",
			"pod pod0 → vni=100 10.1.1.2 0a:58:0a:01:01:02 router=0a:58:0a:01:01:01\n",
			"pod pod1 → vni=400 10.4.1.3 0a:58:0a:01:01:03 router=0a:58:0a:01:01:01 switch sw1\n",
			"switch sw1 → pod pod1 0a:58:0a:01:01:03\n",
			"source 192.0.2.8 by ul0 → cluster=east, this one\n",
			"source 198.51.100.3 by ul0 → cluster=west\n",
			"underlay ul0 mtu=1500 address=192.0.2.1 port=4789 of east\n",
			"count vni=400 cluster=west vni=400 in by node\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the dump lacks %q:\n%s", want, text)
			}
		}
		return err
	})
}

// TestPodWithoutInterface: a pod that is gone takes nothing with it.
func TestPodWithoutInterface(t *testing.T) {
	ns, f := directGateway(t)
	for name, gone := range map[string]string{"the pod's": "pod0", "the switch's": "sw1"} {
		ns.IP(t, "link del "+gone)
		err := ns.Do(func() error { return f.Set(directConfig()) })
		if err == nil || !strings.Contains(err.Error(), "no interface "+gone+"; leave out pods that are gone") {
			t.Errorf("%s interface is gone, and the error is %v", name, err)
		}
	}
	if text := dump(t, f); strings.Contains(text, "\npod ") || strings.Contains(text, "\nswitch ") || strings.Contains(text, "place vni=100 10.1.1.2") {
		t.Errorf("maps still have the pods:\n%s", text)
	}
	cfg := directConfig()
	cfg.Pods = nil
	ns.MustDo(t, func() error { return f.Set(cfg) })
}

// TestSetManyPods: a pod more must not cost what all of them do.
func TestSetManyPods(t *testing.T) {
	ns, f := directGateway(t)
	cfg := directConfig()
	const pods, hosts = 120, 10000
	cfg.Ports[0].Local = append(cfg.Ports[0].Local, prefixes("10.64.0.0/16")...)
	ns.MustDo(t, func() error {
		for i := range pods {
			name := fmt.Sprintf("many%d", i)
			if i%2 == 0 { // the other end is a pod's too
				pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1400}, PeerName: fmt.Sprintf("many%d", i+1)}
				if err := netlink.LinkAdd(pair); err != nil {
					return err
				}
			}
			cfg.Pods = append(cfg.Pods, Pod{
				Interface: name, VNI: 100, Address: netip.AddrFrom4([4]byte{10, 64, byte(i >> 8), byte(i)}),
				MAC: "0a:58:0a:01:01:02", RouterMAC: "0a:58:0a:01:01:01",
			})
		}
		return nil
	})
	for i := range hosts {
		cfg.Own.Hosts = append(cfg.Own.Hosts, Host{VNI: 100, Address: netip.AddrFrom4([4]byte{10, 64, 64 + byte(i>>8), byte(i)}), Node: cfg.Own.Nodes[0]})
	}
	less := cfg
	less.Pods = slices.Clone(cfg.Pods[:len(cfg.Pods)-1])
	for _, step := range []struct {
		name string
		cfg  Config
	}{{"new", cfg}, {"unchanged", cfg}, {"one less", less}, {"one more", cfg}} {
		start := time.Now()
		ns.MustDo(t, func() error { return f.Set(step.cfg) })
		t.Logf("Set of %d pods and %d hosts, %s: %v", pods, hosts, step.name, time.Since(start).Round(time.Millisecond))
	}
	text := dump(t, f)
	if places := strings.Count(text, "place vni=100 10.64."); places != pods+hosts {
		t.Errorf("%d places in the map, want %d", places, pods+hosts)
	}
	if got := strings.Count(text, "\npod "); got != pods+2 {
		t.Errorf("%d pods in the map, want %d", got, pods+2)
	}
}
