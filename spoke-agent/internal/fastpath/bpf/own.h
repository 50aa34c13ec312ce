// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What goes on to another node of this cluster: in place, as what is relayed.
#pragma once

#include "pod.h"
#include "relay.h"

// gateway_of is a gateway of this cluster for the packet's flow, or 0 when there is none.
static __always_inline __be32 gateway_of(const struct underlay *underlay, const struct outer *o)
{
	__u64 own = underlay->own;
	struct cluster *cluster = bpf_map_lookup_elem(&tombolo_clusters, &own);

	if (!cluster || !cluster->count)
		return 0;
	// The source port is the flow's hash.
	return choose(cluster, mix(o->udp.source));
}

// is_here says whether a packet can be put into a pod of this node, as it is.
static __always_inline int is_here(const struct place *place, const struct iphdr *ip, __u32 length)
{
	return place && place->ifindex && routine(ip) && length <= place->mtu;
}

// next_node is the node of this cluster that an admitted packet goes on to, or 0: then it is for the gateway port, or
// refused says why not. What another node of the cluster has sent never goes to one again, so nothing goes in circles.
// What came encrypted does not go on in the clear: the gateway port takes it.
static __always_inline __be32 next_node(const struct underlay *underlay, const struct delivery *delivery,
					const struct source *sender, const struct place *place, const struct outer *o,
					const struct iphdr *ip, __u32 length, enum event *refused)
{
	__be32 node = 0;

	if (delivery->ifindex) {
		// All that a router has to look at goes into the port, and what is too big for it is answered there.
		if (!place || sender->own || sender->ifindex != underlay->ifindex || !routine(ip) ||
		    length > delivery->mtu || passable(o) != ADMITTED)
			return 0;
		return place->node;
	}
	*refused = DROP_NOT_HERE;
	if (sender->own || sender->ifindex != underlay->ifindex)
		return 0;
	*refused = passable(o);
	if (*refused != ADMITTED)
		return 0;
	node = gateway_of(underlay, o);
	if (!node)
		*refused = DROP_NO_ENDPOINT;
	return node;
}

// pass sends the packet on in place.
static __always_inline int pass(struct __sk_buff *skb, struct outer *o, const struct underlay *underlay, __be32 node)
{
	rewrite(o, underlay, node);
	return send(skb, underlay, node);
}
