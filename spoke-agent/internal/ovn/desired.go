// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import "net/netip"

// Desired is everything that this agent wants of the northbound database.
type Desired struct {
	// Routers that must be there, whole.
	Routers []Router
	// Removed are owners whose deletion was asked for by name. Rows of an owner that is neither here nor in Routers
	// are left alone and reported: nothing is deleted because it was not mentioned.
	Removed []string
}

// Router is one Vpc in this cluster: a Logical_Router with its switches, its transit switch and its peer ports.
type Router struct {
	// Owner is the UID of the Vpc: it marks every row.
	Owner string
	// Name is "namespace.vpc": unique, because neither part holds a dot.
	Name string
	// Subnets are the logical switches.
	Subnets []Subnet
	// Transit is the switch to the interconnect gateways.
	Transit Transit
	// Peers are pairs of peered router ports; the other half is in the other Router.
	Peers []Peer
	// Routes are static routes by destination.
	Routes []Route
}

// Subnet is a Logical_Switch with a router port and the pods' ports.
type Subnet struct {
	// Name is "namespace.vpc.subnet".
	Name string
	// CIDR whose addresses OVN hands out (Logical_Switch other_config:subnet).
	CIDR netip.Prefix
	// Gateway is the router port's address.
	Gateway netip.Addr
	// ExcludeIPs in OVN's words: "10.0.0.2" or "10.0.0.2..10.0.0.9" (other_config:exclude_ips).
	ExcludeIPs []string
	// Ports of pods, with addresses by OVN's dynamic addressing.
	Ports []Port
}

// Port is a pod's Logical_Switch_Port.
type Port struct {
	// Name is also the iface-id of the OVS interface: "pod-UID".
	Name string
	// Owner is the UID of the pod, and Pod its "namespace/name", for external_ids.
	Owner, Pod string
}

// Transit is the switch between the router and the gateway nodes.
type Transit struct {
	// Name is "ts-namespace.vpc".
	Name string
	// RouterAddress is the router's address and the length of the link.
	RouterAddress netip.Prefix
	// RouterMAC of the router's port.
	RouterMAC string
	// Gateways are the ports of the gateway nodes.
	Gateways []TransitPort
}

// TransitPort is a gateway node's port on the transit switch.
type TransitPort struct {
	// Name is also the iface-id of the OVS interface.
	Name string
	// Address and MAC of the gateway's end: northd installs static resolution for them.
	Address netip.Addr
	MAC     string
}

// Peer is this router's half of a pair of peered ports (Logical_Router_Port.peer).
type Peer struct {
	// Name of this port ("pp-ns.vpc:peerns.peervpc"), RemoteName of the other's.
	Name, RemoteName string
	// Address of this port and the length of the link.
	Address netip.Prefix
	// MAC of this port.
	MAC string
}

// Route is a Logical_Router_Static_Route by destination; several next hops are ECMP (one row each).
type Route struct {
	Prefix   netip.Prefix
	NextHops []netip.Addr
}

// Report is what Set found and did.
type Report struct {
	// Operations sent in the one transaction; 0 when nothing had to change.
	Operations int
	// Orphans are owners that have rows but are neither desired nor removed.
	Orphans []string
	// Refused are the desired owners, and why, whose rows were left as they are because a name is taken by a row of
	// somebody else. Nothing tells when that row goes: call Set again after a while.
	Refused map[string]error
	// Ports are the pods' ports that have their address from OVN, by name.
	Ports map[string]PortBinding
}

// PortBinding is what OVN gave a port (Logical_Switch_Port.dynamic_addresses).
type PortBinding struct {
	Address netip.Addr
	MAC     string
	// Up is true when a chassis has bound the port.
	Up bool
}
