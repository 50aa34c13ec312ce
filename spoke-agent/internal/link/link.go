// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package link is the only importer of netlink and ethtool: network interfaces of
// the node (gateway ports) and of pods.
package link

import (
	"errors"
	"net/netip"
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

// PodLink is a pod's interface.
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
}

var errUnbuilt = errors.New("link: not built in")

// Ensure makes the pair exist as p says.
func Ensure(p Pair) error { return errUnbuilt }

// Remove deletes the interface name and with it its peer. A missing interface is no error.
func Remove(name string) error { return errUnbuilt }

// List returns the names of this namespace's interfaces that start with prefix, sorted.
func List(prefix string) ([]string, error) { return nil, errUnbuilt }

// Underlay returns name, IPv4 address and MTU of the interface name, or of the default route's when name is empty.
func Underlay(name string) (string, netip.Addr, int, error) { return "", netip.Addr{}, 0, errUnbuilt }

// AddPod makes the pod's interface exist as p says.
func AddPod(p PodLink) error { return errUnbuilt }

// DelPod deletes the interface ifName of the pod and its host end. What is missing already is no error.
func DelPod(netNSPath, ifName string) error { return errUnbuilt }

// CheckPod says what of p is not as it should be.
func CheckPod(p PodLink) error { return errUnbuilt }
