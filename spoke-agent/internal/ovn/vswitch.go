// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"context"

	"github.com/go-logr/logr"
)

// VswitchPort is a Port with its one Interface of the same name.
type VswitchPort struct {
	// Interface is the network device's name.
	Interface string
	// IfaceID is Interface external_ids:iface-id, the name of the Logical_Switch_Port.
	IfaceID string
	// Owner marks the rows (external_ids:tombolo.io/owner).
	Owner string
}

// Vswitch is a connection to a node's Open_vSwitch database.
type Vswitch struct{}

// DialVswitch connects to endpoint, usually unix:/run/openvswitch/db.sock.
func DialVswitch(ctx context.Context, endpoint string, log logr.Logger) (*Vswitch, error) {
	return nil, errUnfinished
}

// AddPort adds p to bridge and waits until vswitchd has opened the device.
func (v *Vswitch) AddPort(ctx context.Context, bridge string, p VswitchPort) error {
	return errUnfinished
}

// DelPort removes a port of ours from bridge; one that is not there is no error.
func (v *Vswitch) DelPort(ctx context.Context, bridge, iface string) error { return errUnfinished }

// Ports are all ports of ours, sorted by Interface.
func (v *Vswitch) Ports(ctx context.Context) ([]VswitchPort, error) { return nil, errUnfinished }

// DatapathType of bridge: "system" or "netdev"; behind "netdev" pods need tx checksum offload off.
func (v *Vswitch) DatapathType(ctx context.Context, bridge string) (string, error) {
	return "", errUnfinished
}

// Close ends the connection.
func (v *Vswitch) Close() {}
