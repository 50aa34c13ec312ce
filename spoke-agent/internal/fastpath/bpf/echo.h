// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// Echo in the tunnel: gateways ask each other, by the very packets that carry the Vpcs', how long a round trip takes,
// how many are lost, and how large they may be. The agent asks from a UDP socket; the program of the other end answers.
#pragma once

#include "packet.h"

// An echo is a VXLAN packet with VNI 0, which is no Vpc's, around an Ethernet frame of a type that is left to
// experiments (IEEE 802 EtherType 1). The last octets of the frame's addresses say what it is: a request is to 1 from
// 2, and its answer, by having them swapped, the other way round.
#define ECHO_ETHERTYPE 0x88b5
#define ECHO_ASKED 1
#define ECHO_ASKING 2

// answer sends a request back where it came from, as it came and never longer. What is no request, such as an answer,
// is dropped, so nothing is sent back twice; so are requests while the node is quiet. UDP's checksum stays what it was:
// its words only change places.
static __always_inline int answer(struct __sk_buff *skb, struct outer *o, const struct underlay *underlay)
{
	__u8 *asked = &o->inner.h_dest[ETH_ALEN - 1], *asking = &o->inner.h_source[ETH_ALEN - 1];
	__be32 from = o->ip.saddr;
	__be16 port = o->udp.source;

	if (o->inner.h_proto != bpf_htons(ECHO_ETHERTYPE) || *asked != ECHO_ASKED || *asking != ECHO_ASKING)
		return drop(DROP_NOT_IPV4);
	if (underlay->quiet)
		return drop(DROP_NOT_HERE);
	*asked = ECHO_ASKING;
	*asking = ECHO_ASKED;
	o->udp.source = o->udp.dest;
	o->udp.dest = port;
	o->ip.saddr = o->ip.daddr;
	o->ip.daddr = from;
	o->ip.frag_off = bpf_htons(IP_DF);
	o->ip.ttl = 64;
	o->ip.check = header_checksum((void *)o + ETH_HLEN);
	// The tunnel is of layer 3: the kernel takes the outer Ethernet header off again.
	if (skb->ifindex != underlay->ifindex)
		return bpf_redirect(skb->ifindex, 0);
	return bpf_redirect_neigh(underlay->ifindex, NULL, 0, 0);
}

// answered is true for UDP from another gateway's port to the one that this node asks from.
static __always_inline int answered(const struct underlay *underlay, const struct udphdr *udp)
{
	return udp->source == underlay->port && udp->dest == underlay->echo;
}
