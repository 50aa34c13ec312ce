// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AddWireGuard makes an interface of the kernel's WireGuard, unless it is there. The error is errors.ErrUnsupported when
// the kernel has no WireGuard.
func AddWireGuard(name string) error {
	if err := validateName("tunnel", name); err != nil {
		return fmt.Errorf("make WireGuard interface: %w", err)
	}
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name}})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("make WireGuard interface %s: %w", name, errors.ErrUnsupported)
	case !errors.Is(err, unix.EEXIST):
		return fmt.Errorf("make WireGuard interface %s: %w", name, err)
	}
	l, err := find(&netlink.Handle{}, name)
	if err != nil {
		return err
	}
	if l != nil && l.Type() != "wireguard" {
		return fmt.Errorf("make WireGuard interface %s: there is a %s of that name; remove it, or give the tunnel another name", name, l.Type())
	}
	return nil
}

// EnsureTunnel makes the interface that encrypts ready: up, of that MTU in bytes, without addresses. It takes packets
// from the other gateways' addresses although routes to them lead elsewhere, and so has no reverse path filter; WireGuard
// itself holds every peer to its address.
func EnsureTunnel(name string, mtu int) error {
	if err := errors.Join(validateName("tunnel", name), validateMTU(mtu)); err != nil {
		return fmt.Errorf("ensure tunnel: %w", err)
	}
	h := &netlink.Handle{}
	l, err := find(h, name)
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("ensure tunnel: no interface %s", name)
	}
	if err := adjust(h, l, nil, mtu); err != nil {
		return fmt.Errorf("ensure tunnel: %w", err)
	}
	for path, value := range map[string]string{"ipv6/conf/" + name + "/disable_ipv6": "1", "ipv4/conf/" + name + "/rp_filter": "0"} {
		err := os.WriteFile(sysctl(path), []byte(value), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("ensure tunnel: set %s: %w", path, err)
		}
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("ensure tunnel: set %s up: %w", name, err)
	}
	return nil
}

// RemoveTunnel deletes what EnsureTunnel made ready, and what Guard made. A missing interface is no error.
func RemoveTunnel(name string) error {
	h := &netlink.Handle{}
	if err := removeGuard(h); err != nil {
		return err
	}
	l, err := find(h, name)
	if err != nil || l == nil {
		return err
	}
	if l.Type() != "wireguard" && l.Type() != "tuntap" {
		return fmt.Errorf("delete interface %s: it is a %s and no tunnel; give ours another name", name, l.Type())
	}
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %s: %w", name, err)
	}
	return nil
}
