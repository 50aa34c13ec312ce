// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// The law, on both paths.
#pragma once

#include "cache.h"

// admit is the law of who may send what to whom, on both paths: flow is what an admitted packet counts for.
static __always_inline enum event admit(__u32 vni, const struct source *sender, __be32 from, __be32 to,
					struct flow *flow)
{
	struct remote source = {}, local;
	struct cluster *cluster;

	if (find(TRIE_LOCALS, vni, to, &local))
		return DROP_NOT_LOCAL;
	if (find(TRIE_REMOTES, vni, from, &source) || source.own)
		return DROP_SPOOFED_SOURCE;
	if (!sender->own) {
		if (source.cluster != sender->cluster)
			return DROP_SPOOFED_SOURCE;
	} else {
		// It has held the packet against the law. What was encrypted it gives to OVN, and does not send on.
		cluster = bpf_map_lookup_elem(&tombolo_clusters, &source.cluster);
		if (!cluster || cluster->encrypted)
			return DROP_NOT_ENCRYPTED;
	}
	flow->cluster = source.cluster;
	flow->vni = vni;
	flow->remote_vni = source.vni;
	flow->direction = DIRECTION_IN;
	return ADMITTED;
}
