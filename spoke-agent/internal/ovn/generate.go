// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

// The schemas under schema/ are the tables and columns of OVN's and Open vSwitch's own that this package reads or
// writes, and no others: libovsdb refuses a server that lacks a column of its model, so each column more is a server
// less. Versions of the originals: OVN_Northbound 7.0.0 (OVN 22.12 and 23.03), Open_vSwitch 8.3.1 (OVS 3.1).

//go:generate go tool modelgen -extended -p nbdb -o nbdb schema/ovn-nb.ovsschema
//go:generate go tool modelgen -extended -p vswitchdb -o vswitchdb schema/vswitch.ovsschema
