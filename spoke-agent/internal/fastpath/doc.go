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
//
//	Config ──validate──▶ compile ──▶ fill maps ─▶ attach, replace programs ─▶ detach ─▶ delete what is left over
//
// What the programs can't do they leave to the kernel's routing, when Config names a
// VXLAN device (package link makes it, and the routes): packets to fragment,
// destinations that a map misses, super-packets of UDP. tombolo_slow_in (tcx ingress
// of that device) holds what comes back against the same law. The ICMP error that a
// sender has to get, fragmentation needed, the programs make themselves. See
// docs/decisions/0008.
//
// What Config.Relays allows passes from one cluster to another: tombolo_in, or
// tombolo_xdp before it, rewrites the outer header in place. Longest matches are
// cached until an epoch ends, which Set ends after each change.
//
// Config.Pods send by themselves: tombolo_pod encapsulates what they send to other clusters,
// and tombolo_in puts what comes into their namespaces. See docs/decisions/0011.
//
//	bpf/layout.h   what lies in the maps; maps.go writes the same bytes
//	bpf/maps.h     the maps
//	bpf/gateway.c  tombolo_out, tombolo_in and tombolo_in_tunnel
//	bpf/admit.h    the law of who may send what to whom
//	bpf/slow_in.h  tombolo_slow_in
//	bpf/slow.h     what goes to the kernel, and ICMP
//	bpf/relay.h    what only passes, and tombolo_xdp
//	bpf/cache.h    longest matches
//	bpf/memo.h     what the maps say of a pair of addresses
//	bpf/nexthop.h  next hops, for a moment
//	bpf/pod.h      tombolo_pod and tombolo_switch
//	bpf/learn.h    where other clusters' pods are
//	bpf/own.h      what goes on to another node of the cluster
//	bpf/encap.h    the outer header
//	bpf/echo.h     the answer to package tunnelprobe
//	bpf/record.h   flow records, for records.go
//	pins.go        where everything is pinned, and how programs are replaced
package fastpath
