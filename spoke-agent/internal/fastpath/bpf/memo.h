// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What the maps have said of a pair of addresses, all of it in one place, for the packets that come next. Each CPU has
// its own: programs on tcx run with bottom halves disabled, so nobody else reads or writes a memo meanwhile. As the
// cache, a memo is of an epoch, which ends with any change of any map that it is made from.
#pragma once

#include "cache.h"

// MEMO_BITS: 4096 pairs of addresses each way, 88 bytes at most.
#define MEMO_BITS 12

// MEMO_TICKS of the kernel's clock are 10 to 100 ms: as long an origin is not learned again.
#define MEMO_TICKS 10

// taken is what tombolo_in knows of packets that it puts into a pod of this node.
struct taken {
	__u64 epoch;
	__u32 ifindex;
	__be32 outer;
	__be32 from;
	__be32 to;
	// The origin that was learned, and until when it need not be again.
	__u64 until;
	__be32 origin;
	__u32 slot;
	struct flow flow;
	struct place place;
};

// sent is what tombolo_pod knows of packets whose destination has an origin, but for that: origins have no epoch.
struct sent {
	__u64 epoch;
	__u32 ifindex;
	__be32 from;
	__be32 to;
	__u32 other;
	struct flow flow;
	__u8 router_mac[6];
	__u16 unused;
	// The longest encapsulated packet that the way to the cluster takes.
	__u32 mtu;
	__u32 slot;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << MEMO_BITS);
	__type(key, __u32);
	__type(value, struct taken);
} tombolo_taken SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << MEMO_BITS);
	__type(key, __u32);
	__type(value, struct sent);
} tombolo_sent SEC(".maps");

static __always_inline __u32 memo_of(__be32 from, __be32 to)
{
	return ((__u64)from << 32 | to) * 0x9e3779b97f4a7c15ULL >> (64 - MEMO_BITS);
}

// this_epoch is to be read before the maps are. 0 is none: nothing is remembered then.
static __always_inline __u64 this_epoch(void)
{
	__u32 zero = 0;
	volatile __u64 *epoch = bpf_map_lookup_elem(&tombolo_epoch, &zero);

	if (!epoch) // for the verifier
		return 0;
	return *epoch;
}

static __always_inline struct taken *taken_of(const struct iphdr *ip)
{
	__u32 slot = memo_of(ip->saddr, ip->daddr);

	return bpf_map_lookup_elem(&tombolo_taken, &slot);
}

// recalls says whether a memo is of this packet. One condition, as most packets meet all.
static __always_inline int recalls(const struct taken *taken, __u32 ifindex, __u64 epoch, __u32 vni,
				   const struct outer *o, const struct iphdr *ip)
{
	return ((taken->epoch ^ epoch) | (taken->from ^ ip->saddr) | (taken->to ^ ip->daddr) | (taken->flow.vni ^ vni) |
		(taken->outer ^ o->ip.saddr) | (taken->ifindex ^ ifindex) | (o->inner.h_proto ^ bpf_htons(ETH_P_IP)) |
		(*(const __u8 *)ip ^ IPV4_VERSION_IHL)) == 0;
}

static __always_inline void remember_taken(struct taken *taken, __u32 ifindex, __u64 epoch, const struct outer *o,
					   const struct iphdr *ip, const struct flow *flow, const struct place *place)
{
	taken->epoch = epoch;
	taken->ifindex = ifindex;
	taken->outer = o->ip.saddr;
	taken->from = ip->saddr;
	taken->to = ip->daddr;
	taken->origin = 0;
	taken->flow = *flow;
	taken->slot = slot_of_flow(flow);
	taken->place = *place;
}

// same_pair says whether a memo is of what a pod sends, to the router's MAC address.
static __always_inline int same_pair(const struct sent *sent, __u32 ifindex, __u64 epoch, const struct iphdr *ip)
{
	const __u16 *to = (void *)ip - ETH_HLEN, *router = (const void *)sent->router_mac;

	return ((sent->epoch ^ epoch) | (sent->from ^ ip->saddr) | (sent->to ^ ip->daddr) | (sent->ifindex ^ ifindex) |
		(to[0] ^ router[0]) | (to[1] ^ router[1]) | (to[2] ^ router[2])) == 0;
}

static __always_inline struct sent *sent_of(const struct iphdr *ip)
{
	__u32 slot = memo_of(ip->saddr, ip->daddr);

	return bpf_map_lookup_elem(&tombolo_sent, &slot);
}

static __always_inline void remember_sent(struct sent *sent, __u32 ifindex, __u64 epoch, const struct iphdr *ip,
					  const struct flow *flow, const struct pod *pod, __u32 mtu)
{
	if (!sent) // for the verifier
		return;
	sent->epoch = epoch;
	sent->ifindex = ifindex;
	sent->from = ip->saddr;
	sent->to = ip->daddr;
	sent->flow = *flow;
	sent->slot = slot_of_flow(flow);
	sent->other = pod->other;
	sent->mtu = mtu;
	__builtin_memcpy(sent->router_mac, pod->router_mac, ETH_ALEN);
}
