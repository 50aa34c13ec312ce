// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ovn is the only importer of libovsdb. It turns plain structs into rows
// of OVN_Northbound (northbound.go) and Open_vSwitch (vswitch.go) and knows no
// Kubernetes kind.
//
//	Desired ──Set──▶ diff against the cache ──▶ ONE transaction (none when nothing changed)
//
// Every row that is ours carries its owner in external_ids; a row is only ever
// found, changed or deleted by owner, never by name.
package ovn
