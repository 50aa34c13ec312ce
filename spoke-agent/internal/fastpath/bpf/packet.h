// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What both directions need to know of a packet.
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

// Verdicts of tcx (linux/bpf.h since 6.6).
#define TCX_NEXT -1
#define TCX_DROP 2
#define TCX_REDIRECT 7

#define IP_DF 0x4000
#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IPV4_VERSION_IHL 0x45

#define ECN_MASK 3
#define ECN_CE 3

// VXLAN, RFC 7348 section 5. The I flag is bit 3 of the first octet.
#define VXLAN_FLAG_I 0x08000000
struct vxlan {
	__be32 flags;
	__be32 vni;
};

// outer is all that lies before the inner IPv4 header.
struct outer {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct vxlan vxlan;
	struct ethhdr inner;
} __attribute__((packed));

// OVERHEAD is what encapsulation adds to an IPv4 packet, in bytes.
#define OVERHEAD (sizeof(struct outer) - sizeof(struct ethhdr))
_Static_assert(OVERHEAD == 50, "RFC 7348 over IPv4");

// ADMITTED is no event: why a packet is not refused.
#define ADMITTED EVENTS

// note_event tells the record of this packet, should there be one, what became of it.
static __always_inline void note_event(enum event event)
{
	__u32 zero = 0;
	struct observation *now = bpf_map_lookup_elem(&tombolo_observation, &zero);

	if (now) // for the verifier
		now->record.event = event;
}

static __always_inline void count_event(enum event event)
{
	__u64 *count = bpf_map_lookup_elem(&tombolo_events, &event);

	if (count) // for the verifier
		*count += 1;
	note_event(event);
}

static __always_inline int drop(enum event reason)
{
	count_event(reason);
	return TCX_DROP;
}

static __always_inline void count_flow(const struct flow *flow, __u64 packets, __u64 bytes)
{
	struct flow_count *count = bpf_map_lookup_elem(&tombolo_flows, flow);

	if (!count)
		return;
	count->packets += packets;
	count->bytes += bytes;
}

// slot_of_flow is the number of a flow, or 0.
static __always_inline __u32 slot_of_flow(const struct flow *flow)
{
	__u32 *slot = bpf_map_lookup_elem(&tombolo_slots, flow);

	return slot ? *slot : 0;
}

// count_slot is count_flow for a flow with a number; without one it is not 0.
static __always_inline int count_slot(__u32 slot, __u64 packets, __u64 bytes)
{
	struct flow_count *count = slot ? bpf_map_lookup_elem(&tombolo_counts, &slot) : NULL;

	if (!count)
		return -1;
	count->packets += packets;
	count->bytes += bytes;
	return 0;
}

// untagged_ipv4 is false for a VLAN's IPv4 too: the kernel has taken the tag off the frame, and keeps it beside it.
static __always_inline int untagged_ipv4(const struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IP) && !skb->vlan_present;
}

// pull makes the first len bytes readable and writable through data and data_end.
static __always_inline int pull(struct __sk_buff *skb, __u32 len)
{
	if ((void *)(long)skb->data + len <= (void *)(long)skb->data_end)
		return 0;
	return bpf_skb_pull_data(skb, len);
}

// ip_header is the IPv4 header behind an Ethernet header, or NULL when there is none.
static __always_inline struct iphdr *ip_header(struct __sk_buff *skb)
{
	struct iphdr *ip;

	if (pull(skb, ETH_HLEN + sizeof(*ip)))
		return NULL;
	ip = (void *)(long)skb->data + ETH_HLEN;
	if ((void *)(ip + 1) > (void *)(long)skb->data_end) // for the verifier
		return NULL;
	return ip->version == 4 && ip->ihl >= 5 ? ip : NULL;
}

static __always_inline __u64 mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

// flow_hash is equal for all packets of a flow: 5-tuple, or 3-tuple where there are no ports to read, as in fragments.
// The kernel's own skb hash costs ten times as much when no device has set it, and differs between fragments.
static __always_inline __u64 flow_hash(struct __sk_buff *skb, const struct iphdr *ip, int whole)
{
	__u64 h = mix((__u64)ip->saddr << 32 | ip->daddr);
	__u32 ports = 0;

	if ((ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP) && whole)
		// A packet too short for ports leaves them zero.
		bpf_skb_load_bytes(skb, ETH_HLEN + ip->ihl * 4, &ports, sizeof(ports));
	return mix(h + ((__u64)ports << 8 | ip->protocol));
}

// wire_length is the longest packet that leaves an skb whose IPv4 header lies at offset: a super-packet counts as one
// of its segments. It is 0 when the headers can't be read.
static __always_inline __u32 wire_length(struct __sk_buff *skb, const struct iphdr *ip, __u32 offset)
{
	__u32 network = ip->ihl * 4, transport = sizeof(struct udphdr);
	__u8 data; // data offset of TCP, RFC 9293 section 3.1

	if (!skb->gso_size)
		return skb->len - offset;
	if (ip->protocol == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, offset + network + 12, &data, sizeof(data)))
			return 0;
		transport = (data >> 4) * 4;
	}
	return network + transport + skb->gso_size;
}

static __always_inline __u16 header_checksum(const __u16 *words)
{
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 10; i++)
		if (i != 5)
			sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// congestion makes the inner header say what a router between the clusters marked (RFC 6040 section 4.2).
static __always_inline int congestion(__u8 outer_tos, struct iphdr *ip)
{
	__u32 sum;

	if ((outer_tos & ECN_MASK) != ECN_CE || (ip->tos & ECN_MASK) == ECN_CE)
		return 0;
	if (!(ip->tos & ECN_MASK))
		return -1;
	// RFC 1624, equation 3. TOS is the low octet of the header's first word.
	sum = (__u16)~bpf_ntohs(ip->check) + (__u16)~ip->tos + (ip->tos | ECN_CE);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = bpf_htons(~sum);
	ip->tos |= ECN_CE;
	return 0;
}

// choose gives one endpoint to all packets of a flow. The cluster has at least one.
static __always_inline __be32 choose(const struct cluster *cluster, __u64 hash)
{
	__u32 index = (hash >> 32) * cluster->count >> 32;

	return cluster->endpoints[index & (MAX_ENDPOINTS - 1)];
}

static __always_inline int same_mac(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}
