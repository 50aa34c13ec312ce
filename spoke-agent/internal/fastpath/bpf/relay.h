// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What only passes this node: from one cluster's gateway to another's, for a pair that the agent has allowed. The outer
// header is rewritten in place; the inner packet is looked at and not touched.
#pragma once

#include "cache.h"
#include "nexthop.h"
#include "slow.h"

// hop is where a packet goes next, and by which permission.
struct hop {
	struct flow_count *count;
	__be32 endpoint;
};

// ours says whether o is the encapsulation of this fleet's gateways, sent to this node.
static __always_inline int ours(const struct outer *o, const struct underlay *underlay)
{
	return o->ip.daddr == underlay->address && o->udp.dest == underlay->port && o->ip.protocol == IPPROTO_UDP &&
	       *(const __u8 *)&o->ip == IPV4_VERSION_IHL && !(o->ip.frag_off & bpf_htons(IP_MF | IP_OFFSET)) &&
	       o->vxlan.flags & bpf_htonl(VXLAN_FLAG_I);
}

// disguised says whether the kernel would take a packet that is not as gateways send it for an encrypted cluster's
// encapsulation, although it came by another interface: in fragments, of which the first tells, or with IP options.
// A function of its own to the verifier: packets seldom go there.
__noinline int disguised(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	struct source *sender;
	struct iphdr ip;
	__be16 port;

	if (!underlay) // for the verifier
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.daddr != underlay->address)
		return 0;
	if (ip.protocol != IPPROTO_UDP || ip.frag_off & bpf_htons(IP_OFFSET))
		return 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4 + __builtin_offsetof(struct udphdr, dest), &port,
			       sizeof(port)))
		return 0;
	if (port != underlay->port)
		return 0;
	sender = bpf_map_lookup_elem(&tombolo_sources, &ip.saddr);
	return sender && sender->ifindex != skb->ifindex;
}

// passable says why the outer header can't be rewritten, or ADMITTED.
static __always_inline enum event passable(const struct outer *o)
{
	// Gateways send with TTL 64: should two ever send to each other, a packet ends.
	if (o->ip.ttl <= 1)
		return DROP_TTL;
	// Gateways send none (RFC 7348 section 5), and it would cover the addresses.
	if (o->udp.check)
		return DROP_CHECKSUM;
	return ADMITTED;
}

// may_relay says why a packet of a cluster may not pass, or ADMITTED when it may; otherwise is the reason when its
// destination is in no other cluster. The source must be the sending cluster's, as for packets that end here.
static __always_inline enum event may_relay(const struct outer *o, const struct iphdr *ip,
					    const struct underlay *underlay, const struct source *sender,
					    enum event otherwise, struct hop *hop)
{
	struct relay relay = {.from = sender->cluster, .vni = bpf_ntohl(o->vxlan.vni) >> 8};
	struct remote source = {}, destination = {};
	struct cluster *cluster;
	enum event refused;

	if (find(TRIE_TRANSIT, relay.vni, ip->daddr, &destination))
		return otherwise;
	if (find(TRIE_TRANSIT, relay.vni, ip->saddr, &source) || source.cluster != relay.from)
		return DROP_SPOOFED_SOURCE;
	relay.to = destination.cluster;
	hop->count = bpf_map_lookup_elem(&tombolo_relays, &relay);
	if (!hop->count)
		return DROP_NOT_RELAYED;
	refused = passable(o);
	if (refused != ADMITTED)
		return refused;
	cluster = bpf_map_lookup_elem(&tombolo_clusters, &relay.to);
	if (!cluster || !cluster->count)
		return DROP_NO_ENDPOINT;
	// What came encrypted does not go on in the clear, and here is nothing that encrypts what is relayed.
	if (cluster->encrypted || sender->ifindex != underlay->ifindex)
		return DROP_NOT_ENCRYPTED;
	// The source port is the flow's hash.
	hop->endpoint = choose(cluster, mix(o->udp.source));
	return ADMITTED;
}

// replaced adds the change of two words to a sum (RFC 1624, equation 3).
static __always_inline __u32 replaced(__u32 sum, __u32 was, __u32 is)
{
	return sum + (__u16)~was + (__u16) ~(was >> 16) + (__u16)is + (is >> 16);
}

// rewrite sends the packet from this node to the next one: addresses, TTL and checksum; the source port stays.
static __always_inline void rewrite(struct outer *o, const struct underlay *underlay, __be32 endpoint)
{
	__u32 sum = (__u16)~o->ip.check;

	sum = replaced(sum, o->ip.saddr, underlay->address);
	sum = replaced(sum, o->ip.daddr, endpoint);
	// TTL is the first octet of its word.
	sum += (__u16)~bpf_htons(o->ip.ttl << 8) + bpf_htons((o->ip.ttl - 1) << 8);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	o->ip.check = ~sum;
	o->ip.saddr = underlay->address;
	o->ip.daddr = endpoint;
	o->ip.ttl--;
}

static __always_inline void count_hop(const struct hop *hop, __u64 packets, __u64 bytes)
{
	hop->count->packets += packets;
	hop->count->bytes += bytes;
}

// tombolo_xdp relays what tombolo_in would relay, before the kernel makes an skb of it. All else goes on to the kernel,
// and so to tombolo_in: what that drops, it counts.
SEC("xdp.frags")
int tombolo_xdp(struct xdp_md *xdp)
{
	struct outer *o = (void *)(long)xdp->data;
	struct iphdr *ip = (void *)(o + 1);
	struct next_hop *next;
	struct underlay *underlay;
	struct delivery *delivery;
	struct remote local;
	struct hop hop = {};
	struct source *sender;
	__u32 zero = 0, vni;

	underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	if (!underlay) // for the verifier
		return XDP_PASS;
	if ((void *)(ip + 1) > (void *)(long)xdp->data_end || o->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    !same_mac(o->eth.h_dest, underlay->mac) || !ours(o, underlay))
		return XDP_PASS;
	vni = bpf_ntohl(o->vxlan.vni) >> 8;
	sender = bpf_map_lookup_elem(&tombolo_sources, &o->ip.saddr);
	if (!sender || sender->ifindex != xdp->ingress_ifindex || o->inner.h_proto != bpf_htons(ETH_P_IP) ||
	    ip->version != 4 || ip->ihl < 5)
		return XDP_PASS;
	delivery = bpf_map_lookup_elem(&tombolo_vnis, &vni);
	if (delivery && !find(TRIE_LOCALS, vni, ip->daddr, &local))
		return XDP_PASS;
	if (may_relay(o, ip, underlay, sender, DROP_NOT_LOCAL, &hop) != ADMITTED)
		return XDP_PASS;
	next = next_hop_of(hop.endpoint);
	if (!next) // for the verifier
		return XDP_PASS;
	if (bpf_ntohs(o->ip.tot_len) > underlay->mtu)
		return XDP_PASS;
	if (!is_known(next, underlay, hop.endpoint) && ask_next_hop(xdp, underlay, hop.endpoint))
		return XDP_PASS;
	count_hop(&hop, 1, bpf_xdp_get_buff_len(xdp) - sizeof(*o));
	rewrite(o, underlay, hop.endpoint);
	write_frame(o, next);
	return XDP_TX;
}
