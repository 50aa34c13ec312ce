// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// PodLink is a pod's interface. It goes as JSON from the agent to the plugin, which makes it.
type PodLink struct {
	// NetNSPath is the pod's network namespace, for example /run/netns/x.
	NetNSPath string
	// IfName in the pod, usually eth0; HostEnd is its other end in the node.
	IfName, HostEnd string
	// MAC of the interface in the pod.
	MAC string
	// Address of the pod with the length of its subnet.
	Address netip.Prefix
	// Gateway is the next hop of the default route. The zero Addr means no default route.
	Gateway netip.Addr
	// MTU of both ends, in bytes.
	MTU int
	// DisableTxOffload makes the pod's kernel finish checksums and segments itself, as OVS's userspace datapath needs.
	DisableTxOffload bool
	// SwitchEnd and OVSEnd are a second pair, by which the pod's packets go to the integration bridge and come from there;
	// OVSEnd is the bridge's port. Both empty: HostEnd is. Checksums and segments are finished before a frame leaves SwitchEnd.
	SwitchEnd, OVSEnd string
	// Alias of HostEnd (ip link … alias), by which Aliases finds the pod again; empty leaves what it has.
	Alias string
}

func (p PodLink) validate() (net.HardwareAddr, error) {
	mac, err := validateMAC(p.MAC)
	errs := []error{err, validateName("interface", p.IfName), validateName("host end", p.HostEnd), validateMTU(p.MTU)}
	if !p.Address.IsValid() || !p.Address.Addr().Is4() {
		errs = append(errs, fmt.Errorf("address %s: use an IPv4 address with a length, as 10.0.0.2/16", p.Address))
	}
	if p.Gateway.IsValid() && !p.Gateway.Is4() {
		errs = append(errs, fmt.Errorf("gateway %s: use an IPv4 address", p.Gateway))
	}
	if p.SwitchEnd != "" || p.OVSEnd != "" {
		errs = append(errs, validateName("switch end", p.SwitchEnd), validateName("OVS end", p.OVSEnd))
	}
	return mac, errors.Join(errs...)
}

// pod is an open network namespace of a pod.
type pod struct {
	ns netns.NsHandle
	h  *netlink.Handle
}

func openPod(path string) (*pod, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %s: %w", path, err), ns.Close())
	}
	return &pod{ns: ns, h: h}, nil
}

func (p *pod) close() {
	p.h.Close()
	p.ns.Close()
}

// do runs f on a thread in the pod's namespace: ioctls and /proc/sys know no other way.
func (p *pod) do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := netns.Set(p.ns); err != nil {
			done <- fmt.Errorf("enter network namespace of the pod: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// AddPod makes the pod's interface exist as p says, with its address and default route. An interface that is right
// already stays; one of that name that leads elsewhere is replaced.
func AddPod(p PodLink) error {
	mac, err := p.validate()
	if err != nil {
		return fmt.Errorf("add pod interface: %w", err)
	}
	in, err := openPod(p.NetNSPath)
	if err != nil {
		return fmt.Errorf("add pod interface: %w", err)
	}
	defer in.close()
	eth, host, err := ensurePodVeth(in, p, mac)
	if err != nil {
		return fmt.Errorf("add pod interface: %w", err)
	}
	if err := configureHostEnd(host, p.MTU); err != nil {
		return fmt.Errorf("add pod interface: %w", err)
	}
	if p.SwitchEnd != "" {
		if err := ensureDetour(p); err != nil {
			return fmt.Errorf("add pod interface: %w", err)
		}
	}
	if err := configurePodEnd(in, eth, p, mac); err != nil {
		return fmt.Errorf("add pod interface: %w", err)
	}
	if p.Alias != "" {
		if err := (&netlink.Handle{}).LinkSetAlias(host, p.Alias); err != nil {
			return fmt.Errorf("add pod interface: set alias of %s: %w", p.HostEnd, err)
		}
	}
	return nil
}

func ensurePodVeth(in *pod, p PodLink, mac net.HardwareAddr) (eth, host netlink.Link, err error) {
	node := &netlink.Handle{}
	if eth, err = find(in.h, p.IfName); err != nil {
		return nil, nil, err
	}
	if host, err = find(node, p.HostEnd); err != nil {
		return nil, nil, err
	}
	if joined(eth, host) {
		return eth, host, nil
	}
	if eth != nil {
		if err := removeVeth(in.h, eth); err != nil {
			return nil, nil, err
		}
	}
	if host != nil {
		if err := removeVeth(node, host); err != nil {
			return nil, nil, err
		}
	}
	// The pod's end is made in its namespace: it never has a name in the node's.
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: p.HostEnd, MTU: p.MTU, TxQLen: -1},
		PeerName:         p.IfName,
		PeerHardwareAddr: mac,
		PeerMTU:          uint32(p.MTU),
		PeerNamespace:    netlink.NsFd(in.ns),
	}
	if err := node.LinkAdd(veth); err != nil {
		return nil, nil, fmt.Errorf("make veth %s, %s of the pod: %w", p.HostEnd, p.IfName, err)
	}
	if host, err = node.LinkByName(p.HostEnd); err != nil {
		return nil, nil, fmt.Errorf("find interface %s: %w", p.HostEnd, err)
	}
	if eth, err = in.h.LinkByName(p.IfName); err != nil {
		return nil, nil, fmt.Errorf("find interface %s of the pod: %w", p.IfName, err)
	}
	return eth, host, nil
}

func configureHostEnd(host netlink.Link, mtu int) error {
	h := &netlink.Handle{}
	if err := adjust(h, host, nil, mtu); err != nil {
		return err
	}
	if err := silence(h, host); err != nil {
		return err
	}
	if err := h.LinkSetUp(host); err != nil {
		return fmt.Errorf("set %s up: %w", host.Attrs().Name, err)
	}
	return nil
}

func configurePodEnd(in *pod, eth netlink.Link, p PodLink, mac net.HardwareAddr) error {
	if err := adjust(in.h, eth, mac, p.MTU); err != nil {
		return err
	}
	if p.DisableTxOffload {
		if err := in.do(func() error { return turnOff(p.IfName, checksumFeature, segmentFeature) }); err != nil {
			return err
		}
	}
	if err := in.h.LinkSetUp(eth); err != nil {
		return fmt.Errorf("set %s of the pod up: %w", p.IfName, err)
	}
	if err := setAddress(in.h, eth, p.Address); err != nil {
		return err
	}
	if !p.Gateway.IsValid() {
		return nil
	}
	if err := in.h.RouteReplace(defaultVia(eth, p)); err != nil {
		return fmt.Errorf("set default route of the pod via %s: %w", p.Gateway, err)
	}
	return nil
}

// defaultVia is onlink where the gateway is not in the pod's subnet.
func defaultVia(eth netlink.Link, p PodLink) *netlink.Route {
	r := &netlink.Route{
		LinkIndex: eth.Attrs().Index,
		Dst:       &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		Gw:        p.Gateway.AsSlice(),
	}
	if !p.Address.Contains(p.Gateway) {
		r.Flags = int(netlink.FLAG_ONLINK)
	}
	return r
}

// setAddress makes address the only IPv4 address of the interface.
func setAddress(h *netlink.Handle, eth netlink.Link, address netip.Prefix) error {
	want := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), 32)}
	all, err := h.AddrList(eth, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses of the pod: %w", err)
	}
	for _, a := range all {
		if a.IPNet.String() == want.String() {
			continue
		}
		if err := h.AddrDel(eth, &a); err != nil {
			return fmt.Errorf("delete address %s of the pod: %w", a.IPNet, err)
		}
	}
	if err := h.AddrReplace(eth, &netlink.Addr{IPNet: want}); err != nil {
		return fmt.Errorf("set address %s of the pod: %w", address, err)
	}
	return nil
}

// DelPod deletes the interface ifName of the pod and its host end. What is missing already is no error, the namespace included.
func DelPod(netNSPath, ifName string) error {
	in, err := openPod(netNSPath)
	if errors.Is(err, fs.ErrNotExist) || netNSPath == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete pod interface: %w", err)
	}
	defer in.close()
	eth, err := find(in.h, ifName)
	if err != nil || eth == nil {
		return err
	}
	if err := removeVeth(in.h, eth); err != nil {
		return fmt.Errorf("delete pod interface: %w", err)
	}
	return nil
}

// CheckPod says all that is not as p says.
func CheckPod(p PodLink) error {
	if _, err := os.Stat(p.NetNSPath); err != nil {
		return fmt.Errorf("check pod interface: %w", err)
	}
	in, err := openPod(p.NetNSPath)
	if err != nil {
		return fmt.Errorf("check pod interface: %w", err)
	}
	defer in.close()
	eth, err := find(in.h, p.IfName)
	if err != nil {
		return fmt.Errorf("check pod interface: %w", err)
	}
	host, err := find(&netlink.Handle{}, p.HostEnd)
	if err != nil {
		return fmt.Errorf("check pod interface: %w", err)
	}
	if !joined(eth, host) {
		return fmt.Errorf("check pod interface: %s of the pod and %s of the node are no pair", p.IfName, p.HostEnd)
	}
	errs := append(checkEnds(eth, host, p), checkAddress(in, eth, p)...)
	if p.SwitchEnd != "" {
		errs = append(errs, checkDetour(p)...)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check pod interface: %w", err)
	}
	return nil
}

func checkEnds(eth, host netlink.Link, p PodLink) []error {
	var errs []error
	for _, l := range []netlink.Link{eth, host} {
		if a := l.Attrs(); a.Flags&net.FlagUp == 0 {
			errs = append(errs, fmt.Errorf("%s is down", a.Name))
		}
		if a := l.Attrs(); a.MTU != p.MTU {
			errs = append(errs, fmt.Errorf("%s has MTU %d, want %d", a.Name, a.MTU, p.MTU))
		}
	}
	if mac, err := validateMAC(p.MAC); err != nil || eth.Attrs().HardwareAddr.String() != mac.String() {
		errs = append(errs, fmt.Errorf("%s has MAC address %s, want %s", p.IfName, eth.Attrs().HardwareAddr, p.MAC))
	}
	return errs
}

func checkAddress(in *pod, eth netlink.Link, p PodLink) []error {
	var errs []error
	addresses, err := in.h.AddrList(eth, netlink.FAMILY_V4)
	if err != nil {
		return []error{fmt.Errorf("list addresses of the pod: %w", err)}
	}
	if len(addresses) != 1 || addresses[0].IPNet.String() != p.Address.String() {
		errs = append(errs, fmt.Errorf("%s has addresses %v, want %s", p.IfName, addresses, p.Address))
	}
	if !p.Gateway.IsValid() {
		return errs
	}
	routes, err := in.h.RouteListFiltered(netlink.FAMILY_V4, defaultVia(eth, p), netlink.RT_FILTER_OIF|netlink.RT_FILTER_GW|netlink.RT_FILTER_DST)
	if err != nil {
		return append(errs, fmt.Errorf("list routes of the pod: %w", err))
	}
	if len(routes) == 0 {
		errs = append(errs, fmt.Errorf("the pod has no default route via %s", p.Gateway))
	}
	return errs
}
