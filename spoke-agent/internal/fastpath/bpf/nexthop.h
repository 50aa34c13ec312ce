// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// The next hops of outer packets: the kernel's answers, kept for a moment. To ask for each packet costs as much as all
// else that a program does.
#pragma once

#include "packet.h"

#ifndef AF_INET
#define AF_INET 2
#endif

// NEXT_HOP_BITS: 256 answers on each CPU.
#define NEXT_HOP_BITS 8

// NEXT_HOP_TICKS of the kernel's clock are 10 to 100 ms: as long as the kernel's answer is used.
#define NEXT_HOP_TICKS 10

// next_hop is the way from an interface to an endpoint, both of which are its key: it is 0 where nothing is known.
struct next_hop {
	__u64 key;
	__u64 until;
	__u8 to[ETH_ALEN];
	__u8 from[ETH_ALEN];
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1 << NEXT_HOP_BITS);
	__type(key, __u32);
	__type(value, struct next_hop);
} tombolo_next_hops SEC(".maps");

static __always_inline struct next_hop *next_hop_of(__be32 endpoint)
{
	__u32 slot = endpoint * 0x9e3779b1U >> (32 - NEXT_HOP_BITS);

	return bpf_map_lookup_elem(&tombolo_next_hops, &slot);
}

static __always_inline int is_known(const struct next_hop *next, const struct underlay *underlay, __be32 endpoint)
{
	__s64 left = next->until - bpf_jiffies64();

	// One condition, as most packets meet both.
	return ((next->key ^ ((__u64)endpoint << 32 | underlay->ifindex)) | ((__u64)left & 1ULL << 63)) == 0;
}

static __always_inline void write_frame(struct outer *o, const struct next_hop *next)
{
	__builtin_memcpy(o->eth.h_dest, next->to, ETH_ALEN);
	__builtin_memcpy(o->eth.h_source, next->from, ETH_ALEN);
}

// ask_next_hop writes down what the kernel knows. It is not 0 when the kernel does not know the neighbour, or when the
// way is not through the underlay. A function of its own to the verifier: packets seldom go there.
static __noinline int ask_next_hop(void *ctx, const struct underlay *underlay, __be32 endpoint)
{
	struct next_hop *next = next_hop_of(endpoint);
	struct bpf_fib_lookup fib = {
		.family = AF_INET,
		.l4_protocol = IPPROTO_UDP,
		.tot_len = 1, // the way is asked for, not what fits
		.ifindex = underlay->ifindex,
		.ipv4_src = underlay->address,
		.ipv4_dst = endpoint,
	};

	if (!next) // for the verifier
		return -1;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), BPF_FIB_LOOKUP_OUTPUT))
		return -1;
	next->key = (__u64)endpoint << 32 | fib.ifindex;
	__builtin_memcpy(next->to, fib.dmac, ETH_ALEN);
	__builtin_memcpy(next->from, fib.smac, ETH_ALEN);
	next->until = bpf_jiffies64() + NEXT_HOP_TICKS;
	return fib.ifindex ^ underlay->ifindex;
}

// send gives an encapsulated packet to the underlay. Whenever an answer is over, one packet goes the kernel's own way:
// so the kernel knows that the neighbour is in use, and looks after it.
static __always_inline int send(struct __sk_buff *skb, const struct underlay *underlay, __be32 endpoint)
{
	struct next_hop *next = next_hop_of(endpoint);
	struct outer *o = (void *)(long)skb->data;

	if ((void *)(o + 1) > (void *)(long)skb->data_end) // for the verifier
		return TCX_DROP;
	if (next && is_known(next, underlay, endpoint)) {
		write_frame(o, next);
		return bpf_redirect(underlay->ifindex, 0);
	}
	ask_next_hop(skb, underlay, endpoint);
	return bpf_redirect_neigh(underlay->ifindex, NULL, 0, 0);
}
