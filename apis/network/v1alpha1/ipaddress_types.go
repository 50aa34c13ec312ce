// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultRoutingDomain is that of pools that name none.
const DefaultRoutingDomain = "external"

// IPAddressSpec says who has an address. It can't be changed.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec can't be changed: an address is given away by deleting its IPAddress"
type IPAddressSpec struct {
	// Address that was handed out.
	Address IPv4 `json:"address"`
	// Pool that it was handed out of.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool"`
	// Owner of the address.
	Owner AddressOwner `json:"owner"`
}

// AddressOwner is the object that an address was handed out to.
type AddressOwner struct {
	// Kind of the object: ElasticIP.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// Namespace of the object.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// UID of the object: a new one of the same name has another.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid"`
}

// IPAddress is one address that was handed out. Its name is the address in its routing domain, so that to create it is the lock: nobody can have
// what somebody else has. The hub makes and deletes them.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,categories=tombolo
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.address`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.owner.kind`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.owner.namespace`
// +kubebuilder:printcolumn:name="Name",type=string,JSONPath=`.spec.owner.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?[.][0-9]{1,3}(-[0-9]{1,3}){3}$') && self.metadata.name.split('.')[1] == self.spec.address.replace('.', '-')",messageExpression="\"metadata.name '\" + self.metadata.name + \"' must be the routing domain, a dot, and spec.address with dashes, such as external.\" + self.spec.address.replace('.', '-')"
type IPAddress struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec says who has it.
	Spec IPAddressSpec `json:"spec"`
}

// IPAddressList is a list of IPAddresses.
//
// +kubebuilder:object:root=true
type IPAddressList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddress `json:"items"`
}

// AddressName is the name of the IPAddress of an address in a routing domain.
func AddressName(domain, address string) string {
	if domain == "" {
		domain = DefaultRoutingDomain
	}
	return domain + "." + strings.ReplaceAll(address, ".", "-")
}
