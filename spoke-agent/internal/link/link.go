// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package link is the only importer of netlink and ethtool: the network interfaces
// of the node (gateway ports, underlay) and of pods.
//
// Every function takes what should be and makes it so, whatever is there already,
// and so can be called again after any failure. All of them work in the network
// namespace of the calling thread.
package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Remove deletes the interface name and with it its peer. A missing interface is no error.
func Remove(name string) error {
	l, err := find(&netlink.Handle{}, name)
	if err != nil || l == nil {
		return err
	}
	return removeVeth(&netlink.Handle{}, l)
}

// List returns the names of this namespace's interfaces that start with prefix, sorted.
func List(prefix string) ([]string, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var names []string
	for _, l := range all {
		if strings.HasPrefix(l.Attrs().Name, prefix) {
			names = append(names, l.Attrs().Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Aliases returns the aliases of this namespace's interfaces that start with prefix and have one, by name.
func Aliases(prefix string) (map[string]string, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	aliases := map[string]string{}
	for _, l := range all {
		if a := l.Attrs(); strings.HasPrefix(a.Name, prefix) && a.Alias != "" {
			aliases[a.Name] = a.Alias
		}
	}
	return aliases, nil
}

// find returns nil when there is no interface of that name.
func find(h *netlink.Handle, name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	return l, nil
}

// removeVeth deletes nothing but veth pairs: a name that something else has is somebody's mistake, and not ours to delete.
func removeVeth(h *netlink.Handle, l netlink.Link) error {
	if l.Type() != "veth" {
		return fmt.Errorf("delete interface %s: it is a %s and no veth; give ours another name", l.Attrs().Name, l.Type())
	}
	// ENODEV: it went with its peer.
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// joined says whether a and b are the ends of one veth pair.
func joined(a, b netlink.Link) bool {
	return a != nil && b != nil && a.Type() == "veth" && b.Type() == "veth" &&
		a.Attrs().ParentIndex == b.Attrs().Index && b.Attrs().ParentIndex == a.Attrs().Index
}

// adjust sets what differs of MAC address (nil leaves it) and MTU.
func adjust(h *netlink.Handle, l netlink.Link, mac net.HardwareAddr, mtu int) error {
	a := l.Attrs()
	if mac != nil && a.HardwareAddr.String() != mac.String() {
		if err := h.LinkSetHardwareAddr(l, mac); err != nil {
			return fmt.Errorf("set MAC address %s of %s: %w", mac, a.Name, err)
		}
	}
	if a.MTU != mtu {
		if err := h.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("set MTU %d of %s: %w", mtu, a.Name, err)
		}
	}
	return nil
}

// silence keeps the node itself from speaking and from listening on an interface: no answers to ARP for the node's
// addresses, no IPv6, and no IPv4 either. Without an address on the interface there is no way back to any source through
// it, and rp_filter (RFC 3704) drops all that the node would take in or forward: a Vpc's packets, while no program is
// attached yet, and pods' broadcasts, which the userspace datapath leaves to the node too. (SetSlowPath opens the ear of a
// gateway port, when a program watches over it.)
func silence(h *netlink.Handle, l netlink.Link) error {
	name := l.Attrs().Name
	for _, s := range [][2]string{{"addr_gen_mode", "1"}, {"disable_ipv6", "1"}} {
		err := os.WriteFile(sysctl("ipv6/conf", name, s[0]), []byte(s[1]), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6, or an MTU below its 1280
			return fmt.Errorf("set %s of %s: %w", s[0], name, err)
		}
	}
	if err := deafen(name); err != nil {
		return err
	}
	if l.Attrs().RawFlags&unix.IFF_NOARP != 0 {
		return nil
	}
	if err := h.LinkSetARPOff(l); err != nil {
		return fmt.Errorf("turn ARP of %s off: %w", name, err)
	}
	return nil
}

// Features of an interface (ethtool -k) that OVS's userspace datapath can't have: it reads whole frames from a packet
// socket, so checksums and segments must be finished before.
func checksumFeature(name string) bool {
	return strings.HasPrefix(name, "tx-checksum-")
}

func segmentFeature(name string) bool {
	return strings.HasPrefix(name, "tx-") && strings.HasSuffix(name, "-segmentation") || name == "tx-gso-list"
}

func mergeFeature(name string) bool {
	return name == "rx-gro" || name == "rx-gro-list"
}

// turnOff turns features of an interface off, those that it has on.
func turnOff(name string, features ...func(name string) bool) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer e.Close()
	have, err := e.Features(name)
	if err != nil {
		return fmt.Errorf("read features of %s: %w", name, err)
	}
	change := map[string]bool{}
	for feature, on := range have {
		if on && slices.ContainsFunc(features, func(is func(string) bool) bool { return is(feature) }) {
			change[feature] = false
		}
	}
	if len(change) == 0 {
		return nil
	}
	if err := e.Change(name, change); err != nil {
		return fmt.Errorf("turn offloads of %s off: %w", name, err)
	}
	return nil
}

// validateName checks what the kernel would refuse with no more than EINVAL.
func validateName(field, name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/ \t\n") || name == "." || name == ".." {
		return fmt.Errorf("%s: interface name %q: use 1 to %d characters without slash and space", field, name, unix.IFNAMSIZ-1)
	}
	return nil
}

func validateMTU(mtu int) error {
	if mtu < 68 || mtu > 65535 {
		return fmt.Errorf("MTU %d: use 68 (RFC 791) to 65535", mtu)
	}
	return nil
}

func validateMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil {
		return nil, fmt.Errorf("MAC: %w", err)
	}
	if len(mac) != 6 || mac[0]&1 != 0 {
		return nil, fmt.Errorf("MAC %s: use a unicast address of 6 octets", s)
	}
	return mac, nil
}
