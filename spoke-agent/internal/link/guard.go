// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The guard's routing table, and the priority of the rule that leads to it: after the table of local addresses, before all
// that is usual.
const (
	guardTable    = 51871
	guardPriority = 4789
)

// Guard keeps the kernel itself from sending to some gateways in the clear, whoever asks it to: UDP to that port of these
// addresses goes through the interface tunnel, or nowhere while there is none. (The eBPF programs need no guard: they ask
// no routing table.) WireGuard's own packets are of another port and go their way.
type Guard struct {
	// Port is the UDP port of the encapsulation.
	Port uint16
	// Tunnel is the interface that encrypts. It need not be there.
	Tunnel string
	// Addresses of the gateways of encrypted clusters.
	Addresses []netip.Addr
}

// Ensure makes the guard what g says.
func (g Guard) Ensure() error {
	h := &netlink.Handle{}
	index := 0
	l, err := find(h, g.Tunnel)
	if err != nil {
		return err
	}
	if l != nil {
		index = l.Attrs().Index
	}
	// Routes first: they must be there when the rule leads to them.
	wanted := map[string]bool{}
	for _, a := range g.Addresses {
		for _, r := range guardRoutes(a, index) {
			wanted[guardRouteKey(r)] = true
			if err := h.RouteReplace(&r); err != nil && (r.LinkIndex == 0 || !isDown(err)) {
				return fmt.Errorf("guard %s: %w", a, err)
			}
		}
	}
	if err := ensureGuardRule(h, g.Port); err != nil {
		return err
	}
	return deleteGuardRoutes(h, func(r netlink.Route) bool { return wanted[guardRouteKey(r)] })
}

// isDown is the kernel's answer to a route through an interface that is not up yet, or just gone.
func isDown(err error) bool { return errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENODEV) }

// guardRoutes lead to a through the interface; what remains when that is gone leads nowhere.
func guardRoutes(a netip.Addr, index int) []netlink.Route {
	to := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}
	routes := []netlink.Route{{Dst: to, Table: guardTable, Type: unix.RTN_UNREACHABLE, Priority: math.MaxInt32}}
	if index != 0 {
		routes = append(routes, netlink.Route{Dst: to, Table: guardTable, Type: unix.RTN_UNICAST, LinkIndex: index, Scope: netlink.SCOPE_LINK, Priority: 1})
	}
	return routes
}

func guardRouteKey(r netlink.Route) string { return fmt.Sprint(r.Dst, r.Type, r.Priority) }

// ensureGuardRule makes the one rule, and takes away that of another port.
func ensureGuardRule(h *netlink.Handle, port uint16) error {
	rules, err := h.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Table: guardTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list guard rules: %w", err)
	}
	found, old := false, []netlink.Rule{}
	for _, r := range rules {
		if !found && r.Dport != nil && r.Dport.Start == port && r.Dport.End == port && r.IPProto == unix.IPPROTO_UDP && r.Priority == guardPriority {
			found = true
			continue
		}
		old = append(old, r)
	}
	if !found {
		rule := netlink.NewRule()
		rule.Family, rule.Table, rule.Priority = netlink.FAMILY_V4, guardTable, guardPriority
		rule.IPProto, rule.Dport = unix.IPPROTO_UDP, netlink.NewRulePortRange(port, port)
		if err := h.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add guard rule: %w", err)
		}
	}
	return deleteGuardRules(h, old)
}

func deleteGuardRules(h *netlink.Handle, rules []netlink.Rule) error {
	for _, r := range rules {
		if err := h.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("delete guard rule: %w", err)
		}
	}
	return nil
}

func deleteGuardRoutes(h *netlink.Handle, keep func(netlink.Route) bool) error {
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: guardTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list guard routes: %w", err)
	}
	for _, r := range routes {
		if keep(r) {
			continue
		}
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete guard route %s: %w", r.Dst, err)
		}
	}
	return nil
}

// removeGuard takes the rules and then the routes away.
func removeGuard(h *netlink.Handle) error {
	rules, err := h.RuleListFiltered(netlink.FAMILY_V4, &netlink.Rule{Table: guardTable}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list guard rules: %w", err)
	}
	if err := deleteGuardRules(h, rules); err != nil {
		return err
	}
	return deleteGuardRoutes(h, func(netlink.Route) bool { return false })
}
