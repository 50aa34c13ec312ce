// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Priorities of our rules: before those that other agents use, and after the kernel's table of local addresses, which
// nothing can precede (see to_kernel in the fast path's programs). The kernel walks rules one by one at every lookup, so the
// node's own packets, those of the fast path among them, and what comes in from the underlay go past the Vpcs' rules.
const (
	pastPriority = 83 + iota
	vpcPriority
	landPriority
)

// rule is a rule of ours: to a table, or past others when pastTo is set, or, with neither, where that leads.
type rule struct {
	priority, table, pastTo int
	iif                     string
}

func (r rule) netlink() *netlink.Rule {
	out := netlink.NewRule()
	out.Priority, out.IifName, out.Table, out.Protocol = r.priority, r.iif, r.table, protocol
	switch {
	case r.pastTo != 0:
		out.Goto = r.pastTo
	case r.table == 0:
		out.Type = nl.FR_ACT_NOP
	}
	return out
}

func ruleOf(r netlink.Rule) rule {
	return rule{priority: r.Priority, table: r.Table, pastTo: max(r.Goto, 0), iif: r.IifName}
}

// wantRules are in the order in which to add them.
func wantRules(s SlowPath, interfaces map[string]netlink.Link) []rule {
	if len(interfaces) == 0 {
		return nil
	}
	want := []rule{
		{priority: landPriority},
		{priority: pastPriority, pastTo: landPriority, iif: "lo"},
		{priority: pastPriority, pastTo: landPriority, iif: s.VXLAN.Underlay},
	}
	for _, v := range s.Vpcs {
		if interfaces[v.Interface] != nil {
			want = append(want, rule{priority: vpcPriority, table: tableBase + int(v.VNI), iif: v.Interface})
		}
	}
	return want
}

// setRules makes each Vpc's port, and nothing else, see the Vpc's table, and lets the kernel forward from it. A port that
// loses its rule is not forwarded from any more.
func setRules(h *netlink.Handle, s SlowPath, interfaces map[string]netlink.Link) error {
	all, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	want, wanted, have := wantRules(s, interfaces), map[rule]bool{}, map[rule]bool{}
	for _, r := range want {
		wanted[r] = true
	}
	var errs []error
	for _, r := range all {
		if r.Protocol != protocol {
			continue
		}
		if is := ruleOf(r); wanted[is] && !have[is] {
			have[is] = true
			continue
		}
		if r.Table != 0 {
			errs = append(errs, setForwarding(r.IifName, false))
		}
		if err := h.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("delete rule %d of %s: %w", r.Priority, r.IifName, err))
		}
	}
	for _, r := range want {
		if !have[r] {
			if err := h.RuleAdd(r.netlink()); err != nil {
				errs = append(errs, fmt.Errorf("add rule %d of %s: %w", r.priority, r.iif, err))
				continue
			}
		}
		if r.table != 0 {
			errs = append(errs, setForwarding(r.iif, true)) // not before the rule: it is what keeps packets in their table
		}
	}
	return errors.Join(errs...)
}

// listening are the settings that let the kernel forward what comes in on an interface, in the order to write them. The
// addresses of a Vpc may be the node's own too, which without accept_local would look forged; nobody but us sets it on
// a gateway port, so it also tells that the port is open.
var listening = [][2]string{{"forwarding", "1"}, {"accept_local", "1"}, {"rp_filter", "0"}}

// deaf are the settings of an interface out of which the kernel takes nothing.
var deaf = [][2]string{{"rp_filter", "1"}, {"accept_local", "0"}, {"forwarding", "0"}}

// setForwarding opens an interface for the kernel's forwarding, or closes it.
func setForwarding(name string, on bool) error {
	values := listening
	if !on {
		values = deaf
	}
	for _, v := range values {
		now, err := readIPv4Sysctl(name, v[0])
		if !on && errors.Is(err, fs.ErrNotExist) {
			return nil // the interface is gone
		}
		if err != nil {
			return err
		}
		if now == v[1] {
			continue
		}
		if err := os.WriteFile(ipv4Sysctl(name, v[0]), []byte(v[1]), 0o644); err != nil {
			return fmt.Errorf("set %s of %s: %w", v[0], name, err)
		}
	}
	return nil
}

// deafen makes the kernel take nothing out of an interface, unless the slow path has opened it.
func deafen(name string) error {
	open, err := readIPv4Sysctl(name, "accept_local")
	if err != nil {
		return err
	}
	if open == "1" {
		return nil
	}
	if err := os.WriteFile(ipv4Sysctl(name, "rp_filter"), []byte("1"), 0o644); err != nil {
		return fmt.Errorf("set rp_filter of %s: %w", name, err)
	}
	return nil
}

func ipv4Sysctl(ifname, key string) string {
	return sysctl("ipv4/conf", ifname, key)
}

func readIPv4Sysctl(ifname, key string) (string, error) {
	b, err := os.ReadFile(ipv4Sysctl(ifname, key))
	if err != nil {
		return "", fmt.Errorf("read %s of %s: %w", key, ifname, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// setNeighbour makes the Vpc's router the only neighbour of its port: nobody answers ARP there.
func setNeighbour(h *netlink.Handle, l netlink.Link, v SlowVpc) error {
	mac, err := validateMAC(v.RouterMAC)
	if err != nil {
		return fmt.Errorf("router of %s: %w", v.Interface, err)
	}
	all, err := h.NeighList(l.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list neighbours of %s: %w", v.Interface, err)
	}
	for _, n := range all {
		if n.State != netlink.NUD_PERMANENT {
			continue
		}
		if n.IP.Equal(net.IP(v.Router.AsSlice())) && n.HardwareAddr.String() == mac.String() {
			return nil
		}
	}
	neighbour := &netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: v.Router.AsSlice(), HardwareAddr: mac,
	}
	if err := h.NeighSet(neighbour); err != nil {
		return fmt.Errorf("set neighbour %s on %s: %w", v.Router, v.Interface, err)
	}
	return nil
}
