// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Bridge makes a Linux bridge in the namespace and sets it up.
func Bridge(ns, name string) error {
	return with(ns, func(h *netlink.Handle) error {
		// A fixed MTU keeps the bridge from taking that of its smallest port.
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}}
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("add bridge %s in %s: %w", name, ns, err)
		}
		return up(h, ns, name)
	})
}

// Veth joins two namespaces with a pair of interfaces, both up. mtu 0 is the
// kernel's 1500.
func Veth(nsA, ifA, nsB, ifB string, mtu int) error {
	peer, err := netns.GetFromName(nsB)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", nsB, err)
	}
	defer peer.Close()
	err = with(nsA, func(h *netlink.Handle) error {
		pair := &netlink.Veth{
			LinkAttrs:     netlink.LinkAttrs{Name: ifA, MTU: mtu},
			PeerName:      ifB,
			PeerNamespace: netlink.NsFd(peer),
			PeerMTU:       uint32(mtu),
		}
		if err := h.LinkAdd(pair); err != nil {
			return fmt.Errorf("add veth %s in %s to %s in %s: %w", ifA, nsA, ifB, nsB, err)
		}
		return up(h, nsA, ifA)
	})
	if err != nil {
		return err
	}
	return LinkUp(nsB, ifB)
}

// LinkUp sets an interface up.
func LinkUp(ns, name string) error {
	return with(ns, func(h *netlink.Handle) error { return up(h, ns, name) })
}

// LinkDown sets an interface down. Its addresses stay, its routes go.
func LinkDown(ns, name string) error {
	return with(ns, func(h *netlink.Handle) error {
		link, err := find(h, ns, name)
		if err != nil {
			return err
		}
		if err := h.LinkSetDown(link); err != nil {
			return fmt.Errorf("set %s down in %s: %w", name, ns, err)
		}
		return nil
	})
}

// SetMaster makes an interface a port of a bridge in the same namespace.
func SetMaster(ns, name, bridge string) error {
	return with(ns, func(h *netlink.Handle) error {
		link, err := find(h, ns, name)
		if err != nil {
			return err
		}
		master, err := find(h, ns, bridge)
		if err != nil {
			return err
		}
		if err := h.LinkSetMaster(link, master); err != nil {
			return fmt.Errorf("put %s into bridge %s in %s: %w", name, bridge, ns, err)
		}
		return nil
	})
}

// AddAddr gives an interface an address with its prefix length.
func AddAddr(ns, name string, addr netip.Prefix) error {
	return with(ns, func(h *netlink.Handle) error {
		link, err := find(h, ns, name)
		if err != nil {
			return err
		}
		a := &netlink.Addr{IPNet: &net.IPNet{
			IP:   addr.Addr().AsSlice(),
			Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen()),
		}}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add address %s to %s in %s: %w", addr, name, ns, err)
		}
		return nil
	})
}

// AddRoute adds a route to dst by the gateway via, or straight out of the
// interface dev when via is the zero Addr. dev may be "" when via is given.
func AddRoute(ns string, dst netip.Prefix, via netip.Addr, dev string) error {
	return with(ns, func(h *netlink.Handle) error {
		route := &netlink.Route{Dst: &net.IPNet{
			IP:   dst.Masked().Addr().AsSlice(),
			Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen()),
		}}
		if via.IsValid() {
			route.Gw = via.AsSlice()
		} else {
			route.Scope = netlink.SCOPE_LINK
		}
		if dev != "" {
			link, err := find(h, ns, dev)
			if err != nil {
				return err
			}
			route.LinkIndex = link.Attrs().Index
		}
		if err := h.RouteAdd(route); err != nil {
			return fmt.Errorf("add route %s via %s dev %q in %s: %w", dst, via, dev, ns, err)
		}
		return nil
	})
}

func up(h *netlink.Handle, ns, name string) error {
	link, err := find(h, ns, name)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up in %s: %w", name, ns, err)
	}
	return nil
}

func find(h *netlink.Handle, ns, name string) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s in %s: %w", name, ns, err)
	}
	return link, nil
}
