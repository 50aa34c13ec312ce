// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// FleetName is the name of the one Fleet of a hub.
const FleetName = "fleet"

// FleetSpec is what the fleet's admin decides about removals.
type FleetSpec struct {
	// MaxRemovalPercent is the share of what is distributed that may go at once. A plan that would take away more, and from more than ten objects,
	// is held until somebody confirms it. 100 holds nothing.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxRemovalPercent int32 `json:"maxRemovalPercent,omitempty"`

	// ConfirmedRemoval is the digest of the one removal that is confirmed (status.pendingRemoval.digest). It confirms no other: what a later change
	// makes of it has another digest.
	// +optional
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{0,64}$`
	ConfirmedRemoval string `json:"confirmedRemoval,omitempty"`
}

// FleetStatus is how far the hub has counted, and what it holds back.
type FleetStatus struct {
	// Epoch counts the leaders of the hub. Each counts it up by compare-and-swap before it writes anything else, and everything that is distributed
	// bears the epoch of its last write.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`

	// RestoredEpoch is the epoch in which somebody last confirmed that this hub was restored from a backup and is right: what is written from then on
	// counts in the clusters although they have seen newer.
	// +optional
	RestoredEpoch int64 `json:"restoredEpoch,omitempty"`

	// HubUID is the identity of the hub: the UID of its namespace kube-system.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	HubUID string `json:"hubUID,omitempty"`

	// FormerHubUIDs are the identities of hubs whose objects this one has taken over, as somebody has confirmed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	FormerHubUIDs []string `json:"formerHubUIDs,omitempty"`

	// PendingRemoval is what is held back until somebody confirms it.
	// +optional
	PendingRemoval *PendingRemoval `json:"pendingRemoval,omitempty"`

	// Conditions: Frozen.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PendingRemoval is what a plan would take away from the clusters.
type PendingRemoval struct {
	// Digest of exactly this removal, for `kubectl tombolo confirm`.
	Digest string `json:"digest"`
	// Objects is how many LocalRouters and InterconnectGateways would go or lose something, TotalObjects how many there are.
	Objects int32 `json:"objects"`
	// TotalObjects are all distributed objects.
	TotalObjects int32 `json:"totalObjects"`
	// Routers is how many LocalRouters would be deleted, of TotalRouters.
	Routers int32 `json:"routers"`
	// TotalRouters are all LocalRouters.
	TotalRouters int32 `json:"totalRouters"`
	// Remotes is how many ways to Vpcs (remotes, and peers in the same cluster) would go or lose prefixes, of TotalRemotes. Subnets of a router count too.
	Remotes int32 `json:"remotes"`
	// TotalRemotes are all ways that routers have.
	TotalRemotes int32 `json:"totalRemotes"`
	// Gateways is how many InterconnectGateways would be deleted, of TotalGateways.
	Gateways int32 `json:"gateways"`
	// TotalGateways are all InterconnectGateways.
	TotalGateways int32 `json:"totalGateways"`
	// Endpoints is how many gateway nodes would be withdrawn, of TotalEndpoints.
	Endpoints int32 `json:"endpoints"`
	// TotalEndpoints are all gateway nodes.
	TotalEndpoints int32 `json:"totalEndpoints"`
	// Examples are some of the objects, each with what happens to it and why.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Examples []string `json:"examples,omitempty"`
}

// Fleet is the hub's own: its epoch, and the brake on what it may take away from the clusters. There is one, and the hub makes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=fleets,categories=tombolo
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'fleet'",message="there is one Fleet, and its name is fleet"
// +kubebuilder:printcolumn:name="Epoch",type=integer,JSONPath=`.status.epoch`
// +kubebuilder:printcolumn:name="Frozen",type=string,JSONPath=`.status.conditions[?(@.type=="Frozen")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Frozen")].reason`
// +kubebuilder:printcolumn:name="Max-Removal",type=integer,JSONPath=`.spec.maxRemovalPercent`
// +kubebuilder:printcolumn:name="Pending",type=string,JSONPath=`.status.pendingRemoval.digest`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Frozen")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Fleet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the fleet's admin decides.
	// +optional
	Spec FleetSpec `json:"spec,omitempty"`
	// Status is the hub's.
	// +optional
	Status FleetStatus `json:"status,omitempty"`
}

// FleetList is a list of Fleets.
//
// +kubebuilder:object:root=true
type FleetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Fleet `json:"items"`
}
