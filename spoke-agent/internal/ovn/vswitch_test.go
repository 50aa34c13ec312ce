// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/ovntest"
)

// These tests run a real ovsdb-server, and a real ovs-vswitchd in a network namespace of its own (root).

func dialVswitch(t *testing.T, endpoint string) *Vswitch {
	t.Helper()
	v, err := DialVswitch(t.Context(), endpoint, testr.New(t))
	must(t, err)
	t.Cleanup(v.Close)
	return v
}

func mustPorts(t *testing.T, v *Vswitch) []VswitchPort {
	t.Helper()
	ports, err := v.Ports(t.Context())
	must(t, err)
	return ports
}

func TestVswitchPorts(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int")
	v := dialVswitch(t, node.DB.Endpoint)
	node.IP(t, "link", "add", "tbo100", "type", "veth", "peer", "name", "tbg100")
	p := VswitchPort{Interface: "tbo100", IfaceID: "gw-demo.vpc-1:node-a", Owner: "uid-vpc-1"}

	start := time.Now()
	must(t, v.AddPort(t.Context(), "br-int", p))
	t.Logf("AddPort took %v", time.Since(start).Round(time.Millisecond))
	if got := node.VSCtl(t, "get", "interface", "tbo100", "ofport"); strings.HasPrefix(got, "-1") || strings.HasPrefix(got, "[]") {
		t.Errorf("after AddPort the ofport is %s, want one", got)
	}
	if got := node.VSCtl(t, "iface-to-br", "tbo100"); got != "br-int\n" {
		t.Errorf("the port is in bridge %q, want br-int", got)
	}

	size := node.DB.Size(t)
	must(t, v.AddPort(t.Context(), "br-int", p))
	if got := node.DB.Size(t); got != size {
		t.Errorf("a second AddPort made the file %d bytes longer", got-size)
	}

	node.VSCtl(t, "set", "interface", "tbo100", "external_ids:ovn-installed=true")
	p.IfaceID, p.Owner = "gw-demo.vpc-2:node-a", "uid-vpc-2"
	must(t, v.AddPort(t.Context(), "br-int", p))
	if diff := cmp.Diff([]VswitchPort{p}, mustPorts(t, v)); diff != "" {
		t.Errorf("ports after a change of iface-id (-want +got):\n%s", diff)
	}
	if got := node.VSCtl(t, "get", "interface", "tbo100", "external_ids:ovn-installed"); got != "\"true\"\n" {
		t.Errorf("ovn-controller's key ovn-installed is %q, want it kept", got)
	}

	must(t, v.DelPort(t.Context(), "br-int", "tbo100"))
	must(t, v.DelPort(t.Context(), "br-int", "tbo100"))
	if got := node.VSCtl(t, "list-ports", "br-int"); got != "" {
		t.Errorf("ports after DelPort: %q, want none", got)
	}
	if got := mustPorts(t, v); len(got) != 0 {
		t.Errorf("ports of ours after DelPort: %v, want none", got)
	}
}

// TestVswitchDevice: without a device the error says so, and when the device comes the same call succeeds.
func TestVswitchDevice(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int")
	v := dialVswitch(t, node.DB.Endpoint)
	p := VswitchPort{Interface: "tbo100", IfaceID: "gw", Owner: "uid"}
	err := v.AddPort(t.Context(), "br-int", p)
	if err == nil || !strings.Contains(err.Error(), `add port "tbo100" to bridge "br-int": open device: could not open network device tbo100 (No such device)`) {
		t.Errorf("without the device: error %v", err)
	}
	node.IP(t, "link", "add", "tbo100", "type", "veth", "peer", "name", "tbg100")
	must(t, v.AddPort(t.Context(), "br-int", p))
}

// TestVswitchDeviceMadeAnew: the pair of devices went and came again under its name. ovs-vswitchd's userspace datapath
// goes on with the old device and reports no error; after AddPort packets arrive again.
func TestVswitchDeviceMadeAnew(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int")
	v := dialVswitch(t, node.DB.Endpoint)
	p := VswitchPort{Interface: "tbo100", IfaceID: "gw", Owner: "uid"}
	add := func() {
		var err error
		node.Inside(t, func() { err = v.AddPort(t.Context(), "br-int", p) })
		must(t, err)
	}
	plug := func() {
		node.IP(t, "link", "add", "tbo100", "up", "type", "veth", "peer", "name", "tbg100")
		node.IP(t, "link", "set", "tbg100", "up")
		node.IP(t, "addr", "add", "10.9.9.1/24", "dev", "tbg100")
		add()
	}
	arrives := func() bool {
		before := node.Received(t)
		node.Send(t, "tbg100")
		return node.Received(t) != before
	}
	plug()
	ovntest.Eventually(t, "packets from the device", arrives)
	node.IP(t, "link", "del", "tbo100")
	plug()
	ovntest.Eventually(t, "packets from the new device", arrives)

	size := node.DB.Size(t)
	add()
	if got := node.DB.Size(t); got != size {
		t.Errorf("AddPort with the same device made the file %d bytes longer", got-size)
	}
}

func TestVswitchRefuses(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int", "br-other")
	v := dialVswitch(t, node.DB.Endpoint)
	node.IP(t, "link", "add", "theirs", "type", "veth", "peer", "name", "theirs-peer")
	node.VSCtl(t, "add-port", "br-int", "theirs")

	tests := map[string]struct {
		reason string
		do     func() error
		want   string
	}{
		"NoBridge": {
			reason: "the bridge is ovn-controller's to make",
			do: func() error {
				return v.AddPort(t.Context(), "br-none", VswitchPort{Interface: "x", IfaceID: "i", Owner: "o"})
			},
			want: `add port "x" to bridge "br-none": find bridge "br-none": not in Open_vSwitch: ovn-controller makes br-int when it runs`,
		},
		"AddForeign": {
			reason: "a port of the administrator is not made ours",
			do: func() error {
				return v.AddPort(t.Context(), "br-int", VswitchPort{Interface: "theirs", IfaceID: "i", Owner: "o"})
			},
			want: `add port "theirs" to bridge "br-int": port "theirs" is there and is not ours (no external_ids:tombolo.io/owner): ` +
				`remove it with ovs-vsctl del-port theirs`,
		},
		"DelForeign": {
			reason: "nor removed",
			do:     func() error { return v.DelPort(t.Context(), "br-int", "theirs") },
			want: `delete port "theirs" from bridge "br-int": port "theirs" is there and is not ours (no external_ids:tombolo.io/owner): ` +
				`remove it with ovs-vsctl del-port theirs`,
		},
		"NoOwner": {
			reason: "a port without an owner would never be found again",
			do: func() error {
				return v.AddPort(t.Context(), "br-int", VswitchPort{Interface: "x", IfaceID: "i"})
			},
			want: `add port {Interface:x IfaceID:i Owner:}: Interface, IfaceID and Owner must be given`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := tc.do()
			if err == nil {
				t.Fatalf("%s: no error", tc.reason)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("%s: error (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	if got := node.VSCtl(t, "list-ports", "br-int"); got != "theirs\n" {
		t.Errorf("ports of br-int: %q, want only theirs", got)
	}
}

func TestVswitchDatapathType(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int")
	node.VSCtl(t, "--no-wait", "add-br", "br-plain")
	v := dialVswitch(t, node.DB.Endpoint)
	for bridge, want := range map[string]string{"br-int": "netdev", "br-plain": "system"} {
		if got, err := v.DatapathType(t.Context(), bridge); err != nil || got != want {
			t.Errorf("datapath type of %s is %q (error %v), want %q", bridge, got, err, want)
		}
	}
	if _, err := v.DatapathType(t.Context(), "br-none"); err == nil {
		t.Error("a bridge that is not there has a datapath type")
	}
}

// TestVswitchDaemonAway: AddPort says what it waits for, and a port can be removed.
func TestVswitchDaemonAway(t *testing.T) {
	node := ovntest.StartVswitch(t, "br-int")
	v := dialVswitch(t, node.DB.Endpoint)
	node.IP(t, "link", "add", "tbo100", "type", "veth", "peer", "name", "tbg100")
	must(t, v.AddPort(t.Context(), "br-int", VswitchPort{Interface: "tbo100", IfaceID: "gw", Owner: "uid"}))
	node.StopDaemon()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := v.AddPort(ctx, "br-int", VswitchPort{Interface: "tbo100", IfaceID: "other", Owner: "uid"})
	if err == nil || !strings.Contains(err.Error(), "wait for ovs-vswitchd") || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("AddPort without ovs-vswitchd: error %v", err)
	}
	must(t, v.DelPort(t.Context(), "br-int", "tbo100"))
	if got := mustPorts(t, v); len(got) != 0 {
		t.Errorf("ports %v, want none", got)
	}
}
