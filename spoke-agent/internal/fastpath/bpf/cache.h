// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// A cache in front of the longest-prefix-match maps, whose cost grows with the number of prefixes.
#pragma once

#include "packet.h"

static __always_inline void count_lookup(enum lookup lookup)
{
	__u64 *count = bpf_map_lookup_elem(&tombolo_lookups, &lookup);

	if (count) // for the verifier
		*count += 1;
}

// full_barrier orders what is read before it and what is read after it, on every machine: an atomic operation that returns
// the old value is a full barrier (Documentation/atomic_t.txt of the kernel).
static __always_inline void full_barrier(void)
{
	__u64 word = 0;

	asm volatile("" ::"r"(__sync_fetch_and_or(&word, 0)));
}

static __always_inline void *longest_match(enum trie trie, const struct prefix *key)
{
	switch (trie) {
	case TRIE_REMOTES:
		return bpf_map_lookup_elem(&tombolo_remotes, key);
	case TRIE_LOCALS:
		return bpf_map_lookup_elem(&tombolo_locals, key);
	default:
		return bpf_map_lookup_elem(&tombolo_transit, key);
	}
}

// slot_of spreads keys by the high bits of a product (Knuth, The Art of Computer Programming 3, 6.4).
static __always_inline __u32 slot_of(__u32 trie_vni, __be32 address)
{
	return ((__u64)trie_vni << 32 | address) * 0x9e3779b97f4a7c15ULL >> (64 - CACHE_BITS);
}

// find is the longest match of (VNI, address) in a trie, from the cache if the answer is of this epoch. It is not 0 when
// there is none. to gets the answer, and may be NULL for tombolo_locals, which has none but yes.
static __always_inline int find(enum trie trie, __u32 vni, __be32 address, struct remote *to)
{
	__u32 zero = 0, trie_vni = trie << 24 | vni, slot = slot_of(trie_vni, address);
	struct cached *cached = bpf_map_lookup_elem(&tombolo_cache, &slot);
	volatile __u64 *epoch = bpf_map_lookup_elem(&tombolo_epoch, &zero);
	struct prefix key = { .prefixlen = 64, .vni = bpf_htonl(vni), .address = address };
	struct remote *found;
	__u64 asked;

	if (!cached || !epoch) // for the verifier
		return -1;
	asked = *epoch;
	if (cached->trie_vni == trie_vni && cached->address == address && cached->epoch == asked) {
		count_lookup(LOOKUP_HIT);
		if (to)
			*to = cached->remote;
		return 0;
	}
	count_lookup(LOOKUP_MISS);
	// The epoch was read before the trie is: should the trie change meanwhile, the answer is of an epoch that is over.
	full_barrier();
	found = longest_match(trie, &key);
	if (!found)
		return -1;
	cached->trie_vni = trie_vni;
	cached->address = address;
	cached->epoch = asked;
	if (to) {
		cached->remote = *found;
		*to = *found;
	}
	return 0;
}
