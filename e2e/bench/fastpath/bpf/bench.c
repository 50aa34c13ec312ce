// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// What the bench needs of eBPF: a tunnel as Cilium makes it, to compare with, and a
// generator of packets with a counter of those that arrive.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Verdicts of tcx (linux/bpf.h since 6.6).
#define TCX_NEXT -1
#define TCX_DROP 2

// ---- The tunnel: a VXLAN device without a VNI of its own, and metadata that says where a packet goes.

// peer is the gateway that has a prefix.
struct peer {
	__u32 endpoint; // in the machine's byte order, as the helper wants it
	__u32 vni;
};

// pod is where a packet is delivered.
struct pod {
	__u32 ifindex;
	__u8 pod_mac[6];
	__u8 router_mac[6];
};

struct prefix {
	__u32 prefixlen;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct prefix);
	__type(value, struct peer);
} bench_peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, struct pod);
} bench_pods SEC(".maps");

volatile const __u32 tunnel_ifindex;

static __always_inline struct iphdr *ipv4(struct __sk_buff *skb)
{
	struct iphdr *ip;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return NULL;
	if ((void *)(long)skb->data + ETH_HLEN + sizeof(*ip) > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, ETH_HLEN + sizeof(*ip)))
		return NULL;
	ip = (void *)(long)skb->data + ETH_HLEN;
	return (void *)(ip + 1) > (void *)(long)skb->data_end ? NULL : ip;
}

// hop counts the TTL down, as a router does. RFC 1624 for a word whose high octet falls by one.
static __always_inline int hop(struct iphdr *ip)
{
	__u32 sum = (__u32)ip->check + bpf_htons(0x0100);

	if (ip->ttl <= 1)
		return -1;
	ip->check = sum + (sum >= 0xffff);
	ip->ttl--;
	return 0;
}

// bench_from_pod is attached to the gateway's end of the pod.
SEC("tcx/ingress")
int bench_from_pod(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct prefix destination = {};
	struct iphdr *ip = ipv4(skb);
	struct peer *peer;

	if (!ip)
		return TCX_NEXT;
	destination.prefixlen = 32;
	destination.address = ip->daddr;
	peer = bpf_map_lookup_elem(&bench_peers, &destination);
	if (!peer || hop(ip))
		return TCX_NEXT;
	key.tunnel_id = peer->vni;
	key.remote_ipv4 = peer->endpoint;
	key.tunnel_ttl = 64;
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX))
		return TCX_DROP;
	return bpf_redirect(tunnel_ifindex, 0);
}

// bench_from_tunnel is attached to the VXLAN device.
SEC("tcx/ingress")
int bench_from_tunnel(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct prefix source = {};
	struct iphdr *ip;
	struct ethhdr *eth;
	struct peer *peer;
	struct pod *pod;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0))
		return TCX_NEXT;
	ip = ipv4(skb);
	if (!ip)
		return TCX_NEXT;
	// Who sends it: Cilium looks the source's identity up.
	source.prefixlen = 32;
	source.address = ip->saddr;
	peer = bpf_map_lookup_elem(&bench_peers, &source);
	pod = bpf_map_lookup_elem(&bench_pods, &ip->daddr);
	if (!peer || peer->vni != key.tunnel_id || !pod || hop(ip))
		return TCX_NEXT;
	eth = (void *)(long)skb->data;
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TCX_DROP;
	__builtin_memcpy(eth->h_dest, pod->pod_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, pod->router_mac, ETH_ALEN);
	return bpf_redirect_peer(pod->ifindex, 0);
}

// ---- The switch between nodes: the destination's MAC address → the port that leads to it.

struct mac {
	__u8 octets[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct mac);
	__type(value, __u32);
} bench_switch_ports SEC(".maps");

// bench_switch is on each port of the switch. Its packets go to the other end of a port as if they had come by that.
SEC("tcx/ingress")
int bench_switch(struct __sk_buff *skb)
{
	struct mac mac;
	__u32 *port;

	if (bpf_skb_load_bytes(skb, 0, &mac, sizeof(mac)))
		return TCX_DROP;
	port = bpf_map_lookup_elem(&bench_switch_ports, &mac);
	if (!port)
		return TCX_DROP;
	bpf_skb_change_type(skb, 0); // PACKET_HOST: Linux before 6.15 asks whom it was for by the port's own address
	return bpf_redirect_peer(*port, 0);
}

// ---- The generator, which BPF_PROG_TEST_RUN runs with live frames, and the end of the packets' way.

#define SHORT_FRAME 64
#define LONG_FRAME 114 // a short frame in VXLAN

// What each frame is written with, all of it: pages come back with what the last packet's way has left in them.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[LONG_FRAME]);
} bench_frame SEC(".maps");

#define DESTINATIONS (1 << 17)

// Inner destinations, taken in turn.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, DESTINATIONS);
	__type(key, __u32);
	__type(value, __be32);
} bench_destinations SEC(".maps");

volatile const __u32 out_ifindex; // where frames go
volatile const __u32 expected;    // length of a frame that counts as arrived
volatile const __u32 used;        // destinations - 1, all ones in binary

__u32 turn;
__u64 arrived;

// address gives the inner header its destination. Its checksum was computed with zero in that place.
static __always_inline void address(struct iphdr *ip, __be32 destination)
{
	__u32 sum = (__u16)~ip->check + (destination & 0xffff) + (destination >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->daddr = destination;
}

SEC("xdp")
int bench_generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 zero = 0, index = turn++ & used;
	__be32 *destination = bpf_map_lookup_elem(&bench_destinations, &index);
	__u8 *frame = bpf_map_lookup_elem(&bench_frame, &zero);

	if (!frame || !destination || data + SHORT_FRAME > data_end)
		return XDP_ABORTED;
	__builtin_memcpy(data, frame, SHORT_FRAME);
	if (data + LONG_FRAME > data_end) {
		address(data + ETH_HLEN, *destination);
		return bpf_redirect(out_ifindex, 0);
	}
	__builtin_memcpy(data + SHORT_FRAME, frame + SHORT_FRAME, LONG_FRAME - SHORT_FRAME);
	address(data + LONG_FRAME - SHORT_FRAME + ETH_HLEN, *destination);
	return bpf_redirect(out_ifindex, 0);
}

// bench_arrive counts on the one core that the generator runs on.
SEC("tcx/ingress")
int bench_arrive(struct __sk_buff *skb)
{
	if (skb->len == expected)
		arrived++;
	return TCX_DROP;
}

// bench_return counts frames that XDP sends back to where they were made, and that no skb was ever made of.
SEC("xdp")
int bench_return(struct xdp_md *ctx)
{
	if ((void *)(long)ctx->data_end - (void *)(long)ctx->data == expected)
		arrived++;
	return XDP_DROP;
}

// No helper used here is for GPL programs only.
char _license[] SEC("license") = "Apache-2.0";
