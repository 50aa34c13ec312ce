// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fastpath is the only importer of cilium/ebpf: the packets between
// clusters.
//
//	OVN router ─▶ gateway port ─▶ [tombolo_out] ─▶ VXLAN over the underlay ─▶ [tombolo_in] ─▶ gateway port ─▶ OVN router
//
// tombolo_out (tcx ingress of a gateway port) finds (Vpc, destination) in a
// longest-prefix-match map, takes an endpoint of that cluster by flow hash and
// encapsulates. tombolo_in (tcx ingress of the underlay) takes only packets of a
// known endpoint, for a known VNI, whose inner source lies in a prefix that the
// hub gave THAT cluster and whose inner destination lies in this cluster; the
// rest is dropped and counted by reason. Maps and links are pinned: an agent
// restart loses no packet.
package fastpath
