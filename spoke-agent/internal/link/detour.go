// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A detour is a pod's second pair, and what joins it to the first one:
//
//	pod eth0 ═ HostEnd ⇄ SwitchEnd ═ OVSEnd, the port of the integration bridge
//
// Open vSwitch's userspace datapath takes a copy of each packet off its port before any program there sees it; off OVSEnd it can only
// take what came so far. The joint (⇄) is a classic tc filter on each side. The kernel runs tcx programs first, so what they take never comes
// there, and without programs (before the agent has attached them, or when it never does) all packets pass.

// ensureDetour makes the detour exist. The host end must.
func ensureDetour(p PodLink) error {
	h := &netlink.Handle{}
	host, err := h.LinkByName(p.HostEnd)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", p.HostEnd, err)
	}
	near, err := ensureWhole(h, p.detour(), nil)
	if err != nil {
		return err
	}
	return errors.Join(pass(h, host, near), pass(h, near, host))
}

func (p PodLink) detour() Pair {
	return Pair{GatewayEnd: p.SwitchEnd, OVSEnd: p.OVSEnd, MTU: p.MTU}
}

// pass makes everything that arrives on from, and that no program takes, leave by to.
func pass(h *netlink.Handle, from, to netlink.Link) error {
	passes, strays, err := passing(h, from, to)
	if err != nil {
		return err
	}
	for _, f := range strays {
		if err := h.FilterDel(f); err != nil {
			return fmt.Errorf("delete filter of %s: %w", from.Attrs().Name, err)
		}
	}
	if passes {
		return nil
	}
	clsact := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: from.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := h.QdiscAdd(clsact); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make clsact qdisc of %s: %w", from.Attrs().Name, cureFilter(err))
	}
	filter := &netlink.U32{ // without a selector it matches all
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL},
		RedirIndex:  to.Attrs().Index,
	}
	if err := h.FilterAdd(filter); err != nil {
		return fmt.Errorf("pass packets of %s to %s: %w", from.Attrs().Name, to.Attrs().Name, cureFilter(err))
	}
	return nil
}

// passing is whether the filter is there, and those that lead elsewhere, such as to an interface that is no more.
func passing(h *netlink.Handle, from, to netlink.Link) (passes bool, strays []netlink.Filter, err error) {
	filters, err := h.FilterList(from, netlink.HANDLE_MIN_INGRESS)
	if err != nil && !errors.Is(err, unix.EINVAL) { // no qdisc yet
		return false, nil, fmt.Errorf("list filters of %s: %w", from.Attrs().Name, err)
	}
	for _, f := range filters {
		u32, ok := f.(*netlink.U32)
		switch {
		case !ok || len(u32.Actions) == 0: // somebody else's, or the filter's own hash table
		case u32.RedirIndex == to.Attrs().Index:
			passes = true
		default:
			strays = append(strays, f)
		}
	}
	return passes, strays, nil
}

// cureFilter adds to an error of the kernel what a person can do about it.
func cureFilter(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w; the kernel lacks sch_ingress, cls_u32 or act_mirred: load the modules, or start the agent with --direct-path=false", err)
	}
	return err
}

// checkDetour compares the detour with what should be.
func checkDetour(p PodLink) []error {
	h := &netlink.Handle{}
	ends := map[string]netlink.Link{}
	for _, name := range []string{p.HostEnd, p.SwitchEnd, p.OVSEnd} {
		l, err := find(h, name)
		if err != nil {
			return []error{err}
		}
		if l == nil {
			return []error{fmt.Errorf("interface %s is gone", name)}
		}
		ends[name] = l
	}
	host, near, far := ends[p.HostEnd], ends[p.SwitchEnd], ends[p.OVSEnd]
	var errs []error
	if !joined(near, far) {
		errs = append(errs, fmt.Errorf("%s and %s are no pair", p.SwitchEnd, p.OVSEnd))
	}
	for _, l := range []netlink.Link{near, far} {
		if a := l.Attrs(); a.Flags&net.FlagUp == 0 || a.MTU != p.MTU {
			errs = append(errs, fmt.Errorf("%s is down or has MTU %d, want %d", a.Name, a.MTU, p.MTU))
		}
	}
	for _, way := range [][2]netlink.Link{{host, near}, {near, host}} {
		passes, _, err := passing(h, way[0], way[1])
		if err == nil && !passes {
			err = fmt.Errorf("%s passes nothing to %s", way[0].Attrs().Name, way[1].Attrs().Name)
		}
		errs = append(errs, err)
	}
	return errs
}
