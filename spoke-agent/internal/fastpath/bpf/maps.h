// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// The maps. layout.h says what lies in them.
#pragma once

#include "layout.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct underlay);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_underlay SEC(".maps");

// Interface index of a gateway port → VNI of its Vpc.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_ports SEC(".maps");

// VNI → gateway port and the two MAC addresses on it.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct delivery);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_vnis SEC(".maps");

// Where packets of a Vpc go, and who may send from there.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct prefix);
	__type(value, struct remote);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_remotes SEC(".maps");

// What may be delivered into a Vpc here.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct prefix);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_locals SEC(".maps");

// Cluster id → its gateways.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct cluster);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_clusters SEC(".maps");

// Outer source address → cluster, and how its packets come in.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __be32);
	__type(value, struct source);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_sources SEC(".maps");

// Entries are made by the agent: a packet never creates one.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct flow);
	__type(value, struct flow_count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_flows SEC(".maps");

// The numbers of flows whose packets memos are made of: to find a flow by its number costs a fraction of what it costs
// to find it by what it is. 0 is none.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SLOTS);
	__type(key, struct flow);
	__type(value, __u32);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_slots SEC(".maps");

// What was counted by number, beside tombolo_flows.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_SLOTS);
	__type(key, __u32);
	__type(value, struct flow_count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, enum event);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_events SEC(".maps");

// Which cluster has a prefix, for packets that only pass this node.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct prefix);
	__type(value, struct remote);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_transit SEC(".maps");

// Who may send through this node to whom, and how much it was. Without an entry nothing passes.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct relay);
	__type(value, struct flow_count);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_relays SEC(".maps");

// The agent adds one after each change of a trie: what was cached before is then not used any more.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_epoch SEC(".maps");

// No hash map: the kernel gives elements of an LRU hash map to new keys while a program may still read the old one, and
// that could send a packet to another Vpc. An array's element is also found without a call, in one cache line.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << CACHE_BITS);
	__type(key, __u32);
	__type(value, struct cached);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_cache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOOKUPS);
	__type(key, enum lookup);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_lookups SEC(".maps");

// Interface index of a pod, or of the switch's end of its second pair → the pod.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct pod);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_pods SEC(".maps");

// Where the pods of this cluster are: this node's, and on a gateway the other nodes'.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct endpoint);
	__type(value, struct place);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_places SEC(".maps");

// Where the pods of other clusters are, as their packets say. An array for the reasons of tombolo_cache.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << CACHE_BITS);
	__type(key, __u32);
	__type(value, struct cached);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_origins SEC(".maps");

// Who wants records writes this, and again and again for as long as they are wanted.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sampling);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_sampling SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct observation);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_observation SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_records SEC(".maps");

// VNI → namespace/name of its Vpc, zero-terminated, for people who read records. No program asks.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, char[MAX_VPC]);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} tombolo_names SEC(".maps");
