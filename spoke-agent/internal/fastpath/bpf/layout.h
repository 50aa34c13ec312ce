// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What lies in the maps. maps.go writes the same bytes: a change here is a new
// layoutVersion there. IPv4 addresses, UDP ports and the VNI of struct prefix are in network
// byte order, all else in the machine's. No structure has padding that a compiler chose.
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#define MAX_ENDPOINTS 16

// underlay is the interface between clusters. vxlan is the kernel's VXLAN device on the same UDP port; 0 is none, and
// then nothing is handed to the kernel.
struct underlay {
	__u32 ifindex;
	__u32 mtu;
	__be32 address;
	__be16 port;
	__u8 mac[6];
	// The interface that encrypts, 0 for none, and what it may be given.
	__u32 tunnel;
	__u32 tunnel_mtu;
	__u32 vxlan;
	// This node's own cluster, whose gateways tombolo_clusters has; 0 is none.
	__u64 own;
	// The UDP port that this node's echoes are sent from, 0 for none.
	__be16 echo;
	// Not 0 while this node answers no echoes, so that others send elsewhere.
	__u8 quiet;
	__u8 unused[5];
};

// delivery is where packets for a VNI go: the gateway port, or ifindex 0 where this node has none. address is this
// node's on the link, the source of its ICMP errors; 0 is none.
struct delivery {
	__u32 ifindex;
	__u8 router_mac[6];
	__u8 gateway_mac[6];
	__u32 mtu;
	__be32 address;
};

// prefix is an IPv4 prefix as the Vpc with this VNI sees it. prefixlen is 32 (the VNI) plus the length.
struct prefix {
	__u32 prefixlen;
	__be32 vni;
	__be32 address;
};

// own says of a prefix that it is no other cluster's.
enum own {
	OWN_ADDRESS = 1, // this node's link address
	OWN_PREFIX,      // a prefix of this cluster within a remote one
};

// remote is the Vpc and cluster that a prefix belongs to, or an enum own.
struct remote {
	__u64 cluster;
	__u32 vni;
	__u32 own;
};

// cluster is another cluster's gateways, whether packets to them must be encrypted, and how long an encapsulated packet
// may be on the way there. The name is for people who read dumps.
struct cluster {
	char name[64];
	__u32 encrypted;
	__u32 mtu;
	__u32 count;
	__be32 endpoints[MAX_ENDPOINTS];
};

// source is the cluster that an outer source belongs to, and the only interface that its packets may come in by: the
// underlay, or the one that decrypts. An interface that is not there has index 0, which none is. own marks a node of
// this cluster, which passes on what other clusters have sent.
struct source {
	__u64 cluster;
	__u32 ifindex;
	__u32 own;
};

enum direction {
	DIRECTION_OUT,
	DIRECTION_IN,
};

// way is how a packet came from, or goes to, its pod.
enum way {
	PATH_GATEWAY, // through the gateway port
	PATH_POD,     // by the pod's own interface
	PATH_NODE,    // on to another node of this cluster
};

// flow is what packets are counted by.
struct flow {
	__u64 cluster;
	__u32 vni;
	__u32 remote_vni;
	__u32 direction;
	__u32 path;
};

struct flow_count {
	__u64 packets;
	__u64 bytes;
};

// MAX_SLOTS is how many flows can be counted by a number: on each CPU 16 bytes each.
#define MAX_SLOTS 16384

// relay is a permission: packets with this VNI may go from one cluster through this node to another.
struct relay {
	__u64 from;
	__u64 to;
	__u32 vni;
	__u32 unused;
};

// endpoint is an address in a Vpc.
struct endpoint {
	__u32 vni;
	__be32 address;
};

// place is where a pod of this cluster is: behind an interface of this node, or, with index 0, on another node.
struct place {
	__u32 ifindex;
	__u32 mtu;
	__u8 mac[6];
	__u8 router_mac[6];
	__be32 node;
};

// pod is whom an interface belongs to, and the other interface that its packets go through: where other is the pod's
// and not the switch's, there are no vni, address and router_mac.
struct pod {
	__u32 vni;
	__be32 address;
	__u8 mac[6];
	__u8 router_mac[6];
	__u32 other;
};

// trie says which of the longest-prefix-match maps something was found in.
enum trie {
	TRIE_REMOTES = 1, // not 0: a slot that nobody has written holds nothing
	TRIE_LOCALS,
	TRIE_TRANSIT,
	LEARNED, // no trie: what tombolo_origins has
};

// cached is an answer of a trie, and the epoch in which it was asked. CPUs write it without a lock: the seal is a hash
// of the question and all the rest, so that what is half one writer's and half another's answers nobody.
struct cached {
	__u64 seal;
	__u64 epoch;
	struct remote remote;
};

// CACHE_BITS: 262144 answers of 32 bytes make 8 MiB.
#define CACHE_BITS 18

enum lookup {
	LOOKUP_HIT,
	LOOKUP_MISS,
	LOOKUPS,
};

// event is the index in tombolo_events: why a packet was dropped, or left to the kernel's slow path. maps.go has their
// names, in this order.
enum event {
	DROP_OTHER_MAC,
	DROP_MALFORMED,
	DROP_NO_ROUTE,
	DROP_NO_ENDPOINT,
	DROP_TOO_BIG,
	DROP_FRAGMENTATION_NEEDED,
	DROP_ENCAPSULATE,
	DROP_UNKNOWN_VNI,
	DROP_UNKNOWN_ENDPOINT,
	DROP_NOT_IPV4,
	DROP_SPOOFED_SOURCE,
	DROP_NOT_LOCAL,
	DROP_GSO_NOT_TCP,
	DROP_CONGESTED,
	DROP_DECAPSULATE,
	DROP_NOT_ENCRYPTED,
	DROP_NOT_VXLAN,
	DROP_NOT_RELAYED,
	DROP_TTL,
	DROP_CHECKSUM,
	DROP_NOT_HERE,
	SLOW_NO_PORT,
	SLOW_NO_ROUTE,
	SLOW_NO_ENDPOINT,
	SLOW_TOO_BIG,
	SLOW_ENCAPSULATE,
	SLOW_GSO_NOT_TCP,
	SLOW_DECAPSULATE,
	SLOW_ROUTER,
	SLOW_ENCRYPTED,
	EVENTS,
};

// sampling is one record per so many packets (0: none), only of those dropped if drops is not 0, until CLOCK_MONOTONIC
// says so many nanoseconds.
struct sampling {
	__u64 until;
	__u32 every;
	__u32 drops;
};

// program is which of them a record comes from.
enum program {
	PROGRAM_OUT,
	PROGRAM_IN,
	PROGRAM_SLOW_IN,
	PROGRAM_POD,
};

// record is what became of a packet: event is why it was dropped or left to the kernel, or EVENTS when it went on. vni
// is the Vpc's here, remote_vni the one's in the other cluster; 0 is not known. Addresses and ports are the inner
// packet's.
struct record {
	__u64 time;
	__u64 cluster;
	__u32 vni;
	__u32 remote_vni;
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 bytes;
	__u32 packets;
	__u8 protocol;
	__u8 program;
	__u8 event;
	__u8 unused;
};

// observation is the record that a CPU is at work on, if sampled is not 0, and how many found no room in the ring.
struct observation {
	struct record record;
	__u64 lost;
	__u32 sampled;
	__u32 unused;
};

// Vpcs have names of two DNS labels.
#define MAX_VPC 128
