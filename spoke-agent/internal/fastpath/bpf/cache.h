// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// A cache in front of the longest-prefix-match maps, whose cost grows with the number of prefixes.
#pragma once

#include "packet.h"

static __always_inline void count_lookup(enum lookup lookup)
{
	__u64 *count = bpf_map_lookup_elem(&tombolo_lookups, &lookup);

	if (count) // for the verifier
		*count += 1;
}

// full_barrier orders what is read before it and what is read after it, on every machine: an atomic operation that
// returns the old value is a full barrier (Documentation/atomic_t.txt of the kernel).
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

// question is what an answer is for: the trie in the octet that a VNI leaves free, the VNI and the address.
static __always_inline __u64 question(enum trie trie, __u32 vni, __be32 address)
{
	return (__u64)trie << 56 | (__u64)vni << 32 | address;
}

// slot_of spreads questions by the high bits of a product (Knuth, The Art of Computer Programming 3, 6.4).
static __always_inline __u32 slot_of(__u64 question)
{
	return question * 0x9e3779b97f4a7c15ULL >> (64 - CACHE_BITS);
}

static __always_inline __u64 seal(__u64 question, __u64 epoch, const __u64 *answer)
{
	return question ^ ((epoch * 0xff51afd7ed558ccdULL + answer[0]) * 0xc4ceb9fe1a85ec53ULL + answer[1]);
}

_Static_assert(sizeof(struct remote) == 2 * sizeof(__u64), "an answer is read and written in two words");

// recall takes the answer from its slot if it is of this epoch. Each word is read once, as other CPUs may write.
static __always_inline int recall(volatile __u64 *slot, __u64 question, __u64 epoch, __u64 *answer)
{
	__u64 sealed = slot[0];

	if (slot[1] != epoch)
		return -1;
	answer[0] = slot[2];
	answer[1] = slot[3];
	return sealed != seal(question, epoch, answer);
}

static __always_inline void remember(volatile __u64 *slot, __u64 question, __u64 epoch, const __u64 *answer)
{
	slot[0] = seal(question, epoch, answer);
	slot[1] = epoch;
	slot[2] = answer[0];
	slot[3] = answer[1];
}

// find is the longest match of (VNI, address) in a trie, from the cache if the answer is of this epoch. It is not 0
// when there is none. tombolo_locals has no answer but yes.
static __always_inline int find(enum trie trie, __u32 vni, __be32 address, struct remote *to)
{
	struct prefix key = {.prefixlen = 64, .vni = bpf_htonl(vni), .address = address};
	__u64 asked = question(trie, vni, address), now;
	__u32 zero = 0, slot = slot_of(asked);
	struct cached *cached = bpf_map_lookup_elem(&tombolo_cache, &slot);
	volatile __u64 *epoch = bpf_map_lookup_elem(&tombolo_epoch, &zero);
	struct remote *found;

	if (!cached || !epoch) // for the verifier
		return -1;
	now = *epoch;
	if (!recall(&cached->seal, asked, now, (__u64 *)to)) {
		count_lookup(LOOKUP_HIT);
		return 0;
	}
	count_lookup(LOOKUP_MISS);
	// The epoch was read before the trie is: should the trie change meanwhile, the answer is of an epoch that is
	// over.
	full_barrier();
	found = longest_match(trie, &key);
	if (!found)
		return -1;
	*to = (struct remote){};
	if (trie != TRIE_LOCALS)
		*to = *found;
	remember(&cached->seal, asked, now, (const __u64 *)to);
	return 0;
}
