// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// Pair is the veth pair of a gateway port. Both ends are in the node's own network namespace.
type Pair struct {
	// GatewayEnd carries the eBPF, for example tbg100; OVSEnd is the port of the integration bridge, tbo100.
	GatewayEnd, OVSEnd string
	// MAC of the gateway end, for example 0a:58:a9:fe:00:02.
	MAC string
	// MTU of both ends, in bytes.
	MTU int
}

func (p Pair) validate() (net.HardwareAddr, error) {
	mac, err := validateMAC(p.MAC)
	return mac, errors.Join(err, validateName("gateway end", p.GatewayEnd), validateName("OVS end", p.OVSEnd), validateMTU(p.MTU))
}

// Ensure makes the pair exist as p says: both ends up, without addresses, ARP and IPv6; checksums and segments finished
// before a frame leaves the gateway end. A pair that is whole already keeps its ends, and so what is attached to them.
func Ensure(p Pair) error {
	mac, err := p.validate()
	if err != nil {
		return fmt.Errorf("ensure gateway port: %w", err)
	}
	if _, err := ensureWhole(&netlink.Handle{}, p, mac); err != nil {
		return fmt.Errorf("ensure gateway port: %w", err)
	}
	return nil
}

// ensureWhole does it, and returns the near end. A nil mac leaves the one that it has.
func ensureWhole(h *netlink.Handle, p Pair, mac net.HardwareAddr) (netlink.Link, error) {
	gw, ovs, err := ensurePair(h, p, mac)
	if err != nil {
		return nil, err
	}
	if err := adjust(h, gw, mac, p.MTU); err != nil {
		return nil, err
	}
	if err := adjust(h, ovs, nil, p.MTU); err != nil {
		return nil, err
	}
	if err := turnOff(p.GatewayEnd, checksumFeature, segmentFeature); err != nil {
		return nil, err
	}
	if err := turnOff(p.OVSEnd, checksumFeature, mergeFeature); err != nil {
		return nil, err
	}
	for _, l := range []netlink.Link{gw, ovs} {
		if err := silence(h, l); err != nil {
			return nil, err
		}
		if err := h.LinkSetUp(l); err != nil {
			return nil, fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
		}
	}
	return gw, nil
}

// ensurePair returns both ends, of the pair that is there or of a new one. What is left of half a pair goes first.
func ensurePair(h *netlink.Handle, p Pair, mac net.HardwareAddr) (gw, ovs netlink.Link, err error) {
	if gw, err = find(h, p.GatewayEnd); err != nil {
		return nil, nil, err
	}
	if ovs, err = find(h, p.OVSEnd); err != nil {
		return nil, nil, err
	}
	if joined(gw, ovs) {
		return gw, ovs, nil
	}
	for _, l := range []netlink.Link{gw, ovs} {
		if l == nil {
			continue
		}
		if err := removeVeth(h, l); err != nil {
			return nil, nil, err
		}
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: p.GatewayEnd, HardwareAddr: mac, MTU: p.MTU, TxQLen: -1},
		PeerName:  p.OVSEnd,
		PeerMTU:   uint32(p.MTU),
	}
	if err := h.LinkAdd(veth); err != nil {
		return nil, nil, fmt.Errorf("make veth %s, %s: %w", p.GatewayEnd, p.OVSEnd, err)
	}
	if gw, err = h.LinkByName(p.GatewayEnd); err != nil {
		return nil, nil, fmt.Errorf("find interface %s: %w", p.GatewayEnd, err)
	}
	if ovs, err = h.LinkByName(p.OVSEnd); err != nil {
		return nil, nil, fmt.Errorf("find interface %s: %w", p.OVSEnd, err)
	}
	return gw, ovs, nil
}
