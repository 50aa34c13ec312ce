// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

const (
	// Finalizer on LocalRouter and InterconnectGateway on the hub: the agent removes it when nothing of the object is left in its cluster.
	Finalizer = "spoke.tombolo.io/realized"
	// LabelVpcNamespace and LabelVpcName on a LocalRouter name its Vpc.
	LabelVpcNamespace = "spoke.tombolo.io/vpc-namespace"
	// LabelVpcName names the Vpc of a LocalRouter.
	LabelVpcName = "spoke.tombolo.io/vpc-name"
	// AnnotationHubUID on the copy in the spoke is the UID of the hub's object; AnnotationHubGeneration its generation.
	AnnotationHubUID = "spoke.tombolo.io/hub-uid"
	// AnnotationHubGeneration on the copy in the spoke is the generation of the hub's object that was copied.
	AnnotationHubGeneration = "spoke.tombolo.io/hub-generation"
	// AnnotationPending on the hub's LocalRouter says which parts of its spec the cluster may not have realized, each with the generation since
	// which it says what it says: a JSON object by Vpc ("shop/front": the ways to it), "." for the router itself, "*" for all that is not named.
	AnnotationPending = "spoke.tombolo.io/pending"
	// AnnotationHub on a LocalRouter, and on its copy, is the identity of the hub that last wrote it: the UID of that hub's namespace kube-system.
	AnnotationHub = "tombolo.io/hub"
	// AnnotationHubEpoch on a LocalRouter, and on its copy, is the epoch of the hub in which it was last written (Fleet.status.epoch).
	AnnotationHubEpoch = "tombolo.io/hub-epoch"
)

// VpcIdentity identifies a Vpc of the fleet.
type VpcIdentity struct {
	// Namespace of the Vpc: its tenant.
	Namespace string `json:"namespace"`
	// Name of the Vpc.
	Name string `json:"name"`
	// VNI of the Vpc (24 bits): packets FOR this Vpc carry it.
	VNI int32 `json:"vni"`
}

// LocalRouterSpec is a Vpc in one cluster.
type LocalRouterSpec struct {
	// Vpc that this is the router of.
	Vpc VpcIdentity `json:"vpc"`
	// VpcUID is the UID of the Vpc, and so the owner of everything that is realized.
	VpcUID string `json:"vpcUID"`
	// Namespaces whose pods join without an annotation.
	// +optional
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
	// Subnets of the Vpc in this cluster.
	// +optional
	// +listType=map
	// +listMapKey=name
	Subnets []RouterSubnet `json:"subnets,omitempty"`
	// LinkCIDR is the transit switch between the router and the gateways: the router has the first address,
	// the gateway endpoint of index i the address 2+i.
	LinkCIDR string `json:"linkCIDR"`
	// Routes are the prefixes that the router sends to the gateways: aggregates, because which cluster has
	// which part is in the gateway's map.
	// +optional
	// +listType=set
	Routes []string `json:"routes,omitempty"`
	// Remotes is where prefixes in other clusters are: those of this Vpc and of its peers. It is both what may be
	// reached and what may come in: a packet whose inner source is in none of them is dropped.
	// +optional
	// +listType=atomic
	Remotes []Remote `json:"remotes,omitempty"`
	// Peers are the Vpcs of this cluster that are joined by a pair of peered router ports.
	// +optional
	// +listType=atomic
	Peers []LocalPeer `json:"peers,omitempty"`
}

// RouterSubnet is a logical switch of the router.
type RouterSubnet struct {
	// Name of the Subnet, in the namespace of the Vpc.
	Name string `json:"name"`
	// CIDR of the subnet.
	CIDR string `json:"cidr"`
	// Gateway is the router's address in it.
	Gateway string `json:"gateway"`
	// ExcludeIPs are not given to pods.
	// +optional
	// +listType=set
	ExcludeIPs []string `json:"excludeIPs,omitempty"`
	// Default marks the subnet of bound namespaces that no subnet names.
	// +optional
	Default bool `json:"default,omitempty"`
	// Namespaces whose pods join this subnet without an annotation.
	// +optional
	// +listType=set
	Namespaces []string `json:"namespaces,omitempty"`
}

// Remote is a Vpc (this one or a peer) in another cluster.
type Remote struct {
	// Vpc that has the prefixes. Packets to them carry its VNI.
	Vpc VpcIdentity `json:"vpc"`
	// Cluster that has them.
	Cluster string `json:"cluster"`
	// Prefixes: subnets, and the link of that router (it sends ICMP errors and answers probes).
	// +listType=set
	Prefixes []string `json:"prefixes"`
	// ProbeAddress is an address of that router which answers ICMP echo.
	// +optional
	ProbeAddress string `json:"probeAddress,omitempty"`
}

// LocalPeer is a peer Vpc in the same cluster.
type LocalPeer struct {
	// Vpc on the other side.
	Vpc VpcIdentity `json:"vpc"`
	// LocalConnectIP is this router's end of the link, as address/length.
	LocalConnectIP string `json:"localConnectIP"`
	// RemoteConnectIP is the other router's end, as address/length.
	RemoteConnectIP string `json:"remoteConnectIP"`
	// Prefixes of the peer in this cluster: subnets and link.
	// +listType=set
	Prefixes []string `json:"prefixes"`
	// ProbeAddress is an address of the peer's router which answers ICMP echo.
	// +optional
	ProbeAddress string `json:"probeAddress,omitempty"`
}

// LocalRouterStatus is what the cluster has realized.
type LocalRouterStatus struct {
	// ObservedGeneration is the hub object's generation that is realized.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Probes are the newest results, one per gateway node and remote router.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Probes []ProbeResult `json:"probes,omitempty"`
	// Gateways are the gateway nodes that have programmed this router's maps, and the generation that they have.
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=64
	Gateways []RouterGateway `json:"gateways,omitempty"`
	// Conditions: Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RouterGateway is what one gateway node has of a router.
type RouterGateway struct {
	// Node name.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// ObservedGeneration is the hub object's generation that its maps hold.
	ObservedGeneration int64 `json:"observedGeneration"`
	// Message is the error, when there is one.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
}

// ProbeResult is what an ICMP echo through the whole data path found.
type ProbeResult struct {
	// Node of the gateway that probes.
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Vpc that is probed, as namespace/name.
	// +kubebuilder:validation:MaxLength=320
	Vpc string `json:"vpc"`
	// Cluster that is probed.
	// +kubebuilder:validation:MaxLength=63
	Cluster string `json:"cluster"`
	// Reachable is true when the newest probes were answered.
	Reachable bool `json:"reachable"`
	// RTTMicroseconds is the round trip of the probe that made the result, in microseconds.
	// +optional
	RTTMicroseconds int64 `json:"rttMicroseconds,omitempty"`
	// LastTransitionTime is when Reachable last changed.
	LastTransitionTime metav1.Time `json:"lastTransitionTime"`
}

// LocalRouter is one Vpc in one cluster: its router, its subnets, and where its remote prefixes are.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo
// +kubebuilder:printcolumn:name="Vpc",type=string,JSONPath=`.spec.vpc.name`
// +kubebuilder:printcolumn:name="VNI",type=integer,JSONPath=`.spec.vpc.vni`
// +kubebuilder:printcolumn:name="Link",type=string,JSONPath=`.spec.linkCIDR`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type LocalRouter struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is written by the hub.
	Spec LocalRouterSpec `json:"spec"`
	// Status is written by the cluster.
	// +optional
	Status LocalRouterStatus `json:"status,omitempty"`
}

// LocalRouterList is a list of LocalRouters.
//
// +kubebuilder:object:root=true
type LocalRouterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LocalRouter `json:"items"`
}
