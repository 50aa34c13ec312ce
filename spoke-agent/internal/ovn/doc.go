// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ovn is the only importer of libovsdb. It turns plain structs into rows
// of OVN_Northbound (Northbound) and Open_vSwitch (Vswitch) and knows no
// Kubernetes kind.
//
//	Desired ─validate─▶ want ─▶ plan ◀─ look ◀─ cache      one transaction, or none when nothing changed
//	                              └─▶ operations ─▶ connection ─▶ ovsdb-server
//
// Every row that is ours carries its owner, kind and id in external_ids
// (identity); a row is only ever found, changed or deleted by them, never by
// name. Deleted are the rows of an owner that was removed by name, and rows of
// a desired owner that are not desired any more. Nothing else.
//
// A connection never trusts a cache across a gap: it makes a new client, which
// reads the whole database again through its one monitor.
package ovn
