// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"errors"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// row is a row of OVN_Northbound as far as we manage it, seen or wanted.
type row struct {
	identity
	table string
	uuid  string
	// name is the column of that name; "" in tables without one.
	name string
	// columns by name: string, []string (a set) or map[string]string.
	columns map[string]any
	// children are the UUIDs in the columns that hold the rows of other tables alive.
	children map[string][]string
	// dynamicAddresses and up of a Logical_Switch_Port: OVN writes them, we only read.
	dynamicAddresses string
	up               bool
}

// isRoot says that the row lives without being referenced (isRoot in the schema).
func (r *row) isRoot() bool {
	return r.table == nbdb.LogicalRouterTable || r.table == nbdb.LogicalSwitchTable
}

// place is where a row of ours is looked for.
type place struct {
	table string
	identity
}

// seen is what the cache holds.
type seen struct {
	// ours are the rows with our marks, of any owner, by UUID.
	ours map[string]*row
	// places are the same rows, one for each place. A person may have copied a row: see add.
	places map[place]*row
	// named are all rows with a name, ours or not: table, then name.
	named map[string]map[string][]*row
}

// look reads the whole cache. A database without an NB_Global row is an error: nothing in it may be trusted, an absence
// least of all.
func look(c client.Client) (seen, error) {
	s := seen{ours: map[string]*row{}, places: map[place]*row{}, named: map[string]map[string][]*row{}}
	cache := c.Cache()
	if cache == nil {
		return s, errDisconnected
	}
	if cache.Table(nbdb.NBGlobalTable).Len() == 0 {
		return s, errors.New("it has no NB_Global row, so what else is missing in it cannot be told: " +
			"start ovn-northd, or run ovn-nbctl init")
	}
	for _, table := range cache.Tables() {
		for _, m := range cache.Table(table).RowsShallow() {
			if r, external := rowOf(m); r.table != "" {
				s.add(&r, external)
			}
		}
	}
	return s, nil
}

func (s *seen) add(r *row, externalIDs map[string]string) {
	id, ours := identityOf(externalIDs)
	r.identity = id
	if r.name != "" {
		if s.named[r.table] == nil {
			s.named[r.table] = map[string][]*row{}
		}
		s.named[r.table][r.name] = append(s.named[r.table][r.name], r)
	}
	if !ours {
		return
	}
	s.ours[r.uuid] = r
	at := place{r.table, id}
	// Of two, the one with the UUID that we would have given counts; of others, the lower one, so that it is always the
	// same one. The rest is then not wanted by anybody.
	other, twice := s.places[at]
	if !twice || r.uuid == id.uuid() || other.uuid != id.uuid() && r.uuid < other.uuid {
		s.places[at] = r
	}
}

// roots are the rows that may have children.
func (s seen) roots() map[string]*row {
	roots := map[string]*row{}
	for uuid, r := range s.ours {
		if r.isRoot() {
			roots[uuid] = r
		}
	}
	return roots
}

// rowOf turns a model into a row, and returns its external_ids. Rows of tables that we only watch give an empty row.
func rowOf(m model.Model) (row, map[string]string) {
	switch m := m.(type) {
	case *nbdb.LogicalRouter:
		return row{
			table: nbdb.LogicalRouterTable, uuid: m.UUID, name: m.Name,
			columns:  map[string]any{"name": m.Name, "options": m.Options, "external_ids": m.ExternalIDs},
			children: map[string][]string{"ports": m.Ports, "static_routes": m.StaticRoutes},
		}, m.ExternalIDs
	case *nbdb.LogicalRouterPort:
		return row{
			table: nbdb.LogicalRouterPortTable, uuid: m.UUID, name: m.Name,
			columns: map[string]any{"name": m.Name, "mac": m.MAC, "networks": m.Networks, "peer": optional(m.Peer),
				"external_ids": m.ExternalIDs},
		}, m.ExternalIDs
	case *nbdb.LogicalRouterStaticRoute:
		return row{
			table: nbdb.LogicalRouterStaticRouteTable, uuid: m.UUID,
			columns: map[string]any{"ip_prefix": m.IPPrefix, "nexthop": m.Nexthop, "policy": optional(m.Policy),
				"route_table": m.RouteTable, "external_ids": m.ExternalIDs},
		}, m.ExternalIDs
	case *nbdb.LogicalSwitch:
		return row{
			table: nbdb.LogicalSwitchTable, uuid: m.UUID, name: m.Name,
			columns:  map[string]any{"name": m.Name, "other_config": m.OtherConfig, "external_ids": m.ExternalIDs},
			children: map[string][]string{"ports": m.Ports},
		}, m.ExternalIDs
	case *nbdb.LogicalSwitchPort:
		r := row{
			table: nbdb.LogicalSwitchPortTable, uuid: m.UUID, name: m.Name, up: m.Up != nil && *m.Up,
			columns: map[string]any{"name": m.Name, "type": m.Type, "options": m.Options, "addresses": m.Addresses,
				"port_security": m.PortSecurity, "external_ids": m.ExternalIDs},
		}
		if m.DynamicAddresses != nil {
			r.dynamicAddresses = *m.DynamicAddresses
		}
		return r, m.ExternalIDs
	}
	return row{}, nil
}

// optional turns an optional column into the set of at most one that OVSDB says it is.
func optional[T ~*string](v T) []string {
	if v == nil {
		return nil
	}
	return []string{*v}
}
