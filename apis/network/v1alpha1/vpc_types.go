// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ClusterSelection says which clusters of the fleet; exactly one of the fields is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.names), has(self.selector), has(self.placement)].filter(x, x).size() == 1",message="set exactly one of names, selector and placement"
type ClusterSelection struct {
	// Names of the clusters.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	Names []ClusterName `json:"names,omitempty"`
	// Selector over the labels of the OCM ManagedClusters.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// Placement is the name of an OCM Placement in this namespace, whose decisions are followed.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Placement string `json:"placement,omitempty"`
}

// PeeringDecision answers a VpcPeering that another tenant has requested with this Vpc.
type PeeringDecision struct {
	// Namespace of the VpcPeering.
	Namespace NamespaceName `json:"namespace"`
	// Name of the VpcPeering.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Decision: Accept or Reject. A rejected peering may be accepted later.
	// +kubebuilder:validation:Enum=Accept;Reject
	Decision string `json:"decision"`
}

const (
	// DecisionAccept lets the peering become active.
	DecisionAccept = "Accept"
	// DecisionReject refuses the peering, or ends it when it was active.
	DecisionReject = "Reject"
)

// VpcSpec is an isolated address space over one or more clusters.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.cidr) && has(self.cidrs))",message="set spec.cidr or spec.cidrs, not both"
// +kubebuilder:validation:XValidation:rule="has(self.cidr) == has(oldSelf.cidr) && (!has(self.cidr) || self.cidr == oldSelf.cidr)",message="spec.cidr can't be changed: make another Vpc"
type VpcSpec struct {
	// Clusters that the Vpc lives in.
	Clusters ClusterSelection `json:"clusters"`

	// CIDRs of the Vpc: every Subnet must lie inside one of them, and remote clusters and peers route them as a whole.
	// Unset: the Vpc is the sum of its Subnets.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	CIDRs []CIDR `json:"cidrs,omitempty"`

	// CIDR takes the Vpc's range from a pool instead: status.cidrs has it. Subnets that ask the same pool get theirs inside it. It can't be changed.
	// +optional
	CIDR *VpcCIDR `json:"cidr,omitempty"`

	// Namespaces whose pods join the Vpc's default Subnet without an annotation, in every cluster of the Vpc.
	// The Vpc's own namespace may be named freely; another one must consent with the annotation tombolo.io/vpc.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Namespaces []NamespaceName `json:"namespaces,omitempty"`

	// PeeringDecisions answers the VpcPeerings that other tenants request with this Vpc. Peerings of one tenant need none.
	// +optional
	// +listType=map
	// +listMapKey=namespace
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	PeeringDecisions []PeeringDecision `json:"peeringDecisions,omitempty"`
}

// VpcCIDR asks an IPPool for the range of a Vpc.
type VpcCIDR struct {
	// FromPool is the name of an IPPool of purpose Vpc.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	FromPool string `json:"fromPool"`
	// PrefixLength of the range in bits. Unset: the pool's default.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=29
	PrefixLength int32 `json:"prefixLength,omitempty"`
}

// VpcStatus is what the hub has decided and the clusters have realized.
type VpcStatus struct {
	// VNI of the Vpc: packets for it carry this VXLAN network identifier between clusters.
	// +optional
	VNI int32 `json:"vni,omitempty"`
	// CIDRs of the Vpc: those of the spec, or what spec.cidr got from its pool.
	// +optional
	// +listType=set
	CIDRs []string `json:"cidrs,omitempty"`
	// Clusters of the Vpc and how far each has come.
	// +optional
	// +listType=map
	// +listMapKey=name
	Clusters []VpcCluster `json:"clusters,omitempty"`
	// Conditions: Accepted, Allocated, Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// VpcCluster is the state of a Vpc in one cluster.
type VpcCluster struct {
	// Name of the cluster.
	Name ClusterName `json:"name"`
	// LinkCIDR is the link between the local router and the cluster's interconnect gateways.
	// +optional
	LinkCIDR string `json:"linkCIDR,omitempty"`
	// Subnets of the Vpc in this cluster.
	// +optional
	// +listType=set
	Subnets []string `json:"subnets,omitempty"`
	// Programmed is true when the cluster has realized the newest decision.
	Programmed bool `json:"programmed"`
	// Message says why not, when it has not.
	// +optional
	Message string `json:"message,omitempty"`
}

// Vpc is an isolated address space over one or more clusters. Vpcs may overlap each other as long as they don't peer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo
// +kubebuilder:printcolumn:name="VNI",type=integer,JSONPath=`.status.vni`
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.spec.clusters.names`
// +kubebuilder:printcolumn:name="CIDRs",type=string,priority=1,JSONPath=`.status.cidrs`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Realized",type=string,priority=1,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",messageExpression="\"metadata.name '\" + self.metadata.name + \"' can't name a router in OVN without colliding with another: use at most 63 of a-z, 0-9 and '-', no dot\""
type Vpc struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the tenant wants.
	Spec VpcSpec `json:"spec"`
	// Status is what there is.
	// +optional
	Status VpcStatus `json:"status,omitempty"`
}

// VpcList is a list of Vpcs.
//
// +kubebuilder:object:root=true
type VpcList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Vpc `json:"items"`
}
