// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"net"
	"strings"
	"testing"
)

// TestOccupiedPort: the port is somebody else's. It stays theirs, and when they leave it the slow path comes.
func TestOccupiedPort(t *testing.T) {
	ns := slowNode(t)
	var socket net.PacketConn
	for name, tc := range map[string]struct {
		reason       string
		take, giveUp func(t *testing.T)
	}{
		"socket": {
			reason: "a program listens",
			take: func(t *testing.T) {
				ns.MustDo(t, func() (err error) { socket, err = net.ListenPacket("udp4", "0.0.0.0:4789"); return err })
			},
			giveUp: func(*testing.T) { socket.Close() },
		},
		"VXLAN device": {
			reason: "another network has its own VNI on it",
			take:   func(t *testing.T) { ns.IP(t, "link add flannel.1 up type vxlan id 1 dstport 4789 dev ul0") },
			giveUp: func(t *testing.T) { ns.IP(t, "link del flannel.1") },
		},
		"external VXLAN device": {
			reason: "Open vSwitch has a VXLAN port of the kernel's",
			take:   func(t *testing.T) { ns.IP(t, "link add vxlan_sys_4789 up type vxlan external dstport 4789") },
			giveUp: func(t *testing.T) { ns.IP(t, "link del vxlan_sys_4789") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.take(t)
			before := all(t, ns)
			err := ns.Do(func() error {
				if err := EnsureVXLAN(storySlowPath().VXLAN); err != nil {
					return err
				}
				return SetSlowPath(storySlowPath())
			})
			if !errors.Is(err, ErrPortOccupied) || !strings.Contains(err.Error(), "something else on this node has UDP port 4789") {
				t.Errorf("%s: error is %v", tc.reason, err)
			}
			if after := all(t, ns); after != before {
				t.Errorf("%s: routing is\n%s\nwas\n%s", tc.reason, after, before)
			}
			tc.giveUp(t)
			setSlow(t, ns, storySlowPath())
			ns.MustDo(t, RemoveSlowPath)
		})
	}
}

// TestReversePathFilter: the filter is on for all interfaces.
func TestReversePathFilter(t *testing.T) {
	ns := slowNode(t)
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	if err := ns.Do(func() error { return SetSlowPath(storySlowPath()) }); !errors.Is(err, ErrReversePathFilter) {
		t.Errorf("error is %v", err)
	}
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "0")
	setSlow(t, ns, storySlowPath())
}
