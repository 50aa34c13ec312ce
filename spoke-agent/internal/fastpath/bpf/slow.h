// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What is too unusual for the fast path: packets left to the kernel's routing, and the one ICMP error that a router
// between clusters has to send.
#pragma once

#include <stddef.h>

#include <linux/tcp.h>

#include "packet.h"

#define AF_INET 2

// ICMP, RFC 792, and RFC 1191 for the MTU. linux/icmp.h wants the headers of a C library.
#define ICMP_ECHOREPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO 8
#define ICMP_TIMESTAMP 13
#define ICMP_TIMESTAMPREPLY 14
#define ICMP_FRAGMENTATION_NEEDED 4
struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 unused;
	__be16 mtu;
};

#define TCP_SYN 0x02
#define TCP_OPTIONS 40
#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2

// MARK_TO_ROUTER is how tombolo_slow_in tells tombolo_out, on the ingress of the same gateway port, that a packet has
// been admitted and is on its way to the router. Nobody gains by forging it: the route must lead back to that port.
#define MARK_TO_ROUTER 0x746d6266

// MARK_DECRYPTED is how tombolo_in_tunnel tells tombolo_slow_in, behind the kernel's VXLAN device, that a packet came
// out of the tunnel. No packet brings a mark along; where something on the node changes it, what it vouched for is
// dropped.
#define MARK_DECRYPTED 0x746d6267

static __always_inline int lookup(struct __sk_buff *skb, const struct iphdr *ip, struct bpf_fib_lookup *fib)
{
	fib->family = AF_INET;
	fib->ifindex = skb->ifindex;
	fib->ipv4_src = ip->saddr;
	fib->ipv4_dst = ip->daddr;
	fib->tos = ip->tos;
	fib->l4_protocol = ip->protocol;
	fib->tot_len = 1; // the way is asked for, not what fits
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
}

// raise_ttl gives what the kernel's forwarding will take: the transit is a wire on either path.
static __noinline int raise_ttl(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 at = ETH_HLEN + offsetof(struct iphdr, ttl);
	__be16 old, new;

	if (ip->ttl == 255)
		return 0;
	old = bpf_htons(ip->ttl << 8 | ip->protocol);
	new = bpf_htons((ip->ttl + 1) << 8 | ip->protocol);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), old, new, sizeof(new)))
		return -1;
	return bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

// to_kernel leaves a packet to the kernel, if the kernel's answer is a tunnel route: those are only in the Vpc's own
// table. Without this the node's own addresses and routes would be within the tenants' reach.
static __noinline int to_kernel(struct __sk_buff *skb, const struct underlay *underlay, enum event reason,
				enum event otherwise)
{
	struct bpf_fib_lookup fib = {};
	struct iphdr ip;

	if (!underlay->vxlan || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) ||
	    lookup(skb, &ip, &fib) != BPF_FIB_LKUP_RET_UNSUPP_LWT || raise_ttl(skb, &ip))
		return drop(otherwise);
	count_event(reason);
	return TCX_NEXT;
}

// to_router lets the kernel forward an admitted packet to the Vpc's router, as it came, to fragment it.
static __noinline int to_router(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = {};
	struct iphdr ip;
	int answer;

	skb->mark = 0;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return drop(DROP_MALFORMED);
	answer = lookup(skb, &ip, &fib);
	if ((answer != BPF_FIB_LKUP_RET_SUCCESS && answer != BPF_FIB_LKUP_RET_NO_NEIGH) ||
	    fib.ifindex != skb->ifindex || raise_ttl(skb, &ip))
		return drop(DROP_TOO_BIG);
	return TCX_NEXT;
}

// answerable says whether RFC 1122 section 3.2.2 and RFC 1812 section 4.3.2.7 allow an ICMP error about the packet.
// About one with options, which nobody sends any more, nothing is said.
static __always_inline int answerable(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u8 type;

	if (ip->ihl != 5 || ip->frag_off & bpf_htons(IP_OFFSET) || !ip->saddr || bpf_ntohl(ip->saddr) >= 0xe0000000)
		return 0;
	if (ip->protocol != IPPROTO_ICMP)
		return 1;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(*ip), &type, sizeof(type)))
		return 0;
	return type == ICMP_ECHO || type == ICMP_ECHOREPLY || type == ICMP_TIMESTAMP || type == ICMP_TIMESTAMPREPLY;
}

// checksum_pending says whether a device has yet to write the checksum at offset. What an ICMP error quotes then
// changes on its way out; the kernel tells no program, but leaves such a checksum alone when asked to change it.
static __always_inline int checksum_pending(struct __sk_buff *skb, __u32 offset)
{
	__be16 before, after;

	if (bpf_skb_load_bytes(skb, offset, &before, sizeof(before)) ||
	    bpf_l4_csum_replace(skb, offset, 0, bpf_htons(1), 2) ||
	    bpf_skb_load_bytes(skb, offset, &after, sizeof(after)))
		return 0;
	if (before == after)
		return 1;
	bpf_skb_store_bytes(skb, offset, &before, sizeof(before), 0);
	return 0;
}

// What an ICMP error adds in front of the packet that it quotes.
struct complaint {
	struct iphdr ip;
	struct icmp icmp;
};
_Static_assert(sizeof(struct complaint) == 28, "RFC 792");

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

// An ICMP error quotes what a transport needs to know its own: of TCP the whole header, because its checksum may be
// pending, of others 8 octets (RFC 792).
#define QUOTE_TCP (sizeof(struct iphdr) + sizeof(struct tcphdr))
#define QUOTE (sizeof(struct iphdr) + sizeof(struct udphdr))

// sum_of_quote is what the quoted octets add up to when they arrive, or 0 when they can't be read.
static __always_inline __u32 sum_of_quote(struct __sk_buff *skb, __u8 protocol)
{
	__u32 network = ETH_HLEN + sizeof(struct iphdr), checksum = 0;
	__u8 octets[QUOTE_TCP] = {};
	__be16 pending = 0;
	int failed;

	if (protocol == IPPROTO_TCP)
		checksum = network + offsetof(struct tcphdr, check);
	else if (protocol == IPPROTO_UDP)
		checksum = network + offsetof(struct udphdr, check);
	if (checksum && checksum_pending(skb, checksum)) {
		// The device makes all from the transport header on add up to minus what the checksum's field has now.
		failed = bpf_skb_load_bytes(skb, checksum, &pending, sizeof(pending)) ||
			 bpf_skb_load_bytes(skb, ETH_HLEN, octets, sizeof(struct iphdr));
		pending = ~pending;
	} else if (protocol == IPPROTO_TCP) {
		failed = bpf_skb_load_bytes(skb, ETH_HLEN, octets, QUOTE_TCP);
	} else {
		failed = bpf_skb_load_bytes(skb, ETH_HLEN, octets, QUOTE);
	}
	if (failed)
		return 0;
	return fold(pending + fold(bpf_csum_diff(NULL, 0, (__be32 *)octets, sizeof(octets), 0)));
}

// fragmentation_needed turns a packet into the answer that it is larger than mtu (RFC 792, RFC 1191), from this
// node's link address to the packet's source.
static __noinline int fragmentation_needed(struct __sk_buff *skb, const struct delivery *delivery, __u32 mtu)
{
	struct complaint complaint = {};
	struct iphdr ip;
	__u32 quote, sum;

	if (!delivery->address || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || !answerable(skb, &ip))
		return -1;
	quote = ip.protocol == IPPROTO_TCP ? QUOTE_TCP : QUOTE;
	sum = sum_of_quote(skb, ip.protocol);
	// The kernel does not cut off a transport header that it has found, in a packet within the packet. What is then
	// behind the error's end is padding.
	if (!sum || (bpf_skb_change_tail(skb, ETH_HLEN + quote, 0) &&
		     bpf_skb_change_tail(skb, ETH_HLEN + mtu - sizeof(complaint), 0)))
		return -1;
	if (bpf_skb_adjust_room(skb, sizeof(complaint), BPF_ADJ_ROOM_MAC, 0))
		return -1;

	complaint.ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tos = 0xc0, // internetwork control, RFC 1812 section 4.3.2.5
		.tot_len = bpf_htons(sizeof(complaint) + quote),
		.ttl = 64,
		.protocol = IPPROTO_ICMP,
		.saddr = delivery->address,
		.daddr = ip.saddr,
	};
	complaint.ip.check = header_checksum((void *)&complaint.ip);
	complaint.icmp.type = ICMP_UNREACHABLE;
	complaint.icmp.code = ICMP_FRAGMENTATION_NEEDED;
	complaint.icmp.mtu = bpf_htons(mtu);
	complaint.icmp.checksum =
		~fold(sum + bpf_htons(ICMP_UNREACHABLE << 8 | ICMP_FRAGMENTATION_NEEDED) + complaint.icmp.mtu);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &complaint, sizeof(complaint), 0);
}

static __always_inline int write_macs(struct __sk_buff *skb, const __u8 *to, const __u8 *from)
{
	return bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_dest), to, ETH_ALEN, 0) ||
	       bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_source), from, ETH_ALEN, 0);
}

// clamp_mss lowers the MSS of a connection's first segment to what fits between the clusters (RFC 9293 section 3.7.1).
// It may move the packet's octets, and is not 0 when it has left them half done. A function of its own to the verifier,
// which would else go on from each of its ends.
__noinline int clamp_mss(struct __sk_buff *skb, __u32 network, __u32 mtu)
{
	__u32 tcp = ETH_HLEN + network, offset = tcp + sizeof(struct tcphdr), end;
	__u16 most = mtu - OVERHEAD - sizeof(struct iphdr) - sizeof(struct tcphdr), mss;
	__u8 flags[2], option[4];
	__be16 to = bpf_htons(most), from;

	if (bpf_skb_load_bytes(skb, tcp + 12, flags, sizeof(flags)) || !(flags[1] & TCP_SYN))
		return 0;
	end = tcp + (flags[0] >> 4) * 4;
	for (int i = 0; i < TCP_OPTIONS; i++) { // for the verifier: each turn leaves an octet or more behind
		if (offset + sizeof(option) > end || bpf_skb_load_bytes(skb, offset, option, sizeof(option)) ||
		    option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == TCP_OPTION_NOP) {
			offset++;
			continue;
		}
		if (option[0] == TCP_OPTION_MSS)
			break;
		if (option[1] < 2)
			return 0;
		offset += option[1];
	}
	if (option[0] != TCP_OPTION_MSS) // for the verifier
		return 0;
	mss = option[2] << 8 | option[3];
	if (option[1] != 4 || mss <= most)
		return 0;
	from = bpf_htons(mss);
	// A checksum covers words from the start of TCP: an option at an odd offset has its octets the other way round.
	if ((offset - tcp) & 1) {
		from = __builtin_bswap16(from);
		to = __builtin_bswap16(to);
	}
	if (bpf_l4_csum_replace(skb, tcp + offsetof(struct tcphdr, check), from, to, sizeof(to)))
		return 0;
	to = bpf_htons(most);
	return bpf_skb_store_bytes(skb, offset + 2, &to, sizeof(to), 0);
}
