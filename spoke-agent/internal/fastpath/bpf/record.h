// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// Flow records: what became of one packet in N, for people who look. What a record says of the packet is read before
// the program changes it, by functions of their own: while nobody looks, a packet costs two looks at one word.
#pragma once

#include "packet.h"

// wanted_records is how many packets one record stands for, or 0 when nobody wants any.
static __always_inline __u32 wanted_records(void)
{
	__u32 zero = 0;
	struct sampling *sampling = bpf_map_lookup_elem(&tombolo_sampling, &zero);

	if (!sampling) // for the verifier
		return 0;
	return sampling->every;
}

// observation is what this CPU is at work on.
static __always_inline struct observation *observation(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&tombolo_observation, &zero);
}

// sampled starts a record for one packet in N, while the one who wants records is there, and says whether it did.
static __always_inline int sampled(struct observation *now)
{
	__u32 zero = 0;
	struct sampling *sampling = bpf_map_lookup_elem(&tombolo_sampling, &zero);

	if (!sampling) // for the verifier
		return 0;
	now->sampled = 0;
	if ((__u64)bpf_get_prandom_u32() * sampling->every >> 32)
		return 0;
	now->record = (struct record){.time = bpf_ktime_get_ns(), .event = EVENTS};
	return now->record.time < sampling->until;
}

// describe_inner reads the inner packet at offset, as far as there is one, and its record is one that counts.
static __always_inline void describe_inner(struct __sk_buff *skb, __u32 offset, struct observation *now)
{
	struct record *record = &now->record;
	struct iphdr ip;
	__be16 ports[2];

	now->sampled = 1;
	record->packets = skb->gso_segs ?: 1;
	record->bytes = skb->len - offset;
	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4)
		return;
	record->source = ip.saddr;
	record->destination = ip.daddr;
	record->protocol = ip.protocol;
	if ((ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP) || ip.frag_off & bpf_htons(IP_OFFSET))
		return;
	if (bpf_skb_load_bytes(skb, offset + ip.ihl * 4, ports, sizeof(ports)))
		return;
	record->source_port = ports[0];
	record->destination_port = ports[1];
}

// describe_sender fills in whose packet it is that came from another cluster.
static __always_inline void describe_sender(struct record *record, __be32 outer)
{
	struct prefix key = {.prefixlen = 64, .vni = bpf_htonl(record->vni), .address = record->source};
	struct source *sender = bpf_map_lookup_elem(&tombolo_sources, &outer);
	struct remote *remote;

	if (!sender)
		return;
	record->cluster = sender->cluster;
	remote = bpf_map_lookup_elem(&tombolo_remotes, &key);
	if (!remote)
		return;
	// An own node passes on what others have sent. Else, with another cluster's prefix, the source is forged, and
	// nobody knows the Vpc.
	if (sender->own)
		record->cluster = remote->cluster;
	if (record->cluster == remote->cluster)
		record->remote_vni = remote->vni;
}

// describe_way fills in where a packet goes that has the VNI already; it is not 0 when that is no other cluster.
static __always_inline int describe_way(struct record *record)
{
	struct prefix key = {.prefixlen = 64, .vni = bpf_htonl(record->vni), .address = record->destination};
	struct remote *remote = bpf_map_lookup_elem(&tombolo_remotes, &key);

	if (!remote || remote->own)
		return -1;
	record->cluster = remote->cluster;
	record->remote_vni = remote->vni;
	return 0;
}

// sample_out describes what a Vpc's router sends.
__noinline int sample_out(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	__u32 *vni = bpf_map_lookup_elem(&tombolo_ports, &ifindex);
	struct observation *now = observation();

	if (!now) // for the verifier
		return 0;
	if (!sampled(now) || !vni)
		return 0;
	describe_inner(skb, ETH_HLEN, now);
	now->record.program = PROGRAM_OUT;
	now->record.vni = *vni;
	describe_way(&now->record);
	return 0;
}

// sample_pod describes what a pod sends to another cluster by way of the router. All else goes where it always did.
__noinline int sample_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct pod *pod = bpf_map_lookup_elem(&tombolo_pods, &ifindex);
	struct observation *now = observation();
	struct ethhdr eth;

	if (!now) // for the verifier
		return 0;
	if (!sampled(now) || !pod)
		return 0;
	describe_inner(skb, ETH_HLEN, now);
	now->record.program = PROGRAM_POD;
	now->record.vni = pod->vni;
	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth))) // for the verifier
		return 0;
	if (describe_way(&now->record) || now->record.source != pod->address || !same_mac(eth.h_dest, pod->router_mac))
		now->sampled = 0;
	return 0;
}

// sample_in describes what comes in encapsulated; what does not look so is none of ours.
__noinline int sample_in(struct __sk_buff *skb)
{
	struct observation *now = observation();
	struct {
		__be32 vni;
		struct ethhdr inner;
	} __attribute__((packed)) end;
	struct iphdr ip;

	if (!now) // for the verifier
		return 0;
	if (!sampled(now))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || *(__u8 *)&ip != IPV4_VERSION_IHL)
		return 0;
	if (bpf_skb_load_bytes(skb, __builtin_offsetof(struct outer, vxlan.vni), &end, sizeof(end)))
		return 0;
	now->record.vni = bpf_ntohl(end.vni) >> 8;
	if (!now->record.vni)
		return 0; // an echo
	describe_inner(skb, sizeof(struct outer), now);
	now->record.program = PROGRAM_IN;
	describe_sender(&now->record, ip.saddr);
	return 0;
}

// sample_slow_in describes what comes out of the kernel's VXLAN device.
__noinline int sample_slow_in(struct __sk_buff *skb)
{
	struct observation *now = observation();
	struct bpf_tunnel_key key = {};

	if (!now) // for the verifier
		return 0;
	if (!sampled(now) || bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return 0;
	describe_inner(skb, ETH_HLEN, now);
	now->record.program = PROGRAM_SLOW_IN;
	now->record.vni = key.tunnel_id;
	describe_sender(&now->record, bpf_htonl(key.remote_ipv4));
	return 0;
}

// record gives the record of a sampled packet to whoever looks. What a program left alone was none of its
// own.
__noinline int record(int verdict)
{
	__u32 zero = 0;
	struct observation *now = observation();
	struct sampling *sampling = bpf_map_lookup_elem(&tombolo_sampling, &zero);

	if (!now || !sampling) // for the verifier
		return 0;
	if (!now->sampled || (verdict == TCX_NEXT && now->record.event == EVENTS))
		return 0;
	if (sampling->drops && now->record.event >= SLOW_NO_PORT)
		return 0;
	if (bpf_ringbuf_output(&tombolo_records, &now->record, sizeof(now->record), 0))
		now->lost++;
	return 0;
}

// recorded is the verdict of a program that ends, told to the record if there is one.
static __always_inline int recorded(int verdict)
{
	if (wanted_records())
		record(verdict);
	return verdict;
}
