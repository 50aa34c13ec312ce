// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/debian"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Bridges of a node.
const (
	// IntegrationBridge is OVN's.
	IntegrationBridge = "br-int"
	// PhysicalBridge carries the encapsulation address on its local port:
	// tunnels in userspace look up their route to a bridge, not to a kernel device.
	PhysicalBridge = "br-phy"
	// bridgeTimeout bounds the wait for its interface.
	bridgeTimeout = 30 * time.Second
)

// NodeOptions says where a node's Open vSwitch and ovn-controller run.
type NodeOptions struct {
	Dir        proc.Dir     // Dir of the processes.
	Cluster    string       // Cluster and Node prefix the processes' names.
	Node       string       // Node is the name in Kubernetes.
	NetNS      string       // NetNS of the node; it must exist.
	StateDir   string       // StateDir of the database and the sockets, absolute and short.
	SB         string       // SB is the endpoint of the cluster's southbound database.
	EncapIP    netip.Prefix // EncapIP of Geneve, put on br-phy, with the underlay's prefix length.
	UnderlayIf string       // UnderlayIf is the interface in NetNS that leads to the other nodes; without an address.
}

// NodeOVS is Open vSwitch and ovn-controller of a node. It holds no state: any
// program may make one of the same options.
type NodeOVS struct{ NodeOptions }

// StartNode starts what does not run yet, so it also repairs a node after one of
// its processes was killed. It returns when the node's chassis is in the
// southbound database.
func StartNode(ctx context.Context, o NodeOptions) (*NodeOVS, error) {
	n := &NodeOVS{o}
	steps := []func(context.Context) error{n.check, n.startDB, n.startSwitch, n.addBridges, n.startController}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("start OVN node %s of %s: %w", o.Node, o.Cluster, err)
		}
	}
	return n, nil
}

const vswitchSchema = "/usr/share/openvswitch/vswitch.ovsschema"

func (n *NodeOVS) check(context.Context) error {
	if !n.EncapIP.Addr().Is4() {
		return fmt.Errorf("EncapIP %s: want an IPv4 address with a prefix length", n.EncapIP)
	}
	err := debian.Need("ovsdb-server", "ovsdb-tool", "ovs-appctl", "ovs-vsctl", "ovs-vswitchd", "ovn-controller", "ovn-sbctl", "ip", vswitchSchema)
	// The longest name is ovn-controller's, with the largest pid of Linux.
	return errors.Join(err, prepare(n.StateDir, "ovn-controller.4194304.ctl"))
}

func (n *NodeOVS) startDB(ctx context.Context) error {
	if err := createDB(ctx, n.file("conf.db"), vswitchSchema); err != nil {
		return err
	}
	err := n.ensure(ctx, "ovsdb", "ovsdb-server", answers(n.file("ovsdb.ctl")),
		"--unixctl="+n.file("ovsdb.ctl"), "--remote=punix:"+n.file("db.sock"), n.file("conf.db"))
	if err != nil {
		return err
	}
	ids := []string{
		"system-id=" + n.Chassis(),
		"hostname=" + n.Node,
		"ovn-remote=" + `"` + n.SB + `"`,
		"ovn-encap-type=geneve",
		"ovn-encap-ip=" + n.EncapIP.Addr().String(),
		"ovn-bridge-datapath-type=netdev",
		// The whole southbound database: in a small cluster cheaper and faster than conditions.
		"ovn-monitor-all=true",
		// A busy machine must not look like a dead peer: seconds, milliseconds.
		"ovn-openflow-probe-interval=60",
		"ovn-remote-probe-interval=100000",
	}
	args := []string{"--no-wait", "init", "--", "set", "Open_vSwitch", "."}
	for _, id := range ids {
		args = append(args, "external_ids:"+id)
	}
	_, err = n.VSCtl(ctx, args...)
	return err
}

func (n *NodeOVS) startSwitch(ctx context.Context) error {
	return n.ensure(ctx, "vswitchd", "ovs-vswitchd", answers(n.file("vswitchd.ctl")),
		"--disable-system", "--unixctl="+n.file("vswitchd.ctl"), n.DB())
}

// addBridges also configures the kernel's side of the underlay: the interface
// belongs to Open vSwitch alone. The kernel still sees every frame on it, so
// ARP is off and br-phy has an Ethernet address of its own: the kernel then
// drops frames to it as another host's, instead of answering a second time.
func (n *NodeOVS) addBridges(ctx context.Context) error {
	if _, err := netns.Exec(ctx, n.NetNS, "ip", "link", "set", n.UnderlayIf, "up", "arp", "off", "addrgenmode", "none"); err != nil {
		return err
	}
	_, err := n.VSCtl(ctx,
		"--may-exist", "add-br", PhysicalBridge, "--", "set", "Bridge", PhysicalBridge, "datapath_type=netdev",
		"fail-mode=standalone", fmt.Sprintf(`other_config:hwaddr="%s"`, macOf(n.EncapIP.Addr())),
		"--", "--may-exist", "add-port", PhysicalBridge, n.UnderlayIf,
		"--", "--may-exist", "add-br", IntegrationBridge, "--", "set", "Bridge", IntegrationBridge, "datapath_type=netdev",
		"fail-mode=secure", "other_config:disable-in-band=true")
	if err != nil {
		return err
	}
	if err := n.bridged(ctx); err != nil {
		return err
	}
	// replace and up change nothing when they are so already.
	if _, err := netns.Exec(ctx, n.NetNS, "ip", "address", "replace", n.EncapIP.String(), "dev", PhysicalBridge); err != nil {
		return err
	}
	return netns.LinkUp(n.NetNS, PhysicalBridge)
}

// bridged waits for the bridge's interface. When the database has the bridge from before, there is no change that ovs-vsctl would wait for, and
// ovs-vswitchd may still be about to make it.
func (n *NodeOVS) bridged(ctx context.Context) error {
	for begin := time.Now(); ; {
		_, err := netns.Exec(ctx, n.NetNS, "ip", "link", "show", "dev", PhysicalBridge)
		if err == nil || time.Since(begin) > bridgeTimeout {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// startController waits for both: after a restart the chassis is there before
// ovn-controller is.
func (n *NodeOVS) startController(ctx context.Context) error {
	return n.ensure(ctx, "ovn-controller", "ovn-controller", func(ctx context.Context) error {
		state, err := n.ControllerCtl(ctx, "connection-status")
		if err == nil && state != "connected" {
			err = fmt.Errorf("ovn-controller is %s", state)
		}
		if err != nil {
			return err
		}
		_, err = run(ctx, nil, "ovn-sbctl", "--db="+n.SB, "--no-leader-only", "--timeout=30", "wait-until", "Chassis", n.Chassis())
		return err
	}, n.DB())
}

func (n *NodeOVS) ensure(ctx context.Context, name, program string, ready func(context.Context) error, args ...string) error {
	return ensure(ctx, n.Dir, proc.Spec{
		Name:  n.process(name),
		Path:  program,
		Args:  append(append([]string{}, logging...), args...),
		Env:   environment(n.StateDir),
		NetNS: n.NetNS,
	}, ready)
}

// Chassis is the node's name in OVN. No other cluster has one of that name: OVN interconnection needs it so.
func (n *NodeOVS) Chassis() string { return n.Cluster + "-" + n.Node }

// DB is the endpoint of the node's Open_vSwitch database.
func (n *NodeOVS) DB() string { return "unix:" + n.file("db.sock") }

// VSCtl runs ovs-vsctl and gives what it prints.
func (n *NodeOVS) VSCtl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, nil, "ovs-vsctl", append([]string{"--db=" + n.DB()}, args...)...)
}

// OFCtl runs ovs-ofctl, which finds the bridges' sockets in StateDir.
func (n *NodeOVS) OFCtl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, environment(n.StateDir), "ovs-ofctl", args...)
}

// SwitchCtl runs ovs-appctl on ovs-vswitchd.
func (n *NodeOVS) SwitchCtl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, nil, "ovs-appctl", append([]string{"-t", n.file("vswitchd.ctl")}, args...)...)
}

// ControllerCtl runs ovn-appctl on ovn-controller, whose socket OVN 23.03 names
// after its pid and not as one asks.
func (n *NodeOVS) ControllerCtl(ctx context.Context, args ...string) (string, error) {
	p, ok := n.Process("ovn-controller")
	if !ok {
		return "", fmt.Errorf("ask ovn-controller of %s: it does not run", n.Node)
	}
	socket := n.file(fmt.Sprintf("ovn-controller.%d.ctl", p.PID()))
	return run(ctx, nil, "ovs-appctl", append([]string{"-t", socket}, args...)...)
}

// Process gives "ovsdb", "vswitchd" or "ovn-controller" if it runs.
func (n *NodeOVS) Process(name string) (*proc.Process, bool) { return n.Dir.Find(n.process(name)) }

func (n *NodeOVS) process(name string) string { return n.Cluster + "-" + n.Node + "-" + name }

// Warm reaches the encapsulation addresses of other nodes once. Open vSwitch
// drops the first packet into a tunnel whose peer's Ethernet address it doesn't
// know, and learns that address from any ARP it sees, these pings' included.
func (n *NodeOVS) Warm(ctx context.Context, peers ...netip.Addr) error {
	for _, peer := range peers {
		var report probe.PingReport
		err := netns.Do(n.NetNS, func() (err error) {
			report, err = probe.Ping(ctx, probe.PingOptions{Address: peer, Count: 1, Wait: time.Second})
			return err
		})
		if err == nil && report.Received == 0 {
			err = fmt.Errorf("no answer (%s)", report.SendError)
		}
		if err != nil {
			return fmt.Errorf("warm tunnel %s to %s: %w", n.Node, peer, err)
		}
	}
	return nil
}

// Stop ends the daemons; their files stay in StateDir.
func (n *NodeOVS) Stop() error {
	return stop(n.Dir, n.process("ovn-controller"), n.process("vswitchd"), n.process("ovsdb"))
}

func (n *NodeOVS) file(name string) string { return filepath.Join(n.StateDir, name) }

// macOf is the locally administered Ethernet address that carries an IPv4
// address, as everywhere in Tombolo: 0a:58 and the four bytes.
func macOf(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}
