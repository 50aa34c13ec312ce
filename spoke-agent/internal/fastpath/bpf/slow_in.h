// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// What comes out of the kernel's VXLAN device.
#pragma once

#include "admit.h"
#include "own.h"
#include "pod.h"

// smaller answers, or has fragmented, an admitted packet that the gateway port is too small for. The answer takes the
// way of any other packet from here: into the gateway port, as if the router had sent it.
static __always_inline int smaller(struct __sk_buff *skb, const struct delivery *delivery, __be16 frag_off)
{
	int answered = frag_off & bpf_htons(IP_DF);

	if (answered && fragmentation_needed(skb, delivery, delivery->mtu))
		return drop(DROP_TOO_BIG);
	if (write_macs(skb, delivery->gateway_mac, delivery->router_mac))
		return drop(DROP_TOO_BIG);
	if (answered)
		count_event(DROP_FRAGMENTATION_NEEDED);
	else
		skb->mark = MARK_TO_ROUTER;
	return bpf_redirect(delivery->ifindex, BPF_F_INGRESS);
}

static __always_inline int take_slow(struct __sk_buff *skb)
{
	__u32 zero = 0, vni, packets = skb->gso_segs ?: 1, bytes = skb->len - ETH_HLEN;
	struct bpf_tunnel_key key = {};
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	struct delivery *delivery;
	struct source *sender;
	struct place *place;
	struct flow flow = {};
	enum event refused;
	struct iphdr *ip;
	__be32 outer;
	__u32 length;

	if (!underlay || bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return drop(DROP_UNKNOWN_ENDPOINT);
	vni = key.tunnel_id;
	outer = bpf_htonl(key.remote_ipv4);
	delivery = bpf_map_lookup_elem(&tombolo_vnis, &vni);
	if (!delivery)
		return drop(DROP_UNKNOWN_VNI);
	sender = bpf_map_lookup_elem(&tombolo_sources, &outer);
	if (!sender)
		return drop(DROP_UNKNOWN_ENDPOINT);
	// The device does not know where its packets came in. tombolo_in has not seen all of them as they are now: the
	// kernel has put fragments together since.
	if (!sender->ifindex || (sender->ifindex != underlay->ifindex) != (skb->mark == MARK_DECRYPTED))
		return drop(DROP_NOT_ENCRYPTED);
	skb->mark = 0;
	if (skb->protocol != bpf_htons(ETH_P_IP))
		return drop(DROP_NOT_IPV4);
	ip = ip_header(skb);
	if (!ip)
		return drop(DROP_MALFORMED);
	refused = admit(vni, sender, ip->saddr, ip->daddr, &flow);
	if (refused != ADMITTED)
		return drop(refused);
	place = place_of(vni, ip->daddr);
	length = wire_length(skb, ip, ETH_HLEN);
	if (!length)
		return drop(DROP_MALFORMED);
	if (is_here(place, ip, length)) {
		flow.path = PATH_POD;
		age(ip);
		if (write_macs(skb, place->mac, place->router_mac))
			return drop(DROP_DECAPSULATE);
		count_flow(&flow, packets, bytes);
		return bpf_redirect_peer(place->ifindex, 0);
	}
	if (!delivery->ifindex)
		return drop(DROP_NOT_HERE);
	if (length > delivery->mtu)
		return smaller(skb, delivery, ip->frag_off);
	if (write_macs(skb, delivery->router_mac, delivery->gateway_mac))
		return drop(DROP_DECAPSULATE);
	count_flow(&flow, packets, bytes);
	return bpf_redirect(delivery->ifindex, 0);
}

// tombolo_slow_in takes all that comes out of the kernel's VXLAN device, whoever sent it there, and trusts nobody to
// have looked at it before.
SEC("tcx/ingress")
int tombolo_slow_in(struct __sk_buff *skb)
{
	if (wanted_records())
		sample_slow_in(skb);
	return recorded(take_slow(skb));
}
