// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VpcReference names a Vpc.
type VpcReference struct {
	// Namespace of the Vpc. Unset: the namespace of the object that refers to it.
	// +optional
	Namespace NamespaceName `json:"namespace,omitempty"`
	// Name of the Vpc.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// VpcPeeringSpec names the two ends. It can't be changed.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec can't be changed: delete the VpcPeering and make another"
type VpcPeeringSpec struct {
	// Vpc is the requester's end, in the namespace of the VpcPeering.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Vpc string `json:"vpc"`
	// PeerVpc is the accepter's end. In another namespace, that tenant accepts with Vpc.spec.peeringDecisions.
	PeerVpc VpcReference `json:"peerVpc"`
}

// VpcPeeringState is where a peering stands between its two tenants, in the words of AWS VPC peering. It says nothing
// of health: an Active peering may have a cluster that is not Programmed, which its conditions tell.
//
// +kubebuilder:validation:Enum=PendingAcceptance;Provisioning;Active;Rejected;Failed;Deleting
type VpcPeeringState string

const (
	// StatePendingAcceptance waits for the accepter's Vpc.spec.peeringDecisions.
	StatePendingAcceptance VpcPeeringState = "PendingAcceptance"
	// StateProvisioning is accepted; not every cluster has programmed it yet.
	StateProvisioning VpcPeeringState = "Provisioning"
	// StateActive is accepted and was programmed in every cluster of both Vpcs.
	StateActive VpcPeeringState = "Active"
	// StateRejected was refused by the accepter. It may be accepted later.
	StateRejected VpcPeeringState = "Rejected"
	// StateFailed can't be: the Accepted condition names why (overlap, missing Vpc, …). Nothing of it is programmed.
	StateFailed VpcPeeringState = "Failed"
	// StateDeleting waits until no cluster programs it any more.
	StateDeleting VpcPeeringState = "Deleting"
)

// VpcPeeringStatus is what the hub has decided and the clusters have realized.
type VpcPeeringStatus struct {
	// State of the request between the two tenants.
	// +optional
	State VpcPeeringState `json:"state,omitempty"`
	// Clusters of both Vpcs, and how far each has come.
	// +optional
	// +listType=map
	// +listMapKey=name
	Clusters []PeeringCluster `json:"clusters,omitempty"`
	// Conditions: Accepted → Allocated → Programmed → Verified.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PeeringCluster is the state of a peering in one cluster.
type PeeringCluster struct {
	// Name of the cluster.
	Name ClusterName `json:"name"`
	// Programmed is true when the cluster has realized the newest decision.
	Programmed bool `json:"programmed"`
	// Verified is true when probes from this cluster reach every cluster of the other Vpc.
	Verified bool `json:"verified"`
	// Message says why not.
	// +optional
	Message string `json:"message,omitempty"`
}

// VpcPeering joins two Vpcs, in the same cluster or not: one object for both ends. It is never transitive.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo,shortName=peering
// +kubebuilder:printcolumn:name="Vpc",type=string,JSONPath=`.spec.vpc`
// +kubebuilder:printcolumn:name="Peer",type=string,JSONPath=`.spec.peerVpc.name`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].status`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Accepted")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",messageExpression="\"metadata.name '\" + self.metadata.name + \"' can't name a router port in OVN without colliding with another: use at most 63 of a-z, 0-9 and '-', no dot\""
type VpcPeering struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec names the two ends.
	Spec VpcPeeringSpec `json:"spec"`
	// Status is what there is.
	// +optional
	Status VpcPeeringStatus `json:"status,omitempty"`
}

// VpcPeeringList is a list of VpcPeerings.
//
// +kubebuilder:object:root=true
type VpcPeeringList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []VpcPeering `json:"items"`
}
