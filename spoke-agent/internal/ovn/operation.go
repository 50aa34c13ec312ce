// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// uuids is a set of references to rows.
type uuids []string

// valueOf turns a column's value into OVSDB's notation (RFC 7047, section 5.1).
func valueOf(v any) any {
	switch v := v.(type) {
	case []string:
		set := ovsdb.OvsSet{GoSet: make([]any, 0, len(v))}
		for _, s := range v {
			set.GoSet = append(set.GoSet, s)
		}
		return set
	case uuids:
		set := ovsdb.OvsSet{GoSet: make([]any, 0, len(v))}
		for _, s := range v {
			set.GoSet = append(set.GoSet, ovsdb.UUID{GoUUID: s})
		}
		return set
	case map[string]string:
		m := ovsdb.OvsMap{GoMap: make(map[any]any, len(v))}
		for key, value := range v {
			m.GoMap[key] = value
		}
		return m
	case string, int:
		return v
	}
	panic(fmt.Sprintf("ovn: no OVSDB notation for %T", v)) // Only this package's own code chooses types.
}

func rowValues(columns map[string]any) ovsdb.Row {
	r := make(ovsdb.Row, len(columns))
	for name, v := range columns {
		r[name] = valueOf(v)
	}
	return r
}

func byUUID(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: uuid})}
}

func insertOp(table, uuid string, columns map[string]any) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, UUID: uuid, Row: rowValues(columns)}
}

func updateOp(table, uuid string, columns map[string]any) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationUpdate, Table: table, Where: byUUID(uuid), Row: rowValues(columns)}
}

func deleteOp(table, uuid string) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationDelete, Table: table, Where: byUUID(uuid)}
}

func deleteOwnedOp(table, owner string) ovsdb.Operation {
	owned := ovsdb.NewCondition("external_ids", ovsdb.ConditionIncludes, valueOf(map[string]string{KeyOwner: owner}))
	return ovsdb.Operation{Op: ovsdb.OperationDelete, Table: table, Where: []ovsdb.Condition{owned}}
}

func mutateOp(table, uuid string, mutations ...ovsdb.Mutation) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: table, Where: byUUID(uuid), Mutations: mutations}
}

// addOrRemove are the mutations that put references into a column and take others out.
func addOrRemove(column string, add, remove []string) []ovsdb.Mutation {
	var m []ovsdb.Mutation
	if len(remove) > 0 {
		m = append(m, *ovsdb.NewMutation(column, ovsdb.MutateOperationDelete, valueOf(uuids(remove))))
	}
	if len(add) > 0 {
		m = append(m, *ovsdb.NewMutation(column, ovsdb.MutateOperationInsert, valueOf(uuids(add))))
	}
	return m
}

// waitAbsentOp makes the transaction fail when a row of that name has come since the cache was read. It asks "the rows
// called name are not just {name}", because libovsdb leaves an empty rows member out and ovsdb-server wants one.
func waitAbsentOp(table, name string) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Timeout: new(0),
		Where:   []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)},
		Columns: []string{"name"}, Until: string(ovsdb.WaitConditionNotEqual), Rows: []ovsdb.Row{{"name": name}},
	}
}
