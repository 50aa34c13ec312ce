// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What is put in front of a packet to another cluster.
#pragma once

#include "learn.h"
#include "slow.h"

// age takes one off the TTL, for the router that the packet does not meet (RFC 1624, equation 3). TTL is the first
// octet of its word.
static __always_inline void age(struct iphdr *ip)
{
	__u32 sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->ttl << 8) + bpf_htons((ip->ttl - 1) << 8);

	ip->check = ~fold(sum);
	ip->ttl--;
}

// REFUSED says that encapsulate has not touched the packet.
#define REFUSED 1

// encapsulate says in the header that the packet begins at this node, if it does: then it has not met its router.
static __always_inline int encapsulate(struct __sk_buff *skb, const struct underlay *underlay, __be32 endpoint,
				       __u32 vni, __u64 hash, __u8 tos, int begins)
{
	__u32 length = skb->len - ETH_HLEN + OVERHEAD;
	struct outer *o;
	struct iphdr *ip;

	// FIXED_GSO: super-packets stay whole, and the length of their segments stays what the sender chose.
	if (bpf_skb_adjust_room(skb, OVERHEAD, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
					BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH))
		return REFUSED;
	if (pull(skb, sizeof(*o) + sizeof(*ip))) // for the verifier
		return -1;
	o = (void *)(long)skb->data;
	ip = (void *)(o + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end) // for the verifier
		return -1;
	if (begins)
		age(ip);

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
	write_vxlan(o, vni, begins ? underlay->address : 0);
	// Each end knows its own addresses: tombolo_in writes both.
	__builtin_memset(&o->inner, 0, sizeof(o->inner));
	o->inner.h_proto = bpf_htons(ETH_P_IP);
	return 0;
}
