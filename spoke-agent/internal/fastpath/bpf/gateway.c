// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only

#include "admit.h"
#include "echo.h"
#include "own.h"
#include "pod.h"
#include "record.h"
#include "slow_in.h"

// too_big answers a packet that must not be fragmented, and leaves any other one to the kernel, which does it.
static __always_inline int too_big(struct __sk_buff *skb, const struct underlay *underlay, __u32 vni, __u32 mtu,
				   __be16 frag_off)
{
	struct delivery *delivery = bpf_map_lookup_elem(&tombolo_vnis, &vni);

	if (!(frag_off & bpf_htons(IP_DF)))
		return to_kernel(skb, underlay, SLOW_TOO_BIG, DROP_TOO_BIG);
	if (!delivery || fragmentation_needed(skb, delivery, mtu - OVERHEAD) ||
	    write_macs(skb, delivery->router_mac, delivery->gateway_mac))
		return drop(DROP_TOO_BIG);
	count_event(DROP_FRAGMENTATION_NEEDED);
	return bpf_redirect(delivery->ifindex, 0);
}

static __always_inline int give(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, zero = 0;
	__u32 *vni = bpf_map_lookup_elem(&tombolo_ports, &ifindex);
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	__u32 packets = skb->gso_segs ?: 1, bytes = skb->len - ETH_HLEN, length, mtu, to;
	struct remote remote = {};
	struct flow flow = {};
	struct cluster *cluster = NULL;
	struct iphdr *ip;
	__be32 endpoint;
	__u64 hash;
	__u8 tos;
	int failed, unknown;

	if (!underlay) // for the verifier
		return TCX_NEXT;
	if (!untagged_ipv4(skb))
		return TCX_NEXT;
	if (skb->mark == MARK_TO_ROUTER)
		return to_router(skb);
	if (!vni)
		return underlay->vxlan ? to_kernel(skb, underlay, SLOW_NO_PORT, DROP_NO_ROUTE) : TCX_NEXT;
	// A switch that floods gives the packet to every gateway: only the one it is for may send it.
	if (skb->pkt_type != PACKET_HOST)
		return drop(DROP_OTHER_MAC);
	ip = ip_header(skb);
	if (!ip)
		return drop(DROP_MALFORMED);
	unknown = find(TRIE_REMOTES, *vni, ip->daddr, &remote);
	unknown |= remote.own == OWN_PREFIX;
	if (!unknown)
		cluster = bpf_map_lookup_elem(&tombolo_clusters, &remote.cluster);
	// Nothing goes in the clear because the interface that encrypts is not there.
	if (cluster && cluster->encrypted && !underlay->tunnel)
		return drop(DROP_NOT_ENCRYPTED);
	mtu = cluster ? cluster->mtu : underlay->mtu;
	if (ip->protocol == IPPROTO_TCP && !(ip->frag_off & bpf_htons(IP_OFFSET))) {
		if (clamp_mss(skb, ip->ihl * 4, mtu))
			return drop(DROP_MALFORMED);
		ip = (void *)(long)skb->data + ETH_HLEN;
		if ((void *)(ip + 1) > (void *)(long)skb->data_end) // for the verifier
			return drop(DROP_MALFORMED);
	}
	if (unknown)
		return to_kernel(skb, underlay, SLOW_NO_ROUTE, DROP_NO_ROUTE);
	if (remote.own) {
		// For the prober's packet socket, and not for the node: its stack drops what is for another host.
		bpf_skb_change_type(skb, PACKET_OTHERHOST);
		return TCX_NEXT;
	}
	if (!cluster || !cluster->count)
		return to_kernel(skb, underlay, SLOW_NO_ENDPOINT, DROP_NO_ENDPOINT);
	to = remote.vni;
	flow.cluster = remote.cluster;
	flow.vni = *vni;
	flow.remote_vni = to;
	flow.direction = DIRECTION_OUT;

	length = wire_length(skb, ip, ETH_HLEN);
	if (!length)
		return drop(DROP_MALFORMED);
	if (length + OVERHEAD > mtu)
		return too_big(skb, underlay, *vni, mtu, ip->frag_off);
	hash = flow_hash(skb, ip, !(ip->frag_off & bpf_htons(IP_MF | IP_OFFSET)));
	endpoint = choose(cluster, hash);
	tos = ip->tos;
	failed = encapsulate(skb, underlay, endpoint, to, hash, tos, 0);
	if (failed == REFUSED)
		return to_kernel(skb, underlay, SLOW_ENCAPSULATE, DROP_ENCAPSULATE);
	if (failed)
		return drop(DROP_ENCAPSULATE);
	count_flow(&flow, packets, bytes);
	// An interface of layer 3: the kernel takes the outer Ethernet header off again.
	if (cluster->encrypted)
		return bpf_redirect(underlay->tunnel, 0);
	return send(skb, underlay, endpoint);
}

// tombolo_out takes what a Vpc's router sends to the gateway port.
SEC("tcx/ingress")
int tombolo_out(struct __sk_buff *skb)
{
	if (wanted_records())
		sample_out(skb);
	return recorded(give(skb));
}

static __always_inline int deliver(struct __sk_buff *skb, const struct underlay *underlay,
				   const struct delivery *delivery)
{
	struct ethhdr *eth;

	if (bpf_skb_adjust_room(skb, -(int)OVERHEAD, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return to_tunnel(skb, underlay, SLOW_DECAPSULATE, DROP_DECAPSULATE);
	if (pull(skb, sizeof(*eth))) // for the verifier
		return drop(DROP_DECAPSULATE);
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end) // for the verifier
		return drop(DROP_DECAPSULATE);
	__builtin_memcpy(eth->h_dest, delivery->router_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, delivery->gateway_mac, ETH_ALEN);
	return bpf_redirect(delivery->ifindex, 0);
}

// take takes what other clusters' gateways send to this node.
static __always_inline int take(struct __sk_buff *skb)
{
	__u32 zero = 0, vni, packets = skb->gso_segs ?: 1, bytes = skb->len - sizeof(struct outer);
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	struct delivery *delivery;
	struct source *sender;
	struct place *place;
	struct flow flow = {};
	struct hop hop = {};
	enum event refused = DROP_UNKNOWN_VNI;
	struct outer *o;
	struct iphdr *ip;
	struct taken *taken = NULL;
	__be32 origin, from, node;
	__u64 epoch;
	__u32 length;
	int verdict;

	if (!underlay) // for the verifier
		return TCX_NEXT;
	if (!untagged_ipv4(skb) || skb->pkt_type != PACKET_HOST)
		return TCX_NEXT;
	if (pull(skb, sizeof(*o) + sizeof(*ip)) && pull(skb, sizeof(*o)))
		return disguised(skb) ? drop(DROP_NOT_ENCRYPTED) : TCX_NEXT;
	o = (void *)(long)skb->data;
	if ((void *)(o + 1) > (void *)(long)skb->data_end) // for the verifier
		return TCX_NEXT;
	if (!ours(o, underlay))
		return disguised(skb) ? drop(DROP_NOT_ENCRYPTED) : TCX_NEXT;

	vni = bpf_ntohl(o->vxlan.vni) >> 8;
	epoch = this_epoch();
	ip = (void *)(o + 1);
	if ((void *)(ip + 1) <= (void *)(long)skb->data_end) {
		taken = taken_of(ip);
		if (!taken) // for the verifier
			return TCX_NEXT;
		place = &taken->place;
		length = wire_length(skb, ip, sizeof(*o));
		if (epoch && recalls(taken, skb->ifindex, epoch, vni, o, ip) && length && is_here(place, ip, length))
			goto here;
	}
	full_barrier(); // the epoch is read before the maps are
	delivery = bpf_map_lookup_elem(&tombolo_vnis, &vni);
	sender = bpf_map_lookup_elem(&tombolo_sources, &o->ip.saddr);
	if (!sender) {
		if (!delivery)
			return TCX_NEXT; // somebody else's VXLAN
		return drop(DROP_UNKNOWN_ENDPOINT);
	}
	// The interface that decrypts vouches for the outer source, the underlay does not.
	if (sender->ifindex != skb->ifindex)
		return drop(DROP_NOT_ENCRYPTED);
	if (o->inner.h_proto != bpf_htons(ETH_P_IP))
		return vni ? drop(DROP_NOT_IPV4) : answer(skb, o, underlay);
	ip = (void *)(o + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end || ip->version != 4 || ip->ihl < 5)
		return drop(DROP_MALFORMED);

	if (delivery)
		refused = admit(vni, sender, ip->saddr, ip->daddr, &flow);
	if (!delivery || refused == DROP_NOT_LOCAL) {
		refused = may_relay(o, ip, underlay, sender, refused, &hop);
		if (refused != ADMITTED)
			return drop(refused);
		count_hop(&hop, packets, bytes);
		return pass(skb, o, underlay, hop.endpoint);
	}
	if (refused != ADMITTED)
		return drop(refused);
	place = place_of(vni, ip->daddr);
	length = wire_length(skb, ip, sizeof(*o));
	if (!length)
		return drop(DROP_MALFORMED);
	if (is_here(place, ip, length)) {
		flow.path = PATH_POD;
	} else {
		node = next_node(underlay, delivery, sender, place, o, ip, length, &refused);
		if (node) {
			flow.path = PATH_NODE;
			count_flow(&flow, packets, bytes);
			return pass(skb, o, underlay, node);
		}
		if (refused != ADMITTED)
			return drop(refused);
		place = NULL;
	}
here:
	// adjust_room leaves the mark of a tunnel on the super-packet: TCP bears it, UDP would be lost without a count.
	if (skb->gso_size && ip->protocol != IPPROTO_TCP)
		return to_tunnel(skb, underlay, SLOW_GSO_NOT_TCP, DROP_GSO_NOT_TCP);
	if (!place && length > delivery->mtu)
		return to_tunnel(skb, underlay, SLOW_TOO_BIG, DROP_TOO_BIG);
	if (congestion(o->ip.tos, ip))
		return drop(DROP_CONGESTED);

	if (place) {
		origin = origin_of(o);
		from = ip->saddr;
		if (!taken) // for the verifier
			return drop(DROP_MALFORMED);
		if (place != &taken->place)
			remember_taken(taken, skb->ifindex, epoch, o, ip, &flow, place);
		if (unwrap(skb, &taken->place))
			return to_tunnel(skb, underlay, SLOW_DECAPSULATE, DROP_DECAPSULATE);
		if (origin && (origin != taken->origin || taken->until < bpf_jiffies64())) {
			learn(&taken->flow, from, origin);
			taken->origin = origin;
			taken->until = bpf_jiffies64() + MEMO_TICKS;
		}
		if (count_slot(taken->slot, packets, bytes))
			count_flow(&taken->flow, packets, bytes);
		return bpf_redirect_peer(taken->place.ifindex, 0);
	}
	verdict = deliver(skb, underlay, delivery);
	if (verdict == TCX_REDIRECT)
		count_flow(&flow, packets, bytes);
	return verdict;
}

// tombolo_in is on the underlay.
SEC("tcx/ingress")
int tombolo_in(struct __sk_buff *skb)
{
	if (wanted_records())
		sample_in(skb);
	return recorded(take(skb));
}

// encapsulated is true for UDP to the port of this node's endpoint, and for answers to its echoes. That is all that the
// tunnel is for: the other clusters' gateways reach neither this node's services through it, nor what is behind the
// node.
static __always_inline int encapsulated(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct underlay *underlay = bpf_map_lookup_elem(&tombolo_underlay, &zero);
	struct udphdr udp;
	struct iphdr ip;

	return underlay && !bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) &&
	       !bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &udp, sizeof(udp)) && *(__u8 *)&ip == IPV4_VERSION_IHL &&
	       ip.protocol == IPPROTO_UDP && ip.daddr == underlay->address &&
	       !(ip.frag_off & bpf_htons(IP_MF | IP_OFFSET)) &&
	       (udp.dest == underlay->port || answered(underlay, &udp));
}

// take_decrypted is take for what the tunnel's peers may send, and nothing else.
static __always_inline int take_decrypted(struct __sk_buff *skb)
{
	int verdict = take(skb);

	if (verdict != TCX_NEXT)
		return verdict;
	if (!encapsulated(skb))
		return drop(DROP_NOT_VXLAN);
	skb->mark = MARK_DECRYPTED;
	return TCX_NEXT;
}

// tombolo_in_tunnel is on the interface that decrypts. Its packets begin with the outer IPv4 header; the Ethernet
// header that they get here is all that tells them from those of the underlay.
SEC("tcx/ingress")
int tombolo_in_tunnel(struct __sk_buff *skb)
{
	__be16 protocol = bpf_htons(ETH_P_IP);

	if (skb->protocol != protocol)
		return drop(DROP_NOT_IPV4);
	if (bpf_skb_change_head(skb, ETH_HLEN, 0) ||
	    bpf_skb_store_bytes(skb, __builtin_offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol), 0))
		return drop(DROP_DECAPSULATE);
	if (wanted_records())
		sample_in(skb);
	return recorded(take_decrypted(skb));
}

// bpf_fib_lookup is for programs under the GPL only; these may be had under either.
char _license[] SEC("license") = "Dual BSD/GPL";
