// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Underlay returns name, IPv4 address and MTU of the interface name. When name is empty it is the interface of the
// default route with the lowest metric, and the address is that route's source, if it names one.
func Underlay(name string) (string, netip.Addr, int, error) {
	var (
		l      netlink.Link
		source netip.Addr
		err    error
	)
	if name == "" {
		l, source, err = defaultRoute()
	} else {
		l, err = netlink.LinkByName(name)
	}
	if err != nil {
		return "", netip.Addr{}, 0, fmt.Errorf("find underlay %q: %w", name, err)
	}
	if !source.IsValid() {
		if source, err = primaryAddress(l); err != nil {
			return "", netip.Addr{}, 0, fmt.Errorf("find underlay %q: %w", name, err)
		}
	}
	return l.Attrs().Name, source, l.Attrs().MTU, nil
}

// XDP is the number of the XDP program of an interface, 0 when it has none.
func XDP(name string) (int, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("find interface %s: %w", name, err)
	}
	if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
		return int(xdp.ProgId), nil
	}
	return 0, nil
}

func defaultRoute() (netlink.Link, netip.Addr, error) {
	all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	all = slices.DeleteFunc(all, func(r netlink.Route) bool {
		ones := 0
		if r.Dst != nil {
			ones, _ = r.Dst.Mask.Size()
		}
		return ones != 0 || r.Type != unix.RTN_UNICAST
	})
	if len(all) == 0 {
		return nil, netip.Addr{}, errors.New("no default route; name the interface that reaches the other clusters")
	}
	r := slices.MinFunc(all, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	index := r.LinkIndex
	if index == 0 && len(r.MultiPath) > 0 {
		index = r.MultiPath[0].LinkIndex
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return nil, netip.Addr{}, fmt.Errorf("find interface %d of the default route: %w", index, err)
	}
	source, _ := netip.AddrFromSlice(r.Src.To4())
	return l, source, nil
}

// primaryAddress is the first address of global scope that is not secondary.
func primaryAddress(l netlink.Link) (netip.Addr, error) {
	all, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	for _, a := range all {
		if a.Scope == unix.RT_SCOPE_UNIVERSE && a.Flags&unix.IFA_F_SECONDARY == 0 {
			if addr, ok := netip.AddrFromSlice(a.IP.To4()); ok {
				return addr, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no IPv4 address of global scope; give it one, or name another interface", l.Attrs().Name)
}
