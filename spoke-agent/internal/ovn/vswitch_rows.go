// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/vswitchdb"
)

// Keys of Interface external_ids.
const (
	// keyIfaceID is how ovn-controller knows the Logical_Switch_Port (ovn-controller(8)).
	keyIfaceID = "iface-id"
	// keyIfindex is the index of the device that ovs-vswitchd was last told to open.
	keyIfindex = "tombolo.io/ifindex"
)

// vswitchSeen is what the cache holds, by name.
type vswitchSeen struct {
	root       *vswitchdb.OpenvSwitch
	bridges    map[string]*vswitchdb.Bridge
	ports      map[string]*vswitchdb.Port
	interfaces map[string]*vswitchdb.Interface
}

// lookVswitch reads the whole cache. A database without an Open_vSwitch row is an error.
func lookVswitch(c client.Client) (vswitchSeen, error) {
	rows := c.Cache()
	if rows == nil {
		return vswitchSeen{}, errDisconnected
	}
	s := vswitchSeen{
		bridges:    byName(rows, vswitchdb.BridgeTable, func(m *vswitchdb.Bridge) string { return m.Name }),
		ports:      byName(rows, vswitchdb.PortTable, func(m *vswitchdb.Port) string { return m.Name }),
		interfaces: byName(rows, vswitchdb.InterfaceTable, func(m *vswitchdb.Interface) string { return m.Name }),
	}
	for _, m := range rows.Table(vswitchdb.OpenvSwitchTable).RowsShallow() {
		s.root = m.(*vswitchdb.OpenvSwitch)
	}
	if s.root == nil {
		return s, errors.New("it has no Open_vSwitch row: run ovs-vsctl init")
	}
	return s, nil
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

// open says that ovs-vswitchd has opened a device: it has a number (-1 stands for a failure).
func (s vswitchSeen) open(device string) bool {
	iface := s.interfaces[device]
	return iface != nil && iface.Ofport != nil && *iface.Ofport > 0
}

// replaced says that the device of a port of ours is another than the one which ovs-vswitchd was told to open.
func (s vswitchSeen) replaced(device string, index int) bool {
	iface := s.interfaces[device]
	if iface == nil || index == 0 {
		return false
	}
	known := iface.ExternalIDs[keyIfindex]
	return known != "" && known != strconv.Itoa(index)
}

// addOps makes p's rows what they should be; none when they are. index 0 is not known.
func (s vswitchSeen) addOps(br *vswitchdb.Bridge, p VswitchPort, index int) []ovsdb.Operation {
	portIDs := map[string]string{KeyOwner: p.Owner}
	ifaceIDs := map[string]string{KeyOwner: p.Owner, keyIfaceID: p.IfaceID}
	if index != 0 {
		ifaceIDs[keyIfindex] = strconv.Itoa(index)
	}
	port, iface := s.ports[p.Interface], s.interfaces[p.Interface]
	if port == nil || iface == nil {
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

// delOps takes a port out of its bridge; ovsdb-server then collects it and its interface.
func (s vswitchSeen) delOps(br *vswitchdb.Bridge, name string) []ovsdb.Operation {
	return []ovsdb.Operation{
		mutateOp(vswitchdb.BridgeTable, br.UUID, addOrRemove("ports", nil, []string{s.ports[name].UUID})...),
	}
}

// bumpOp asks ovs-vswitchd to look at the configuration: it answers by setting cur_cfg to the same number.
func (s vswitchSeen) bumpOp() ovsdb.Operation {
	return mutateOp(vswitchdb.OpenvSwitchTable, s.root.UUID, *ovsdb.NewMutation("next_cfg", ovsdb.MutateOperationAdd, 1))
}
