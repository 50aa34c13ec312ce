// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "net/netip"

// Overhead is what encapsulation adds to an IPv4 packet, in bytes: Ethernet, IPv4, UDP and VXLAN (RFC 7348).
const Overhead = 50

// Config is everything that the gateway of one node forwards. Set(Config) makes it so.
type Config struct {
	// Underlay is where encapsulated packets leave and arrive.
	Underlay Underlay
	// Ports are the gateway ports, one per Vpc.
	Ports []Port
	// Clusters are the other clusters' gateways.
	Clusters []Cluster
	// Relays are what may pass this node from one cluster to another. What is not listed does not.
	Relays []Relay
	// Pods are this node's: what they send to other clusters, and get from there, goes past the integration bridge.
	Pods []Pod
	// Own is this node's own cluster.
	Own Own
}

// Underlay is the interface between clusters.
type Underlay struct {
	// Interface name, for example eth0.
	Interface string
	// Address of this node on it: the outer source, and the outer destination that is taken in.
	Address netip.Addr
	// UDPPort of the encapsulation.
	UDPPort uint16
	// Tunnel is the interface that encrypts, for example tbwg0: it takes and gives IPv4 packets without an Ethernet
	// header. Empty: nothing is encrypted here. Without it nothing goes to encrypted clusters, and nothing of theirs comes in.
	Tunnel string
	// VXLAN is the name of the kernel's VXLAN device on UDPPort (see link.EnsureVXLAN): what the programs can't do goes
	// there. Empty is none, and such packets are dropped.
	VXLAN string
	// EchoPort is the UDP port of this node that its echoes are sent from (see package tunnelprobe): answers to it are taken
	// from the tunnel. 0 is none.
	EchoPort uint16
	// Quiet answers no echoes: others then send to other gateways, if they know one that answers. What they send here all the same
	// is forwarded as ever.
	Quiet bool
	// XDP relays before the kernel makes an skb of a packet (tombolo_xdp on the interface); what it can't send goes
	// the way that it goes without. It is for physical interfaces whose driver has XDP, on nodes that forward IPv4
	// (ip_forward). Where the wire carries VLANs the interface must leave their tags on (ethtool -K … rxvlan off): XDP
	// can't see a tag that the hardware has taken off. A veth loses unfinished checksums to XDP, and sends only if its
	// other end has an XDP program too.
	XDP bool
}

// Port is one Vpc's gateway port on this node.
type Port struct {
	// Interface name of the gateway's end (tombolo_out is attached to its ingress). Empty: the node is no gateway of the Vpc
	// and has only Pods of it; what it can't give to one of them it passes on to Own.Gateways.
	Interface string
	// Vpc is the "namespace/name" for counters and dumps.
	Vpc string
	// VNI of the Vpc: packets that arrive with it are for this port.
	VNI uint32
	// GatewayMAC of this end and RouterMAC of the OVN router's port.
	GatewayMAC, RouterMAC string
	// Address is this node's own link address in the Vpc: packets to it are left to the
	// prober's packet socket, and ICMP errors come from it. The zero Addr means none.
	Address netip.Addr
	// Local are the prefixes of the Vpc in this cluster, the link range among them: what may be delivered.
	Local []netip.Prefix
	// Remotes are where packets go, and the only sources that may come in.
	Remotes []Remote
}

// Remote is a Vpc (the port's own or a peer) in another cluster.
type Remote struct {
	// Vpc is the "namespace/name" for counters and dumps.
	Vpc string
	// VNI that packets to it carry.
	VNI uint32
	// Cluster that has the prefixes, a name in Config.Clusters.
	Cluster string
	// Prefixes there.
	Prefixes []netip.Prefix
}

// Cluster is another cluster's gateways.
type Cluster struct {
	// Name of the cluster.
	Name string
	// Endpoints that packets to it are sent to, its gateway nodes or, where only this cluster's own gateways reach it, those; a
	// flow sticks to one of the first 16 by hash.
	Endpoints []netip.Addr
	// Senders are the only outer sources of its packets: its gateway nodes and those other nodes of it that may send by
	// themselves. None: its Endpoints.
	Senders []netip.Addr
	// Encrypted: packets go and come through Underlay.Tunnel, and no other way.
	Encrypted bool
	// MTU is the longest encapsulated packet, in bytes, that is known to arrive there; longer than the interface's it has no
	// effect. 0: the interface's.
	MTU int
}

// Relay lets packets of one VNI pass from one cluster to another, in one direction, for clusters that don't reach each
// other: the outer header is rewritten and the packet sent on, and no port of the VNI is needed here. Both ends take this
// node's cluster for the one that has the prefixes (Remote.Cluster), and on a way with several relays From and To are
// the neighbours of this one.
type Relay struct {
	// VNI that the packets carry: that of the Vpc they are for.
	VNI uint32
	// From is the cluster that sends, and Sources the only inner sources that it may send from.
	From    string
	Sources []netip.Prefix
	// To is the cluster that gets them, and Destinations the inner destinations there.
	To           string
	Destinations []netip.Prefix
}

// Pod is a pod of this node. Its packets to Remotes of its Vpc's Port leave the node encapsulated, and those that come for it
// go straight into its namespace; everything else that it sends and gets, and all that needs a router's attention (TTL,
// options, what is too big, encrypted clusters), goes through the integration bridge as if this were not here.
type Pod struct {
	// Interface is the node's end of the pod's veth (tombolo_pod is attached to its ingress).
	Interface string
	// Switch is the interface by which the pod's other packets go to the integration bridge and come from there. Empty:
	// Interface itself is the bridge's port. Open vSwitch's userspace datapath needs it, as it takes packets off a port
	// before any program sees them.
	Switch string
	// VNI of its Vpc, which must have a Port.
	VNI uint32
	// Address and MAC of the pod, and RouterMAC of the next hop that it has for other networks.
	Address        netip.Addr
	MAC, RouterMAC string
}

// Own is this node's own cluster: its other nodes, which have checked what they pass on.
type Own struct {
	// Name of the cluster: a Relay from it lets its Nodes send through this gateway.
	Name string
	// Gateways take what is for a Vpc of this cluster and none of this node's Pods. A flow sticks to one of the first 16.
	Gateways []netip.Addr
	// Nodes of the cluster, gateways among them, this one not.
	Nodes []netip.Addr
	// Hosts say, on a gateway, which node has a pod: packets for it are sent on to that node, not into the gateway port.
	Hosts []Host
}

// Host is where a pod is.
type Host struct {
	// VNI of the pod's Vpc, and its address there.
	VNI     uint32
	Address netip.Addr
	// Node is the underlay address of the node, one of Own.Nodes.
	Node netip.Addr
}
