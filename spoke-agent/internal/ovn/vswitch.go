// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/vswitchdb"
)

// applyTimeout is how long AddPort waits for ovs-vswitchd when its context says nothing shorter.
const applyTimeout = 10 * time.Second

// VswitchPort is a Port with its one Interface of the same name.
type VswitchPort struct {
	// Interface is the network device's name.
	Interface string
	// IfaceID is Interface external_ids:iface-id, the name of the Logical_Switch_Port.
	IfaceID string
	// Owner marks the rows (external_ids:tombolo.io/owner): whatever the port was made for.
	Owner string
}

// Vswitch is a connection to a node's Open_vSwitch database.
type Vswitch struct {
	conn *connection

	mu    sync.Mutex
	event chan struct{} // closed and replaced when a row changed
}

// DialVswitch connects to endpoint, usually unix:/run/openvswitch/db.sock. It returns when the database has been read
// once, and keeps the connection until Close.
func DialVswitch(ctx context.Context, endpoint string, log logr.Logger) (*Vswitch, error) {
	endpoints, err := splitEndpoints(endpoint)
	if err != nil {
		return nil, err
	}
	db, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("build model of Open_vSwitch: %w", err)
	}
	v := &Vswitch{event: make(chan struct{})}
	v.conn = &connection{
		log: log.WithName("vswitch"), model: db, schema: vswitchdb.Schema(), endpoints: endpoints,
		event: func(model.Model, model.Model) { v.broadcast() }, rebuilt: v.broadcast,
	}
	if err := v.conn.start(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// Close ends the connection.
func (v *Vswitch) Close() { v.conn.close() }

// AddPort makes p a port of bridge and waits until ovs-vswitchd has opened its device, which must be up. A port that is
// there already is made so; one that is not ours, or is in another bridge, is an error. When the device cannot be
// opened the rows stay, and the next call has ovs-vswitchd look again.
//
// A device that was removed and made again under its name is plugged in anew: with the userspace datapath,
// ovs-vswitchd would go on listening to the old one, and say that all is well.
func (v *Vswitch) AddPort(ctx context.Context, bridge string, p VswitchPort) error {
	if p.Interface == "" || p.IfaceID == "" || p.Owner == "" {
		return fmt.Errorf("add port %+v: Interface, IfaceID and Owner must be given", p)
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if err := v.addPort(ctx, bridge, p); err != nil {
		return fmt.Errorf("add port %q to bridge %q: %w", p.Interface, bridge, err)
	}
	return nil
}

func (v *Vswitch) addPort(ctx context.Context, bridge string, p VswitchPort) error {
	_, s, err := v.read(ctx)
	if err != nil {
		return err
	}
	index := deviceIndex(p.Interface)
	if s.replaced(p.Interface, index) {
		if err := v.delPort(ctx, bridge, p.Interface); err != nil {
			return err
		}
	}
	// A deletion must have been seen before the port comes again: ovs-vswitchd compares by name, and of two changes seen
	// at once none would remain.
	if _, there := s.ports[p.Interface]; !there || s.replaced(p.Interface, index) {
		if err := v.applied(ctx); err != nil {
			return err
		}
	}
	cl, s, err := v.read(ctx)
	if err != nil {
		return err
	}
	br, err := s.bridgeFor(bridge, p.Interface)
	if err != nil {
		return err
	}
	ops := s.addOps(br, p, index)
	if len(ops) > 0 || !s.open(p.Interface) {
		// Also when only the device is missing: without a new number, ovs-vswitchd does not look again.
		if err := v.conn.transact(ctx, cl, append(ops, s.bumpOp())); err != nil {
			return err
		}
		if err := v.applied(ctx); err != nil {
			return err
		}
	}
	return v.opened(ctx, p.Interface)
}

// DelPort removes a port of ours from bridge; one that is not there is no error, one that is not ours is. It does not
// wait for ovs-vswitchd: a pod must be removable while that is down.
func (v *Vswitch) DelPort(ctx context.Context, bridge, iface string) error {
	if err := v.delPort(ctx, bridge, iface); err != nil {
		return fmt.Errorf("delete port %q from bridge %q: %w", iface, bridge, err)
	}
	return nil
}

func (v *Vswitch) delPort(ctx context.Context, bridge, iface string) error {
	cl, s, err := v.read(ctx)
	if err != nil {
		return err
	}
	if _, there := s.ports[iface]; !there {
		return nil
	}
	br, err := s.bridgeFor(bridge, iface)
	if err != nil {
		return err
	}
	return v.conn.transact(ctx, cl, append(s.delOps(br, iface), s.bumpOp()))
}

// Ports are all ports of ours, sorted by Interface.
func (v *Vswitch) Ports(ctx context.Context) ([]VswitchPort, error) {
	_, s, err := v.read(ctx)
	if err != nil {
		return nil, err
	}
	var ports []VswitchPort
	for name, port := range s.ports {
		if owner := port.ExternalIDs[KeyOwner]; owner != "" {
			var ifaceID string
			if iface, there := s.interfaces[name]; there {
				ifaceID = iface.ExternalIDs[keyIfaceID]
			}
			ports = append(ports, VswitchPort{Interface: name, IfaceID: ifaceID, Owner: owner})
		}
	}
	slices.SortFunc(ports, func(a, b VswitchPort) int { return cmp.Compare(a.Interface, b.Interface) })
	return ports, nil
}

// DatapathType of bridge: "system" (also when none is set: the default of Open vSwitch) or "netdev". Behind "netdev"
// pods need tx checksum offload off: their packets pass through AF_PACKET as they are.
func (v *Vswitch) DatapathType(ctx context.Context, bridge string) (string, error) {
	_, s, err := v.read(ctx)
	if err != nil {
		return "", err
	}
	br, there := s.bridges[bridge]
	if !there {
		return "", errNoBridge(bridge)
	}
	return cmp.Or(br.DatapathType, "system"), nil
}

// applied waits until ovs-vswitchd has realized all that is in the database now.
func (v *Vswitch) applied(ctx context.Context) error {
	asked := -1
	return v.wait(ctx, func(s vswitchSeen) (bool, error) {
		if asked < 0 {
			asked = s.root.NextCfg
		}
		return s.root.CurCfg >= asked, nil
	})
}

// opened waits until ovs-vswitchd has opened a device, or says why it cannot.
func (v *Vswitch) opened(ctx context.Context, device string) error {
	return v.wait(ctx, func(s vswitchSeen) (bool, error) {
		iface, there := s.interfaces[device]
		switch {
		case !there:
			return false, errors.New("port was removed meanwhile")
		case iface.Error != nil && *iface.Error != "":
			return false, fmt.Errorf("open device: %s", *iface.Error)
		}
		return s.open(device), nil
	})
}

// wait returns when done says so, and looks again at each change of the database.
func (v *Vswitch) wait(ctx context.Context, done func(vswitchSeen) (bool, error)) error {
	for {
		v.mu.Lock()
		event := v.event
		v.mu.Unlock()
		_, s, err := v.read(ctx)
		if err != nil {
			return err
		}
		if ok, err := done(s); ok || err != nil {
			return err
		}
		select {
		case <-event:
		case <-ctx.Done():
			return fmt.Errorf("wait for ovs-vswitchd (asked for configuration %d, has %d): %w: is it running?",
				s.root.NextCfg, s.root.CurCfg, ctx.Err())
		}
	}
}

// read waits for a client and reads its cache.
func (v *Vswitch) read(ctx context.Context) (client.Client, vswitchSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cl, err := v.conn.get(ctx)
	if err != nil {
		return nil, vswitchSeen{}, err
	}
	s, err := lookVswitch(cl)
	if err != nil {
		return nil, vswitchSeen{}, fmt.Errorf("read Open_vSwitch: %w", err)
	}
	return cl, s, nil
}

func (v *Vswitch) broadcast() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.event)
	v.event = make(chan struct{})
}

// deviceIndex is the index of a network device, 0 when there is none in this network namespace (then AddPort cannot
// tell whether it was made anew). The kernel counts them up, so that a device made anew has another one.
func deviceIndex(name string) int {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	return device.Index
}
