// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SubnetSpec is a subnet of a Vpc, in one cluster or one per member cluster.
//
// +kubebuilder:validation:XValidation:rule="has(self.cidrBlock) != has(self.fromPool)",message="set exactly one of cidrBlock and fromPool"
// +kubebuilder:validation:XValidation:rule="self.vpc == oldSelf.vpc",message="spec.vpc can't be changed: make another Subnet"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.cidrBlock) || (has(self.cidrBlock) && self.cidrBlock == oldSelf.cidrBlock)",message="spec.cidrBlock can't be changed: make another Subnet"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || has(self.cidrBlock)",message="spec.gateway goes with spec.cidrBlock: a CIDR from a pool takes its first address as gateway"
// +kubebuilder:validation:XValidation:rule="!has(self.cidrBlock) || !isCIDR(self.cidrBlock) || cidr(self.cidrBlock).prefixLength() <= 29",messageExpression="\"spec.cidrBlock '\" + self.cidrBlock + \"' is too small for a router and a pod: use a /29 or larger\""
// +kubebuilder:validation:XValidation:rule="!has(self.cidrBlock) || !isCIDR(self.cidrBlock) || !has(self.gateway) || !isIP(self.gateway) || cidr(self.cidrBlock).containsIP(self.gateway)",messageExpression="\"spec.gateway '\" + self.gateway + \"' is not in spec.cidrBlock '\" + self.cidrBlock + \"': use an address of it\""
type SubnetSpec struct {
	// Vpc of the subnet, in the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Vpc string `json:"vpc"`

	// Cluster that the subnet is in. Unset: every cluster of the Vpc; a cidrBlock then needs a Vpc of exactly one cluster.
	// +optional
	Cluster ClusterName `json:"cluster,omitempty"`

	// CIDRBlock of the subnet, at least a /29.
	// +optional
	CIDRBlock CIDR `json:"cidrBlock,omitempty"`

	// FromPool takes a CIDR from an IPPool of purpose Vpc, one for each cluster of the subnet.
	// +optional
	FromPool *PoolRequest `json:"fromPool,omitempty"`

	// Gateway is the router's address in the subnet. Unset: the first address.
	// +optional
	Gateway IPv4 `json:"gateway,omitempty"`

	// ExcludeIPs are never given to pods: addresses or ranges "first..last".
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	ExcludeIPs []IPRange `json:"excludeIps,omitempty"`

	// Default makes this the subnet of the Vpc's bound namespaces that no other subnet names.
	// +optional
	Default bool `json:"default,omitempty"`

	// Namespaces whose pods join this subnet without an annotation; see Vpc.spec.namespaces for who may be named.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	Namespaces []NamespaceName `json:"namespaces,omitempty"`
}

// PoolRequest asks an IPPool for a CIDR.
type PoolRequest struct {
	// Name of the IPPool.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// PrefixLength of the CIDR in bits. Unset: the pool's default.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=29
	PrefixLength int32 `json:"prefixLength,omitempty"`
}

// SubnetStatus is what the hub has decided.
type SubnetStatus struct {
	// Clusters of the subnet with the CIDR and gateway in each.
	// +optional
	// +listType=map
	// +listMapKey=name
	Clusters []SubnetCluster `json:"clusters,omitempty"`
	// Conditions: Accepted, Allocated, Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SubnetCluster is a subnet in one cluster.
type SubnetCluster struct {
	// Name of the cluster.
	Name ClusterName `json:"name"`
	// CIDR in this cluster.
	CIDR string `json:"cidr"`
	// Gateway is the router's address in it.
	Gateway string `json:"gateway"`
}

// Subnet is a subnet of a Vpc, in one cluster or one per member cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo
// +kubebuilder:printcolumn:name="Vpc",type=string,JSONPath=`.spec.vpc`
// +kubebuilder:printcolumn:name="CIDR",type=string,JSONPath=`.spec.cidrBlock`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.fromPool.name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Realized",type=string,priority=1,JSONPath=`.status.clusters`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",messageExpression="\"metadata.name '\" + self.metadata.name + \"' can't name a switch in OVN without colliding with another: use at most 63 of a-z, 0-9 and '-', no dot\""
type Subnet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the tenant wants.
	Spec SubnetSpec `json:"spec"`
	// Status is what there is.
	// +optional
	Status SubnetStatus `json:"status,omitempty"`
}

// SubnetList is a list of Subnets.
//
// +kubebuilder:object:root=true
type SubnetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Subnet `json:"items"`
}
