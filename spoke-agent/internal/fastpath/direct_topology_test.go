// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link/linktest"
)

// Two clusters of a gateway and two nodes, each with an underlay address of its own, and the Vpc shop/blue (VNI 100). In OVN's
// place stands a namespace per cluster: the Vpc's router, on a bridge that reaches the nodes' bridges, and on the gateway
// port. As OVN does it carries what the programs leave, takes one off the TTL, and answers.
//
//	pod ── bridge of the node ── bridge of the cluster: 10.1.1.1 ─ 169.254.0.1 ── tbg100 of the gateway
//	        │ underlay                                                              │ underlay
//	        └──────────────────────────── router ───────────────────────────────────┘
type directWorld struct {
	router     *linktest.Namespace
	pins       string
	east, west *directCluster
	// switches: pods have a second pair of interfaces, as with OVS's userspace datapath.
	switches bool
}

type directCluster struct {
	name          string
	ovn           *linktest.Namespace
	gateway, a, b *directNode
	subnet        netip.Prefix
	link          netip.Addr // the gateway's address on the link to the router
}

type directNode struct {
	name    string
	ns      *linktest.Namespace
	address netip.Addr
	pins    string
	cfg     Config
	f       *Fastpath
}

const directRouterMAC = "0a:58:0a:01:00:01"

func newDirectWorld(t *testing.T, switches bool) *directWorld {
	t.Helper()
	x := &directWorld{router: linktest.New(t, "router"), pins: pinPath(t), switches: switches}
	x.router.Sysctl(t, "net/ipv4/ip_forward", "1")
	x.east = x.cluster(t, "east", 1, "10.1.1.0/24", "169.254.0.2")
	x.west = x.cluster(t, "west", 2, "10.1.2.0/24", "169.254.0.10")
	for _, c := range []*directCluster{x.east, x.west} {
		far := x.west
		if c == x.west {
			far = x.east
		}
		c.ovn.IP(t, fmt.Sprintf("route add %s via %s", far.subnet, c.link))
		for _, n := range c.nodes() {
			n.cfg = x.config(c, far, n)
		}
	}
	return x
}

func (c *directCluster) nodes() []*directNode { return []*directNode{c.gateway, c.a, c.b} }

func (x *directWorld) nodes() []*directNode { return append(x.east.nodes(), x.west.nodes()...) }

func (x *directWorld) cluster(t *testing.T, name string, number int, subnet, linkAddress string) *directCluster {
	c := &directCluster{name: name, ovn: linktest.New(t, name+"-ovn"), subnet: netip.MustParsePrefix(subnet), link: netip.MustParseAddr(linkAddress)}
	c.ovn.Sysctl(t, "net/ipv4/ip_forward", "1")
	c.ovn.Sysctl(t, "net/ipv4/conf/all/send_redirects", "0")
	c.ovn.IP(t, "link add br0 type bridge")
	c.ovn.IP(t, "link set br0 address "+directRouterMAC+" up")
	c.ovn.IP(t, "addr add "+c.subnet.Addr().Next().String()+"/24 dev br0")
	for i, n := range []**directNode{&c.gateway, &c.a, &c.b} {
		*n = x.node(t, c, i, fmt.Sprintf("192.0.%d.1", 10*number+i))
	}
	c.gateway.ns.Veth(t, "tbg100", c.ovn, "tbo100")
	c.gateway.ns.IP(t, "link set tbg100 address 0a:58:a9:fe:00:02 up")
	c.ovn.IP(t, "link set tbo100 address 0a:58:a9:fe:00:01 up")
	c.ovn.IP(t, fmt.Sprintf("addr add %s/29 dev tbo100", c.link.Prev()))
	c.ovn.IP(t, fmt.Sprintf("neigh replace %s lladdr 0a:58:a9:fe:00:02 dev tbo100", c.link))
	return c
}

// node is one whose bridge is the cluster's.
func (x *directWorld) node(t *testing.T, c *directCluster, i int, address string) *directNode {
	name := c.name + "-" + []string{"gateway", "a", "b"}[i]
	n := &directNode{name: name, ns: linktest.New(t, name), address: netip.MustParseAddr(address)}
	port := c.name + []string{"g", "a", "b"}[i]
	next := n.address.Next().String()
	n.ns.Veth(t, "ul0", x.router, port)
	n.ns.IP(t, "addr add "+address+"/24 dev ul0")
	n.ns.IP(t, "link set ul0 up")
	x.router.IP(t, "addr add "+next+"/24 dev "+port)
	x.router.IP(t, "link set "+port+" up")
	n.ns.IP(t, "route add default via "+next)
	n.ns.IP(t, "link add br0 type bridge")
	n.ns.IP(t, "link set br0 up")
	n.ns.Veth(t, "trunk", c.ovn, port)
	n.ns.IP(t, "link set trunk master br0 up")
	c.ovn.IP(t, "link set "+port+" master br0 up")
	return n
}

// config lets all nodes of both clusters send to one another.
func (x *directWorld) config(c, far *directCluster, n *directNode) Config {
	others := func(c *directCluster) (all []netip.Addr) {
		for _, other := range c.nodes() {
			if other != n {
				all = append(all, other.address)
			}
		}
		return all
	}
	cfg := Config{
		Underlay: Underlay{Interface: "ul0", Address: n.address, UDPPort: 4789},
		Clusters: []Cluster{{Name: far.name, Endpoints: []netip.Addr{far.gateway.address}, Senders: others(far)}},
		Ports: []Port{{
			Vpc: "shop/blue", VNI: 100, Local: []netip.Prefix{c.subnet, netip.PrefixFrom(c.link, 29).Masked()},
			Remotes: []Remote{{Vpc: "shop/blue", VNI: 100, Cluster: far.name, Prefixes: []netip.Prefix{far.subnet, netip.PrefixFrom(far.link, 29).Masked()}}},
		}},
		Own: Own{Name: c.name, Nodes: others(c), Gateways: []netip.Addr{c.gateway.address}},
	}
	if n == c.gateway {
		cfg.Own.Gateways = nil
		p := &cfg.Ports[0]
		p.Interface, p.GatewayMAC, p.RouterMAC, p.Address = "tbg100", "0a:58:a9:fe:00:02", "0a:58:a9:fe:00:01", c.link
	}
	return cfg
}

// pod makes a pod on the node, or moves it there: its address is one, wherever it is.
func (x *directWorld) pod(t *testing.T, c *directCluster, n *directNode, name, address string) *linktest.Namespace {
	t.Helper()
	pod := linktest.New(t, name)
	x.plug(t, c, n, pod, name, address)
	return pod
}

func (x *directWorld) plug(t *testing.T, c *directCluster, n *directNode, pod *linktest.Namespace, name, address string) {
	t.Helper()
	n.ns.Veth(t, name, pod, "eth0")
	a := netip.MustParseAddr(address).As4()
	mac := fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3])
	pod.IP(t, "link set eth0 address "+mac+" up")
	pod.IP(t, "addr add "+address+"/24 dev eth0")
	pod.IP(t, "route add default via "+c.subnet.Addr().Next().String())
	p := Pod{Interface: name, VNI: 100, Address: netip.MustParseAddr(address), MAC: mac, RouterMAC: directRouterMAC}
	n.ns.IP(t, "link set "+name+" up")
	if x.switches {
		p.Switch = "s-" + name
		n.ns.IP(t, "link add "+p.Switch+" type veth peer name o-"+name+"")
		n.ns.IP(t, "link set o-"+name+" master br0 up")
		n.ns.IP(t, "link set "+p.Switch+" up")
	} else {
		n.ns.IP(t, "link set "+name+" master br0")
	}
	n.cfg.Pods = append(n.cfg.Pods, p)
	if n != c.gateway {
		c.gateway.cfg.Own.Hosts = append(c.gateway.cfg.Own.Hosts, Host{VNI: 100, Address: p.Address, Node: n.address})
	}
}

// start opens and sets all nodes, with the VXLAN device that lends its socket to GRO, and to the slow path.
func (x *directWorld) start(t *testing.T) {
	t.Helper()
	for _, n := range x.nodes() {
		n.cfg.Underlay.VXLAN = vxlanDevice
		slow := x.slowPath(n)
		n.ns.MustDo(t, func() error { return link.EnsureVXLAN(slow.VXLAN) })
		n.pins = x.pins + "-" + n.name
		n.f = openGateway(t, n.ns, n.pins, n.cfg)
		n.ns.MustDo(t, func() error { return link.SetSlowPath(slow) }) // without Vpcs too: it sets the device up
		if coverage != nil {
			n.ns.MustDo(t, func() error { return coverage.attach(n.f, n.cfg) })
			sampleAll(t, n.f, nil) // into a ring that nobody reads
		}
	}
	t.Cleanup(func() {
		for _, n := range x.nodes() {
			if err := n.f.Remove(); err != nil {
				t.Error(err)
			}
			if err := n.ns.Do(wantNothingAttached); err != nil {
				t.Errorf("%s after Remove: %v", n.name, err)
			}
		}
	})
}

// slowPath is what the kernel has to know: on a gateway, the routes of the Vpc too.
func (x *directWorld) slowPath(n *directNode) link.SlowPath {
	slow := link.SlowPath{VXLAN: link.VXLAN{Port: 4789, Address: n.address, Underlay: "ul0"}}
	for _, p := range n.cfg.Ports {
		if p.Interface != "" {
			slow.Vpcs = append(slow.Vpcs, link.SlowVpc{
				Interface: p.Interface, VNI: p.VNI, Router: p.Address.Prev(), RouterMAC: p.RouterMAC, Local: p.Local,
				Remotes: []link.SlowRemote{{VNI: 100, Endpoints: n.cfg.Clusters[0].Endpoints, Prefixes: p.Remotes[0].Prefixes}},
			})
		}
	}
	return slow
}

func (n *directNode) set(t *testing.T) {
	t.Helper()
	n.ns.MustDo(t, func() error { return n.f.Set(n.cfg) })
}

// by returns packets by direction and path.
func (n *directNode) by(t *testing.T) map[string]uint64 {
	t.Helper()
	packets := map[string]uint64{}
	for _, f := range counters(t, n.f).Flows {
		if f.Packets > 0 {
			packets[f.Direction+" "+f.Path] += f.Packets
		}
	}
	return packets
}
