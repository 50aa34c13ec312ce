// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InterconnectGatewaySpec is what the fleet knows of a cluster's gateways.
type InterconnectGatewaySpec struct {
	// Cluster whose gateways these are.
	Cluster string `json:"cluster"`
	// Encapsulation between clusters. Only VXLAN (RFC 7348) today.
	// +kubebuilder:validation:Enum=VXLAN
	Encapsulation string `json:"encapsulation"`
	// Port is the UDP port of the encapsulation.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// LinkCIDRs are the link pools: routers send all of them to their gateways.
	// +optional
	// +listType=set
	LinkCIDRs []string `json:"linkCIDRs,omitempty"`
	// Endpoints that the hub has approved.
	// +optional
	// +listType=map
	// +listMapKey=node
	Endpoints []GatewayEndpoint `json:"endpoints,omitempty"`
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
}

// ReportedEndpoint is a gateway node as its cluster reports it.
type ReportedEndpoint struct {
	// Node name.
	Node string `json:"node"`
	// Address on the underlay between clusters.
	Address string `json:"address"`
}

// InterconnectGatewayStatus is what the cluster reports.
type InterconnectGatewayStatus struct {
	// ObservedGeneration is the hub object's generation that is realized.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Endpoints that the cluster has. The hub approves them into the spec.
	// +optional
	// +listType=map
	// +listMapKey=node
	Endpoints []ReportedEndpoint `json:"endpoints,omitempty"`
	// ReservedCIDRs are the cluster's own pod, service and node ranges: no Subnet there may overlap them.
	// +optional
	// +listType=set
	ReservedCIDRs []string `json:"reservedCIDRs,omitempty"`
	// Conditions: Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// InterconnectGateway is one cluster's gateways. All of them together are the directory, which every agent may read;
// an agent writes only the status of its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=tombolo
// +kubebuilder:printcolumn:name="Encapsulation",type=string,JSONPath=`.spec.encapsulation`
// +kubebuilder:printcolumn:name="Port",type=integer,JSONPath=`.spec.port`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
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
