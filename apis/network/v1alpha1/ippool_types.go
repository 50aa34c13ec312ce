// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPPoolPurpose says what a pool is for; the hub takes addresses for one purpose from pools of that purpose only.
//
// +kubebuilder:validation:Enum=Vpc;Link;VNI;External;ServiceVIP
type IPPoolPurpose string

const (
	// PurposeVpc pools hand out CIDRs of Vpcs and Subnets.
	PurposeVpc IPPoolPurpose = "Vpc"
	// PurposeLink pools hand out the CIDRs between a local router and its gateways or peers. A link is unique in the fleet.
	PurposeLink IPPoolPurpose = "Link"
	// PurposeVNI pools hand out VXLAN network identifiers (RFC 7348), one per Vpc.
	PurposeVNI IPPoolPurpose = "VNI"
	// PurposeExternal pools hand out single addresses that are reached from outside of Vpcs (ElasticIP).
	PurposeExternal IPPoolPurpose = "External"
	// PurposeServiceVIP pools hand out single addresses of services.
	PurposeServiceVIP IPPoolPurpose = "ServiceVIP"
)

// IPPoolSpec is the ranges that the hub may hand out.
//
// +kubebuilder:validation:XValidation:rule="self.purpose == 'VNI' ? has(self.vnis) && !has(self.cidrs) : !has(self.vnis)",message="a pool of purpose VNI takes spec.vnis and no spec.cidrs; every other purpose takes spec.cidrs and no spec.vnis"
// +kubebuilder:validation:XValidation:rule="self.purpose == 'VNI' || has(self.cidrs) != (has(self.parent) && has(self.parent.prefixLength))",message="set spec.cidrs, or spec.parent with a prefixLength to be cut from the parent"
// +kubebuilder:validation:XValidation:rule="!has(self.parent) || self.purpose != 'VNI'",message="spec.parent has no meaning for purpose VNI: remove it"
// +kubebuilder:validation:XValidation:rule="has(self.parent) == has(oldSelf.parent) && (!has(self.parent) || self.parent == oldSelf.parent)",message="spec.parent can't be changed: make another IPPool"
// +kubebuilder:validation:XValidation:rule="!has(self.exclude) || self.purpose != 'VNI'",message="spec.exclude has no meaning for purpose VNI: import the numbers that somebody else uses"
// +kubebuilder:validation:XValidation:rule="!has(self.routingDomain) || self.purpose in ['External', 'ServiceVIP']",message="spec.routingDomain has a meaning for purposes External and ServiceVIP only: remove it"
// +kubebuilder:validation:XValidation:rule="has(self.routingDomain) == has(oldSelf.routingDomain) && (!has(self.routingDomain) || self.routingDomain == oldSelf.routingDomain)",message="spec.routingDomain can't be changed: make another IPPool"
// +kubebuilder:validation:XValidation:rule="!has(self.imports) || self.imports.all(i, self.purpose == 'VNI' ? i.value.matches('^[1-9][0-9]{0,7}$') : isCIDR(i.value) && !i.value.contains(':') && string(cidr(i.value).masked()) == i.value)",message="spec.imports takes VNIs such as 4097 in a pool of purpose VNI, and canonical IPv4 CIDRs such as 10.0.0.0/24 in every other"
// +kubebuilder:validation:XValidation:rule="self.purpose == oldSelf.purpose",message="spec.purpose can't be changed: make another IPPool"
// +kubebuilder:validation:XValidation:rule="!has(self.prefixLengths) || self.purpose != 'VNI'",message="spec.prefixLengths has no meaning for purpose VNI: remove it"
type IPPoolSpec struct {
	// Purpose of the pool. It can't be changed.
	Purpose IPPoolPurpose `json:"purpose"`

	// Parent is the pool that this one takes its ranges out of. It can't be changed.
	// +optional
	Parent *PoolParent `json:"parent,omitempty"`

	// RoutingDomain is where the addresses of purposes External and ServiceVIP are routed: pools of one domain don't overlap, and an address is given
	// away once in it. It can't be changed. Unset: external.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	RoutingDomain string `json:"routingDomain,omitempty"`

	// CIDRs that may be handed out. They may not overlap each other or another pool's; with a parent they lie inside it. Ranges can be added at any
	// time, and taken out when nothing in them is in use.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	CIDRs []CIDR `json:"cidrs,omitempty"`

	// PrefixLengths bounds the sizes that are handed out. Unset: /29 for links, /24 for Vpc, any size on request.
	// +optional
	PrefixLengths *PrefixLengths `json:"prefixLengths,omitempty"`

	// Exclude is never handed out: addresses, or ranges first..last. What is in use there stays with its holder.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Exclude []IPRange `json:"exclude,omitempty"`

	// Imports are ranges that somebody outside of Tombolo uses: they are in the ledger like all that is handed out.
	// +optional
	// +listType=map
	// +listMapKey=value
	// +kubebuilder:validation:MaxItems=256
	Imports []PoolImport `json:"imports,omitempty"`

	// WarnPercent is the share of the capacity from which on the condition Available warns. Unset: 90.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	WarnPercent int32 `json:"warnPercent,omitempty"`

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

// PoolParent is the pool that another one is nested in.
type PoolParent struct {
	// Name of the parent, an IPPool of the same purpose and routing domain.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// PrefixLength of the range that is cut out of the parent. Unset: spec.cidrs names the ranges.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=30
	PrefixLength int32 `json:"prefixLength,omitempty"`
}

// PoolImport is a range that somebody outside of Tombolo uses.
type PoolImport struct {
	// Value is the CIDR, or the VNI in a pool of purpose VNI.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=18
	Value string `json:"value"`
	// Holder is who uses it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Holder string `json:"holder"`
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

	// CIDRs that the pool has: those of the spec, or what was cut out of its parent.
	// +optional
	// +listType=set
	CIDRs []string `json:"cidrs,omitempty"`

	// Capacity in addresses, or in VNIs for purpose VNI.
	// +optional
	Capacity int64 `json:"capacity,omitempty"`

	// Allocated is how much of the capacity is handed out, what waits in quarantine included.
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
	// Owner it was handed out to: kind/namespace/name[/cluster], for example Vpc/shop/vpc-1/east. A pool that is nested in this one is IPPool/NAME, and
	// somebody outside of Tombolo Import/HOLDER.
	Owner string `json:"owner"`
	// UID of the owner: a new object of the same name gets a new allocation.
	UID string `json:"uid"`
	// Released is true when the owner is gone: nobody gets the value until everybody who had it has let go (docs/decisions/0014).
	// +optional
	Released bool `json:"released,omitempty"`
}

// IPPool is a range that the hub may hand out, and the ledger of what it has handed out.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=tombolo
// +kubebuilder:printcolumn:name="Purpose",type=string,JSONPath=`.spec.purpose`
// +kubebuilder:printcolumn:name="CIDRs",type=string,JSONPath=`.status.cidrs`
// +kubebuilder:printcolumn:name="Parent",type=string,priority=1,JSONPath=`.spec.parent.name`
// +kubebuilder:printcolumn:name="Allocated",type=integer,JSONPath=`.status.allocated`
// +kubebuilder:printcolumn:name="Capacity",type=integer,JSONPath=`.status.capacity`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Available",type=string,JSONPath=`.status.conditions[?(@.type=="Available")].reason`
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
