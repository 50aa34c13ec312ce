// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPPoolPurpose says what a pool is for; the hub takes addresses for one purpose from pools of that purpose only.
//
// +kubebuilder:validation:Enum=Vpc;Link;VNI
type IPPoolPurpose string

const (
	// PurposeVpc pools hand out CIDRs of Subnets.
	PurposeVpc IPPoolPurpose = "Vpc"
	// PurposeLink pools hand out the CIDRs between a local router and its gateways or peers. A link is unique in the fleet.
	PurposeLink IPPoolPurpose = "Link"
	// PurposeVNI pools hand out VXLAN network identifiers (RFC 7348), one per Vpc.
	PurposeVNI IPPoolPurpose = "VNI"
)

// IPPoolSpec is the ranges that the hub may hand out.
//
// +kubebuilder:validation:XValidation:rule="self.purpose == 'VNI' ? has(self.vnis) && !has(self.cidrs) : has(self.cidrs) && !has(self.vnis)",message="a pool of purpose VNI takes spec.vnis and no spec.cidrs; every other purpose takes spec.cidrs and no spec.vnis"
// +kubebuilder:validation:XValidation:rule="self.purpose == oldSelf.purpose",message="spec.purpose can't be changed: make another IPPool"
// +kubebuilder:validation:XValidation:rule="!has(self.prefixLengths) || self.purpose != 'VNI'",message="spec.prefixLengths has no meaning for purpose VNI: remove it"
type IPPoolSpec struct {
	// Purpose of the pool. It can't be changed.
	Purpose IPPoolPurpose `json:"purpose"`

	// CIDRs that may be handed out. They may not overlap each other or another pool's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	CIDRs []CIDR `json:"cidrs,omitempty"`

	// PrefixLengths bounds the sizes that are handed out. Unset: /29 for links, /24 for Vpc, any size on request.
	// +optional
	PrefixLengths *PrefixLengths `json:"prefixLengths,omitempty"`

	// VNIs that may be handed out (purpose VNI).
	// +optional
	VNIs *VNIRange `json:"vnis,omitempty"`
}

// PrefixLengths are sizes in bits: 24 is a /24. A smaller number is a larger prefix.
//
// +kubebuilder:validation:XValidation:rule="self.min <= self.default && self.default <= self.max",message="prefixLengths must satisfy min <= default <= max"
type PrefixLengths struct {
	// Min is the shortest prefix length (the largest prefix) handed out.
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=30
	Min int32 `json:"min"`
	// Max is the longest prefix length (the smallest prefix) handed out.
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=30
	Max int32 `json:"max"`
	// Default is the prefix length of a request that names none.
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=30
	Default int32 `json:"default"`
}

// VNIRange is a range of VXLAN network identifiers, both ends included (24 bits, RFC 7348).
//
// +kubebuilder:validation:XValidation:rule="self.first <= self.last",message="vnis.first must not be larger than vnis.last"
type VNIRange struct {
	// First VNI of the range.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16777215
	First int32 `json:"first"`
	// Last VNI of the range.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16777215
	Last int32 `json:"last"`
}

// IPPoolStatus is the ledger of a pool: everything that was handed out and to whom.
// It is changed by compare-and-swap on resourceVersion, before anything that uses an allocation is distributed.
type IPPoolStatus struct {
	// Allocations of the pool, in order of address or VNI.
	// +optional
	// +listType=atomic
	Allocations []Allocation `json:"allocations,omitempty"`

	// Capacity in addresses, or in VNIs for purpose VNI.
	// +optional
	Capacity int64 `json:"capacity,omitempty"`

	// Allocated is how much of the capacity is handed out.
	// +optional
	Allocated int64 `json:"allocated,omitempty"`

	// Conditions: Accepted (ranges are valid and overlap no other pool), Available (there is room left).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Allocation is one entry of a pool's ledger.
type Allocation struct {
	// Value is the CIDR or the VNI (as a decimal number) that was handed out.
	Value string `json:"value"`
	// Owner it was handed out to: kind/namespace/name[/cluster], for example Vpc/shop/vpc-1/east.
	Owner string `json:"owner"`
	// UID of the owner: a new object of the same name gets a new allocation.
	UID string `json:"uid"`
}

// IPPool is a range that the hub may hand out, and the ledger of what it has handed out.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=tombolo
// +kubebuilder:printcolumn:name="Purpose",type=string,JSONPath=`.spec.purpose`
// +kubebuilder:printcolumn:name="CIDRs",type=string,JSONPath=`.spec.cidrs`
// +kubebuilder:printcolumn:name="Allocated",type=integer,JSONPath=`.status.allocated`
// +kubebuilder:printcolumn:name="Capacity",type=integer,JSONPath=`.status.capacity`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the fleet admin wants.
	Spec IPPoolSpec `json:"spec"`
	// Status is the ledger.
	// +optional
	Status IPPoolStatus `json:"status,omitempty"`
}

// IPPoolList is a list of IPPools.
//
// +kubebuilder:object:root=true
type IPPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPPool `json:"items"`
}
