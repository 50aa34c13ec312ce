// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// Where the other clusters' pods are, as their packets say: the VXLAN header's 32 reserved bits have the underlay
// address of the node that a packet began at, its origin, or 0.
#pragma once

#include "cache.h"

#define NANOSECONDS 1000000000LL

// FRESH is how long an origin is believed that no packet confirms: a node that died is forgotten by then.
#define FRESH (5 * NANOSECONDS)
// RENEWED is how old an origin may become before a packet that confirms it is written down.
#define RENEWED (1 * NANOSECONDS)

static __always_inline __be32 origin_of(const struct outer *o)
{
	return bpf_htonl(bpf_ntohl(o->vxlan.flags) << 8 | (bpf_ntohl(o->vxlan.vni) & 0xff));
}

static __always_inline void write_vxlan(struct outer *o, __u32 vni, __be32 origin)
{
	o->vxlan.flags = bpf_htonl(VXLAN_FLAG_I | bpf_ntohl(origin) >> 8);
	o->vxlan.vni = bpf_htonl(vni << 8 | (bpf_ntohl(origin) & 0xff));
}

// erase_origin makes a packet one that the kernel's VXLAN device takes: it drops those with reserved bits.
static __always_inline void erase_origin(struct __sk_buff *skb)
{
	__u32 at = sizeof(struct outer) - ETH_HLEN - sizeof(struct vxlan);
	__be32 flags = bpf_htonl(VXLAN_FLAG_I);
	__u8 reserved = 0;

	bpf_skb_store_bytes(skb, at, &flags, sizeof(flags), 0);
	bpf_skb_store_bytes(skb, at + sizeof(struct vxlan) - 1, &reserved, sizeof(reserved), 0);
}

// An origin that was learned, in two words: an answer as the cache has them.
struct learned {
	__u64 origin;
	__u64 since; // of the kernel's coarse monotonic clock, in nanoseconds
};
_Static_assert(sizeof(struct learned) == sizeof(struct remote), "the cache's answers have two words");

static __always_inline __s64 age_of(const struct learned *learned)
{
	// The clock may be one that another CPU has read a little later.
	return bpf_ktime_get_coarse_ns() - learned->since;
}

// origin_for finds the node that has a pod of another cluster. It is not 0 when that is not known (any more).
static __always_inline int origin_for(__u32 vni, __be32 address, __be32 *origin)
{
	__u64 asked = question(LEARNED, vni, address);
	__u32 zero = 0, slot = slot_of(asked);
	struct cached *cached = bpf_map_lookup_elem(&tombolo_origins, &slot);
	volatile __u64 *epoch = bpf_map_lookup_elem(&tombolo_epoch, &zero);
	struct learned learned;

	if (!cached || !epoch) // for the verifier
		return -1;
	if (recall(&cached->seal, asked, *epoch, (__u64 *)&learned) || age_of(&learned) > FRESH)
		return -1;
	*origin = learned.origin;
	return 0;
}

// learn remembers that a pod of a cluster is behind an origin, if that is one of the cluster's senders.
static __always_inline void learn(const struct flow *flow, __be32 address, __be32 origin)
{
	__u64 asked = question(LEARNED, flow->remote_vni, address), now;
	__u32 zero = 0, slot = slot_of(asked);
	struct cached *cached = bpf_map_lookup_elem(&tombolo_origins, &slot);
	volatile __u64 *epoch = bpf_map_lookup_elem(&tombolo_epoch, &zero);
	struct learned learned;
	struct source *sender;

	if (!cached || !epoch) // for the verifier
		return;
	now = *epoch;
	if (!recall(&cached->seal, asked, now, (__u64 *)&learned) && learned.origin == origin &&
	    age_of(&learned) <= RENEWED)
		return;
	// As in find: should the senders change meanwhile, what is written is of an epoch that is over.
	full_barrier();
	sender = bpf_map_lookup_elem(&tombolo_sources, &origin);
	if (!sender || sender->own || sender->cluster != flow->cluster)
		return;
	learned.origin = origin;
	learned.since = bpf_ktime_get_coarse_ns();
	remember(&cached->seal, asked, now, (const __u64 *)&learned);
}
