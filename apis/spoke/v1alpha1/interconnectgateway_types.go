// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Encryption of what gateways of different clusters send each other.
//
// +kubebuilder:validation:Enum=None;WireGuard
type Encryption string

// Encryptions that a cluster may want.
const (
	// EncryptionNone means that packets cross the underlay as they are, unless the other cluster wants otherwise.
	EncryptionNone Encryption = "None"
	// EncryptionWireGuard means that packets cross the underlay encrypted, or not at all.
	EncryptionWireGuard Encryption = "WireGuard"
)

// Encrypted says whether the gateways of two clusters must encrypt what they send each other: one that wants it is enough.
// Hub and both clusters come to the same answer, because all of them ask here.
func Encrypted(a, b *InterconnectGatewaySpec) bool {
	return a.Encryption == EncryptionWireGuard || b.Encryption == EncryptionWireGuard
}

// Membership of a cluster in the fleet.
//
// +kubebuilder:validation:Enum=Member;Draining;Drained
type Membership string

// Memberships, in the order of a cluster's life. A drained cluster that comes back is a Member again.
const (
	// MembershipMember means that the cluster takes part.
	MembershipMember Membership = "Member"
	// MembershipDraining means that the cluster is leaving, and that others still have routes to it.
	MembershipDraining Membership = "Draining"
	// MembershipDrained means that no other cluster has a route to this one and that it has no LocalRouter any more: what its agent has made
	// there can be removed.
	MembershipDrained Membership = "Drained"
)

// InterconnectGatewaySpec is what the fleet knows of a cluster's gateways.
type InterconnectGatewaySpec struct {
	// Cluster whose gateways these are.
	Cluster string `json:"cluster"`
	// Membership of the cluster. Member when it is empty.
	// +optional
	Membership Membership `json:"membership,omitempty"`
	// AwaitedClusters may still have a way to this cluster while it is Draining.
	// +optional
	// +listType=set
	AwaitedClusters []string `json:"awaitedClusters,omitempty"`
	// Detached is true while the cluster leaves because it is being deleted on the hub: when it is drained, its agent takes down what it has
	// made there without being asked again.
	// +optional
	Detached bool `json:"detached,omitempty"`
	// HubVersion is the version of the hub that wrote this. An agent of a newer minor version says so in condition VersionSupported.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	HubVersion string `json:"hubVersion,omitempty"`
	// Hub that wrote this.
	// +optional
	Hub HubIdentity `json:"hub,omitzero"`
	// Encapsulation between clusters. Only VXLAN (RFC 7348) today.
	// +kubebuilder:validation:Enum=VXLAN
	Encapsulation string `json:"encapsulation"`
	// Port is the UDP port of the encapsulation.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// Encryption that this cluster wants with every other one. None when it is empty.
	// +optional
	Encryption Encryption `json:"encryption,omitempty"`
	// LinkCIDRs are the link pools: routers send all of them to their gateways.
	// +optional
	// +listType=set
	LinkCIDRs []string `json:"linkCIDRs,omitempty"`
	// Endpoints that the hub has approved.
	// +optional
	// +listType=map
	// +listMapKey=node
	Endpoints []GatewayEndpoint `json:"endpoints,omitempty"`
	// Nodes of the cluster, gateways among them, that the hub has approved to send to other clusters' nodes by themselves
	// and to get packets from them. Empty unless the ManagedCluster has the label tombolo.io/node-to-node: "true": then only
	// gateways send to other clusters.
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=1024
	Nodes []ClusterNode `json:"nodes,omitempty"`
	// ReleasedVpcs are the UIDs of Vpcs whose addresses in this cluster wait for it: the hub has no LocalRouter of them any more. The cluster makes no
	// copy of them, and status.holds says whether one is left.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ReleasedVpcs []string `json:"releasedVpcs,omitempty"`
	// Refused is what the cluster reports and the hub has not approved, and why. Of more than 16 the first are told.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Refused []RefusedReport `json:"refused,omitempty"`
}

// HubIdentity says which hub wrote an object, and when in its life.
type HubIdentity struct {
	// UID of the hub: that of its namespace kube-system.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
	// Epoch of the hub when it wrote this (Fleet.status.epoch). A new epoch alone is no reason to write.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// RestoredEpoch is the epoch in which somebody confirmed that the hub was restored from a backup and is right: what was written in that epoch or
	// later replaces copies of earlier epochs whatever their generation.
	// +optional
	RestoredEpoch int64 `json:"restoredEpoch,omitempty"`
}

// MaxReleased is how many Vpcs a cluster is asked about at a time; the others wait for their turn.
const MaxReleased = 1024

// MaxHolds is how many Vpcs a cluster can say that it holds. One that has more says nothing, and nothing that it was given is free.
const MaxHolds = 4096

// Hold is what a cluster has of a Vpc, whatever the hub says.
type Hold struct {
	// VpcUID is the UID of the Vpc.
	// +kubebuilder:validation:MaxLength=64
	VpcUID string `json:"vpcUID"`
	// VNI of the Vpc.
	VNI int32 `json:"vni"`
	// LinkCIDR of the Vpc in this cluster.
	// +kubebuilder:validation:MaxLength=43
	LinkCIDR string `json:"linkCIDR"`
}

// RefusedReport is an endpoint, node or key that the hub has not approved.
type RefusedReport struct {
	// Node that it was reported for.
	Node string `json:"node"`
	// Address that was reported.
	Address string `json:"address"`
	// Reason: NodeInvalid, AddressInvalid, AddressNotAllowed, AddressTaken, TooManyGateways, KeyInvalid, KeyTaken or LastGateway.
	Reason string `json:"reason"`
	// Message says who has it, or what is wrong with it, and what to do.
	Message string `json:"message"`
}

// MaxNodes is how many nodes of a cluster other clusters' nodes can know. A larger cluster stays on its gateways.
const MaxNodes = 1024

// ClusterNode is a node with programs that pods send by (docs/decisions/0011).
type ClusterNode struct {
	// Node name.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Address of the node on the underlay between clusters: what it sends from, and what is sent to.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address"`
}

// GatewayEndpoint is one gateway node.
type GatewayEndpoint struct {
	// Node name.
	Node string `json:"node"`
	// Address that the other clusters' gateways send to and expect packets from.
	Address string `json:"address"`
	// Index of the endpoint in its cluster, stable for its life: the link address of the node is 2+index.
	// +kubebuilder:validation:Minimum=0
	Index int32 `json:"index"`
	// PublicKey of the node's WireGuard, which the hub has approved: 32 octets in base64. Empty: nobody can encrypt to it.
	// +optional
	PublicKey PublicKey `json:"publicKey,omitempty"`
	// WireGuardPort is the UDP port of the node's WireGuard.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	WireGuardPort int32 `json:"wireGuardPort,omitempty"`
}

// PublicKey is a Curve25519 public key (RFC 7748) in base64, as `wg pubkey` writes it.
//
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`
type PublicKey string

// ReportedEndpoint is a gateway node as its cluster reports it.
type ReportedEndpoint struct {
	// Node name.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Address on the underlay between clusters.
	// +kubebuilder:validation:MaxLength=64
	Address string `json:"address"`
	// PublicKey of the node's WireGuard. The private half never leaves the node.
	// +optional
	PublicKey PublicKey `json:"publicKey,omitempty"`
	// WireGuardPort is the UDP port of the node's WireGuard.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	WireGuardPort int32 `json:"wireGuardPort,omitempty"`
}

// InterconnectGatewayStatus is what the cluster reports.
type InterconnectGatewayStatus struct {
	// ObservedGeneration is the hub object's generation that is realized.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ObservedEpoch is the highest epoch of the hub that the cluster has seen.
	// +optional
	ObservedEpoch int64 `json:"observedEpoch,omitempty"`
	// AgentVersion is the version of the agent that speaks for the cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AgentVersion string `json:"agentVersion,omitempty"`
	// ClusterID is the UID of the cluster's namespace kube-system: no two clusters have the same. An agent of another cluster that was given
	// this cluster's name leaves the object alone.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ClusterID string `json:"clusterID,omitempty"`
	// Endpoints that the cluster has. The hub approves them into the spec.
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=64
	Endpoints []ReportedEndpoint `json:"endpoints,omitempty"`
	// Nodes that pods send by, by themselves. The hub approves them into the spec, if the cluster's label says so. More than
	// 1024 are not reported, none of them: such a cluster stays on its gateways.
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=1024
	Nodes []ClusterNode `json:"nodes,omitempty"`
	// ReservedCIDRs are the cluster's own pod, service and node ranges: no Subnet there may overlap them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MaxLength=64
	ReservedCIDRs []string `json:"reservedCIDRs,omitempty"`
	// Holds is what the cluster has copies of, in order of UID; no list at all when it has never said, or has more than 4096. What is in it is kept from
	// everybody else.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Holds *[]Hold `json:"holds,omitempty"`
	// HoldsGeneration is the generation of the hub's object that the cluster had seen when it looked what it holds.
	// +optional
	HoldsGeneration int64 `json:"holdsGeneration,omitempty"`
	// HoldsVersion is the version of the agent that has said what the cluster holds. When agentVersion is an older one, that is what was so before the agent
	// was rolled back to a version that does not say it: its addresses are kept, and nothing waits for an answer.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	HoldsVersion string `json:"holdsVersion,omitempty"`
	// Gateways are the nodes that are labelled as gateways, and what each of them can and can't do.
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=64
	Gateways []GatewayNode `json:"gateways,omitempty"`
	// Tunnels are what the gateway nodes measured of the way to other clusters, and to each other. They are written when something has changed that
	// matters, and not for every round trip: those are metrics.
	// +optional
	// +listType=map
	// +listMapKey=cluster
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=1024
	Tunnels []Tunnel `json:"tunnels,omitempty"`
	// Conditions: Programmed, DataPathReady, which names the node that is worst off, EndpointsApproved, VersionSupported, HubTrusted, AgentAlive (the hub's), and Leaving when the cluster's
	// administrator removes Tombolo from it.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GatewayNode is what one gateway node says of itself.
type GatewayNode struct {
	// Node name.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// PodNodes are other nodes of the cluster that this one reaches through OVN: of the first eight with pods of Vpcs those of which a pod answers.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	PodNodes []string `json:"podNodes,omitempty"`
	// Conditions: DataPathReady, FirstOnHooks, SlowPathReady, EncryptionReady, MTUSufficient, PodsReachable, and Reachable, which is not the node's own word.
	// What is False has the cure in its message.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Tunnel is the way from one gateway node to a cluster's gateways; in its own cluster, to the others. Where there are several, each value is
// of the one that does worst.
type Tunnel struct {
	// Cluster at the other end.
	// +kubebuilder:validation:MaxLength=63
	Cluster string `json:"cluster"`
	// Node of this cluster that measured.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Reachable is true while every gateway there answers.
	Reachable bool `json:"reachable"`
	// Unreachable are the gateway nodes there that do not answer. Nothing is sent to them as long as others do.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	Unreachable []string `json:"unreachable,omitempty"`
	// Answering is how many gateway nodes there answer.
	// +optional
	Answering int32 `json:"answering,omitempty"`
	// RTTMicroseconds is the median round trip of a minute, in microseconds.
	// +optional
	RTTMicroseconds int64 `json:"rttMicroseconds,omitempty"`
	// LossPermille is how many of a thousand echoes were lost in that minute.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	LossPermille int32 `json:"lossPermille"`
	// PathMTU is the largest encapsulated IPv4 packet that passes both ways, in bytes; 0 while it is not known.
	// +optional
	PathMTU int32 `json:"pathMTU,omitempty"`
	// LastTransitionTime is when Reachable, Unreachable or PathMTU last changed.
	LastTransitionTime metav1.Time `json:"lastTransitionTime"`
}

// InterconnectGateway is one cluster's gateways. All of them together are the directory, which every agent may read;
// an agent writes only the status of its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo
// +kubebuilder:printcolumn:name="Encapsulation",type=string,JSONPath=`.spec.encapsulation`
// +kubebuilder:printcolumn:name="Port",type=integer,JSONPath=`.spec.port`
// +kubebuilder:printcolumn:name="Encryption",type=string,JSONPath=`.spec.encryption`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="DataPath",type=string,JSONPath=`.status.conditions[?(@.type=="DataPathReady")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="DataPathReady")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="DataPathReady")].message`
// +kubebuilder:printcolumn:name="Membership",type=string,priority=1,JSONPath=`.spec.membership`
// +kubebuilder:printcolumn:name="Agent",type=string,priority=1,JSONPath=`.status.agentVersion`
// +kubebuilder:printcolumn:name="Refused",type=string,priority=1,JSONPath=`.spec.refused[0].reason`
// +kubebuilder:printcolumn:name="Endpoints",type=string,priority=1,JSONPath=`.spec.endpoints`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type InterconnectGateway struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is written by the hub.
	Spec InterconnectGatewaySpec `json:"spec"`
	// Status is written by the cluster.
	// +optional
	Status InterconnectGatewayStatus `json:"status,omitempty"`
}

// InterconnectGatewayList is a list of InterconnectGateways.
//
// +kubebuilder:object:root=true
type InterconnectGatewayList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []InterconnectGateway `json:"items"`
}
