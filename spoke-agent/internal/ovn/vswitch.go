// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/vswitchdb"
)

// keyIfaceID is the key of Interface external_ids by which ovn-controller knows the Logical_Switch_Port
// (ovn-controller(8)).
const keyIfaceID = "iface-id"

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
	set  sync.Mutex // one transaction at a time

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

// AddPort makes p a port of bridge and waits until ovs-vswitchd has opened its device. A port that is there already is
// made so; one that is not ours, or is in another bridge, is an error. When the device cannot be opened the rows stay,
// and ovs-vswitchd takes the device when it comes.
func (v *Vswitch) AddPort(ctx context.Context, bridge string, p VswitchPort) error {
	if p.Interface == "" || p.IfaceID == "" || p.Owner == "" {
		return fmt.Errorf("add port %+v: Interface, IfaceID and Owner must be given", p)
	}
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	asked, err := v.addPort(ctx, bridge, p)
	if err == nil {
		err = v.waitOpen(ctx, p.Interface, asked)
	}
	if err != nil {
		return fmt.Errorf("add port %q to bridge %q: %w", p.Interface, bridge, err)
	}
	return nil
}

// addPort writes the rows. asked is the configuration number that ovs-vswitchd has to reach for them to count.
func (v *Vswitch) addPort(ctx context.Context, bridge string, p VswitchPort) (asked int, err error) {
	v.set.Lock()
	defer v.set.Unlock()
	cl, s, err := v.read(ctx)
	if err != nil {
		return 0, err
	}
	br, err := s.bridgeFor(bridge, p.Interface)
	if err != nil {
		return 0, err
	}
	ops := s.addOps(br, p)
	iface := s.interfaces[p.Interface]
	if len(ops) == 0 && iface.Ofport != nil && *iface.Ofport > 0 {
		return s.open.CurCfg, nil
	}
	// Also when only the device is missing: without a new number, ovs-vswitchd does not look again.
	if err := v.conn.transact(ctx, cl, append(ops, s.bumpOp())); err != nil {
		return 0, err
	}
	if _, s, err = v.read(ctx); err != nil {
		return 0, err
	}
	return s.open.NextCfg, nil
}

// waitOpen waits until ovs-vswitchd has realized configuration asked, and has a number or an error for the device.
func (v *Vswitch) waitOpen(ctx context.Context, device string, asked int) error {
	for {
		v.mu.Lock()
		event := v.event
		v.mu.Unlock()
		_, s, err := v.read(ctx)
		if err != nil {
			return err
		}
		iface, there := s.interfaces[device]
		switch {
		case !there:
			return errors.New("it was removed while ovs-vswitchd opened it")
		case s.open.CurCfg < asked:
		case iface.Error != nil && *iface.Error != "":
			return fmt.Errorf("open device: %s", *iface.Error)
		case iface.Ofport != nil && *iface.Ofport > 0:
			return nil
		}
		select {
		case <-event:
		case <-ctx.Done():
			return fmt.Errorf("wait for ovs-vswitchd (configuration %d, now at %d): %w: is it running?", asked, s.open.CurCfg, ctx.Err())
		}
	}
}

// DelPort removes a port of ours from bridge; one that is not there is no error, one that is not ours is. It does not
// wait for ovs-vswitchd: a pod must be removable while that is down.
func (v *Vswitch) DelPort(ctx context.Context, bridge, iface string) error {
	v.set.Lock()
	defer v.set.Unlock()
	cl, s, err := v.read(ctx)
	if err != nil {
		return err
	}
	port, there := s.ports[iface]
	if !there {
		return nil
	}
	br, err := s.bridgeFor(bridge, iface)
	if err == nil {
		ops := []ovsdb.Operation{mutateOp(vswitchdb.BridgeTable, br.UUID, addOrRemove("ports", nil, []string{port.UUID})...)}
		err = v.conn.transact(ctx, cl, append(ops, s.bumpOp()))
	}
	if err != nil {
		return fmt.Errorf("delete port %q from bridge %q: %w", iface, bridge, err)
	}
	return nil
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

// DatapathType of bridge: "system" (also when none is set: the default of Open_vSwitch) or "netdev". Behind "netdev"
// pods need tx checksum offload off: packets leave through AF_PACKET as they are.
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

// vswitchSeen is what the cache holds, by name.
type vswitchSeen struct {
	open       *vswitchdb.OpenvSwitch
	bridges    map[string]*vswitchdb.Bridge
	ports      map[string]*vswitchdb.Port
	interfaces map[string]*vswitchdb.Interface
}

// read waits for a client and reads its cache.
func (v *Vswitch) read(ctx context.Context) (client.Client, vswitchSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	cl, err := v.conn.get(ctx)
	if err != nil {
		return nil, vswitchSeen{}, err
	}
	rows := cl.Cache()
	if rows == nil {
		return nil, vswitchSeen{}, fmt.Errorf("read Open_vSwitch: %w", errDisconnected)
	}
	s := vswitchSeen{
		bridges:    byName(rows, vswitchdb.BridgeTable, func(m *vswitchdb.Bridge) string { return m.Name }),
		ports:      byName(rows, vswitchdb.PortTable, func(m *vswitchdb.Port) string { return m.Name }),
		interfaces: byName(rows, vswitchdb.InterfaceTable, func(m *vswitchdb.Interface) string { return m.Name }),
	}
	for _, m := range rows.Table(vswitchdb.OpenvSwitchTable).RowsShallow() {
		s.open = m.(*vswitchdb.OpenvSwitch)
	}
	if s.open == nil {
		return nil, vswitchSeen{}, errors.New("read Open_vSwitch: it has no Open_vSwitch row: run ovs-vsctl init")
	}
	return cl, s, nil
}

func byName[M model.Model](rows *cache.TableCache, table string, name func(M) string) map[string]M {
	out := map[string]M{}
	for _, m := range rows.Table(table).RowsShallow() {
		out[name(m.(M))] = m.(M)
	}
	return out
}

// bridgeFor finds bridge, and checks that a port called name may be changed in it.
func (s vswitchSeen) bridgeFor(bridge, name string) (*vswitchdb.Bridge, error) {
	br, there := s.bridges[bridge]
	if !there {
		return nil, errNoBridge(bridge)
	}
	port, there := s.ports[name]
	if !there {
		return br, nil
	}
	if port.ExternalIDs[KeyOwner] == "" {
		return nil, fmt.Errorf("port %q is there and is not ours (no external_ids:%s): remove it with ovs-vsctl del-port %s",
			name, KeyOwner, name)
	}
	if !slices.Contains(br.Ports, port.UUID) {
		return nil, fmt.Errorf("port %q is in another bridge: remove it with ovs-vsctl del-port %s", name, name)
	}
	return br, nil
}

func errNoBridge(name string) error {
	return fmt.Errorf("find bridge %q: not in Open_vSwitch: ovn-controller makes br-int when it runs", name)
}

// addOps makes p's rows what they should be; none when they are.
func (s vswitchSeen) addOps(br *vswitchdb.Bridge, p VswitchPort) []ovsdb.Operation {
	portIDs := map[string]string{KeyOwner: p.Owner}
	ifaceIDs := map[string]string{KeyOwner: p.Owner, keyIfaceID: p.IfaceID}
	port, there := s.ports[p.Interface]
	iface := s.interfaces[p.Interface]
	if !there || iface == nil {
		portUUID, ifaceUUID := uuid.NewString(), uuid.NewString()
		return []ovsdb.Operation{
			insertOp(vswitchdb.InterfaceTable, ifaceUUID, map[string]any{"name": p.Interface, "external_ids": ifaceIDs}),
			insertOp(vswitchdb.PortTable, portUUID, map[string]any{
				"name": p.Interface, "interfaces": uuids{ifaceUUID}, "external_ids": portIDs}),
			mutateOp(vswitchdb.BridgeTable, br.UUID, addOrRemove("ports", []string{portUUID}, nil)...),
		}
	}
	var ops []ovsdb.Operation
	if ids, differ := change(port.ExternalIDs, portIDs); differ {
		ops = append(ops, updateOp(vswitchdb.PortTable, port.UUID, map[string]any{"external_ids": ids}))
	}
	// ovn-controller writes keys of its own (ovn-installed) here: change keeps them.
	if ids, differ := change(iface.ExternalIDs, ifaceIDs); differ {
		ops = append(ops, updateOp(vswitchdb.InterfaceTable, iface.UUID, map[string]any{"external_ids": ids}))
	}
	return ops
}

// bumpOp asks ovs-vswitchd to look at the configuration: it answers by setting cur_cfg to the same number.
func (s vswitchSeen) bumpOp() ovsdb.Operation {
	return mutateOp(vswitchdb.OpenvSwitchTable, s.open.UUID, *ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1))
}

func (v *Vswitch) broadcast() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.event)
	v.event = make(chan struct{})
}
