// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vxlanPrefix starts the names of VXLAN devices, so that one of a former port is known as ours.
const vxlanPrefix = "tbx"

// VXLANOverhead is what VXLAN over IPv4 adds to a packet, in bytes (RFC 7348 section 5).
const VXLANOverhead = 50

// Ports that the kernel's tunnel sends from: the dynamic range, as RFC 7348 section 5 recommends.
const (
	lowestSourcePort  = 49152
	highestSourcePort = 65535
)

// VXLAN is the VXLAN device of a gateway. It knows neither VNIs nor endpoints: each packet brings its own.
type VXLAN struct {
	// Port is the UDP port, the same as the fast path's.
	Port uint16
	// Address of this node on the underlay: the outer source.
	Address netip.Addr
	// Underlay is the interface that has Address. The tunnel's MTU is 50 bytes less than its.
	Underlay string
}

// VXLANName is the name of the VXLAN device of a UDP port.
func VXLANName(port uint16) string { return vxlanPrefix + strconv.Itoa(int(port)) }

func (t VXLAN) validate() error {
	if t.Port == 0 {
		return errors.New("UDP port is 0; VXLAN's is 4789")
	}
	if !t.Address.Is4() {
		return fmt.Errorf("address %s: use this node's IPv4 address on %s", t.Address, t.Underlay)
	}
	return nil
}

// EnsureVXLAN makes the VXLAN device exist. A new one is down, and has no socket: SetSlowPath sets it up, after somebody
// has attached to it what looks at the packets that come out of it.
func EnsureVXLAN(t VXLAN) error {
	if err := t.validate(); err != nil {
		return fmt.Errorf("ensure VXLAN device: %w", err)
	}
	if err := ensureVXLAN(&netlink.Handle{}, t); err != nil {
		return fmt.Errorf("ensure VXLAN device: %w", err)
	}
	return nil
}

func ensureVXLAN(h *netlink.Handle, t VXLAN) error {
	name := VXLANName(t.Port)
	under, err := h.LinkByName(t.Underlay)
	if err != nil {
		return fmt.Errorf("find underlay %q: %w", t.Underlay, err)
	}
	mtu := under.Attrs().MTU - VXLANOverhead
	l, err := find(h, name)
	if err != nil {
		return err
	}
	if l != nil && !isVXLAN(l, t.Port) {
		if err := removeVXLAN(h, l); err != nil {
			return err
		}
		l = nil
	}
	if l == nil {
		vxlan := &netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, TxQLen: -1},
			Port:      int(t.Port), FlowBased: true, PortLow: lowestSourcePort, PortHigh: highestSourcePort,
		}
		if err := h.LinkAdd(vxlan); err != nil {
			return fmt.Errorf("make VXLAN device %s: %w", name, cureVXLAN(err, t.Port))
		}
		if l, err = h.LinkByName(name); err != nil {
			return fmt.Errorf("find interface %s: %w", name, err)
		}
	}
	if err := adjust(h, l, nil, mtu); err != nil {
		return err
	}
	return silence(h, l)
}

func isVXLAN(l netlink.Link, port uint16) bool {
	v, ok := l.(*netlink.Vxlan)
	return ok && v.FlowBased && v.Port == int(port)
}

// removeVXLAN deletes nothing but VXLAN devices, as removeVeth nothing but veth pairs.
func removeVXLAN(h *netlink.Handle, l netlink.Link) error {
	if l.Type() != "vxlan" {
		return fmt.Errorf("delete interface %s: it is a %s and no vxlan; give ours another name", l.Attrs().Name, l.Type())
	}
	if err := h.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete interface %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// removeVXLANsBut deletes the VXLAN devices of all ports but one's.
func removeVXLANsBut(h *netlink.Handle, keep string) error {
	all, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var errs []error
	for _, l := range all {
		name := l.Attrs().Name
		if l.Type() == "vxlan" && strings.HasPrefix(name, vxlanPrefix) && name != keep {
			errs = append(errs, removeVXLAN(h, l))
		}
	}
	return errors.Join(errs...)
}

// cureVXLAN adds to an error of the kernel what a person can do about it.
func cureVXLAN(err error, port uint16) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return Kind(fmt.Errorf("%w; the kernel lacks VXLAN or lightweight tunnels: load the module vxlan, or use a kernel with "+
			"CONFIG_VXLAN and CONFIG_LWTUNNEL, on gateway nodes", err), ErrKernelLacks)
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EADDRINUSE):
		return Kind(fmt.Errorf("%w; something else on this node has UDP port %d (ss -ulnp; ip -d link show type vxlan): move it to another port", err, port), ErrPortOccupied)
	}
	return err
}
