// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What is put in front of a packet to another cluster.
#pragma once

#include "learn.h"

// REFUSED says that encapsulate has not touched the packet.
#define REFUSED 1

// encapsulate says in the header that the packet began at origin, which is 0 when nobody should learn that.
static __always_inline int encapsulate(struct __sk_buff *skb, const struct underlay *underlay, __be32 endpoint,
				       __u32 vni, __u64 hash, __u8 tos, __be32 origin)
{
	__u32 length = skb->len - ETH_HLEN + OVERHEAD;
	struct outer *o;

	// FIXED_GSO: super-packets stay whole, and the length of their segments stays what the sender chose.
	if (bpf_skb_adjust_room(skb, OVERHEAD, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
					BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH))
		return REFUSED;
	if (pull(skb, sizeof(struct outer))) // for the verifier
		return -1;
	o = (void *)(long)skb->data;
	if ((void *)(o + 1) > (void *)(long)skb->data_end) // for the verifier
		return -1;

	// Longer than the field can say happens to super-packets only: their segments get their own.
	if (length > 0xffff)
		length = 0;
	o->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tos = tos, // RFC 6040: ECN is copied
		.tot_len = bpf_htons(length),
		.frag_off = bpf_htons(IP_DF),
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.saddr = underlay->address,
		.daddr = endpoint,
	};
	o->ip.check = header_checksum((void *)o + ETH_HLEN);
	o->udp.source = bpf_htons(49152 + (hash & 0x3fff)); // RFC 7348 section 5
	o->udp.dest = underlay->port;
	o->udp.len = length ? bpf_htons(length - sizeof(struct iphdr)) : 0;
	o->udp.check = 0;
	write_vxlan(o, vni, origin);
	// Each end knows its own addresses: tombolo_in writes both.
	__builtin_memset(&o->inner, 0, sizeof(o->inner));
	o->inner.h_proto = bpf_htons(ETH_P_IP);
	return 0;
}
