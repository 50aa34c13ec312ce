// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ElasticIPSpec asks for one address. It can't be changed.
//
// +kubebuilder:validation:XValidation:rule="self.pool == oldSelf.pool && has(self.address) == has(oldSelf.address) && (!has(self.address) || self.address == oldSelf.address)",message="spec can't be changed: make another ElasticIP"
type ElasticIPSpec struct {
	// Pool is the name of an IPPool of purpose External.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool"`
	// Address that is wanted. Unset: any of the pool.
	// +optional
	Address IPv4 `json:"address,omitempty"`
}

// ElasticIPStatus is what the hub has given.
type ElasticIPStatus struct {
	// Address of the ElasticIP, for as long as it exists.
	// +optional
	Address string `json:"address,omitempty"`
	// UsedBy is who uses it, as kind/namespace/name. What is used is not released.
	// +optional
	// +kubebuilder:validation:MaxLength=380
	UsedBy string `json:"usedBy,omitempty"`
	// Conditions: Allocated.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ElasticIP is an address of a tenant, from a pool of purpose External, that stays the same until it is deleted.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo,shortName=eip
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Used by",type=string,JSONPath=`.status.usedBy`
// +kubebuilder:printcolumn:name="Allocated",type=string,JSONPath=`.status.conditions[?(@.type=="Allocated")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Allocated")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ElasticIP struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the tenant wants.
	Spec ElasticIPSpec `json:"spec"`
	// Status is what there is.
	// +optional
	Status ElasticIPStatus `json:"status,omitempty"`
}

// ElasticIPList is a list of ElasticIPs.
//
// +kubebuilder:object:root=true
type ElasticIPList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ElasticIP `json:"items"`
}
