// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

// The direct path: what a pod of this node sends to another cluster, and gets from there, goes past the integration
// bridge. See docs/decisions/0011.
#pragma once

#include "encap.h"
#include "memo.h"
#include "nexthop.h"
#include "record.h"
#include "slow.h"

// routine says that no router has to look at the packet: it has no options, and its TTL does not end here.
static __always_inline int routine(const struct iphdr *ip)
{
	return ip->ihl == 5 && ip->ttl > 1;
}

// place_of is the pod with an address, if this node knows where it is.
static __always_inline struct place *place_of(__u32 vni, __be32 address)
{
	struct endpoint key = {.vni = vni, .address = address};

	return bpf_map_lookup_elem(&tombolo_places, &key);
}

// on lets what a pod sends go where it would without this program: into the integration bridge.
static __always_inline int on(__u32 other)
{
	return other ? bpf_redirect(other, 0) : TCX_NEXT;
}

// leave is on, for what goes to another cluster all the same.
static __noinline int leave(__u32 other, enum event reason)
{
	count_event(reason);
	return on(other);
}

// to_tunnel leaves a packet to the kernel's VXLAN device, where tombolo_slow_in looks at it again.
static __noinline int to_tunnel(struct __sk_buff *skb, const struct underlay *underlay, enum event reason,
				enum event otherwise)
{
	if (!underlay->vxlan)
		return drop(otherwise);
	erase_origin(skb);
	count_event(reason);
	return TCX_NEXT;
}

// unwrap takes off the outer header of a packet to a pod of this node. It is not 0 when the kernel refuses.
static __always_inline int unwrap(struct __sk_buff *skb, const struct place *place)
{
	struct ethhdr *eth;
	struct iphdr *ip;

	if (bpf_skb_adjust_room(skb, -(int)OVERHEAD, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return -1;
	if (pull(skb, sizeof(*eth) + sizeof(*ip))) // for the verifier
		return -1;
	eth = (void *)(long)skb->data;
	ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end) // for the verifier
		return -1;
	age(ip);
	__builtin_memcpy(eth->h_dest, place->mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, place->router_mac, ETH_ALEN);
	return 0;
}

static __always_inline int take_pod(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, zero = 0;
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	__u32 packets = skb->gso_segs ?: 1, bytes = skb->len - ETH_HLEN, length, other, mtu, to, slot = 0;
	struct remote remote = {};
	struct flow flow = {};
	struct sent *sent = NULL;
	struct cluster *cluster;
	struct iphdr *ip;
	struct pod *pod;
	__be32 endpoint;
	__u64 hash, epoch;
	__u8 tos;
	int failed;

	if (!underlay) // for the verifier
		return TCX_NEXT;
	ip = untagged_ipv4(skb) ? ip_header(skb) : NULL;
	epoch = this_epoch();
	if (ip) {
		sent = sent_of(ip);
		if (!sent) // for the verifier
			return TCX_NEXT;
		if (epoch && same_pair(sent, ifindex, epoch, ip) &&
		    !origin_for(sent->flow.remote_vni, ip->daddr, &endpoint)) {
			other = sent->other;
			if (!routine(ip) || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
				return leave(other, SLOW_ROUTER);
			slot = sent->slot;
			if (!slot)
				flow = sent->flow;
			to = sent->flow.remote_vni;
			mtu = sent->mtu;
			hash = flow_hash(skb, ip, 1);
			goto known;
		}
	}
	full_barrier(); // the epoch is read before the maps are
	pod = bpf_map_lookup_elem(&tombolo_pods, &ifindex);
	if (!pod)
		return TCX_NEXT;
	other = pod->other;
	if (!ip || !same_mac((void *)ip - ETH_HLEN, pod->router_mac) || ip->saddr != pod->address)
		return on(other);
	if (find(TRIE_REMOTES, pod->vni, ip->daddr, &remote) || remote.own)
		return on(other);
	if (!routine(ip) || ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))
		return leave(other, SLOW_ROUTER);
	cluster = bpf_map_lookup_elem(&tombolo_clusters, &remote.cluster);
	if (!cluster || !cluster->count)
		return leave(other, SLOW_NO_ENDPOINT);
	if (cluster->encrypted)
		return leave(other, SLOW_ENCRYPTED);
	mtu = cluster->mtu;
	to = remote.vni;
	flow.cluster = remote.cluster;
	flow.vni = pod->vni;
	flow.remote_vni = remote.vni;
	flow.direction = DIRECTION_OUT;
	flow.path = PATH_POD;
	hash = flow_hash(skb, ip, 1);
	if (origin_for(remote.vni, ip->daddr, &endpoint))
		endpoint = choose(cluster, hash);
	else
		remember_sent(sent, ifindex, epoch, ip, &flow, pod, mtu);
known:
	length = wire_length(skb, ip, ETH_HLEN);
	if (length + OVERHEAD > mtu)
		return leave(other, SLOW_TOO_BIG);
	tos = ip->tos;
	if (ip->protocol == IPPROTO_TCP && clamp_mss(skb, sizeof(*ip), mtu))
		return drop(DROP_MALFORMED);
	failed = encapsulate(skb, underlay, endpoint, to, hash, tos, 1);
	if (failed == REFUSED)
		return leave(other, SLOW_ENCAPSULATE);
	if (failed) // for the verifier
		return drop(DROP_ENCAPSULATE);
	if (count_slot(slot, packets, bytes))
		count_flow(&flow, packets, bytes);
	return send(skb, underlay, endpoint);
}

// tombolo_pod takes what a pod sends.
SEC("tcx/ingress")
int tombolo_pod(struct __sk_buff *skb)
{
	if (wanted_records())
		sample_pod(skb);
	return recorded(take_pod(skb));
}

// tombolo_switch is on the node's end of the second pair, where a pod has one: what the integration bridge sends to the
// pod.
SEC("tcx/ingress")
int tombolo_switch(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct pod *pod = bpf_map_lookup_elem(&tombolo_pods, &ifindex);
	__u16 to[ETH_ALEN / 2];

	if (!pod)
		return TCX_NEXT;
	if (bpf_skb_load_bytes(skb, offsetof(struct ethhdr, h_dest), to, sizeof(to))) // for the verifier
		return TCX_NEXT;
	// What is for others too, or for somebody else, the pod must be able to tell from its own: that takes the
	// queue.
	if (!same_mac(to, pod->mac))
		return bpf_redirect(pod->other, 0);
	// The kernel does it itself since 6.15.
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(pod->other, 0);
}
