// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Snapshot is every object that the planner may look at. The planner changes none of them.
type Snapshot struct {
	// HubVersion is what clusters are told.
	HubVersion string
	// Hub that plans.
	Hub Hub
	// Brake on what the plan may take away.
	Brake Brake
	// Clusters of the fleet.
	Clusters []Cluster
	// Placements are the OCM placement decisions: "namespace/name" of the Placement → names of the clusters.
	Placements map[string][]string

	// What people wrote. Statuses hold earlier allocations and decisions.
	Pools    []*networkv1alpha1.IPPool
	Vpcs     []*networkv1alpha1.Vpc
	Subnets  []*networkv1alpha1.Subnet
	Peerings []*networkv1alpha1.VpcPeering

	// Addresses that were handed out singly.
	Addresses []*networkv1alpha1.IPAddress

	// What was distributed before, in the clusters' namespaces on the hub, with what the clusters have realized of it.
	Routers  []*spokev1alpha1.LocalRouter
	Gateways []*spokev1alpha1.InterconnectGateway
}

// Hub is who plans, and when in its life. Without a UID nothing is told of it, and nothing doubted.
type Hub struct {
	// UID of the hub, and the one that is recorded in its Fleet.
	UID, RecordedUID string
	// FormerUIDs are those of hubs whose objects it has taken over.
	FormerUIDs []string
	// Epoch of this leader, and the one in which the hub was last confirmed to be right although it had gone back.
	Epoch, RestoredEpoch int64
	// SeenEpoch is the highest epoch that this process has seen itself.
	SeenEpoch int64
}

// Cluster is a member of the fleet.
type Cluster struct {
	// Name of the cluster and of its namespace on the hub.
	Name string
	// Labels that Vpc.spec.clusters.selector selects by.
	Labels map[string]string
	// Accepted by the hub: only accepted clusters are given anything.
	Accepted bool
	// Leaving is true from the moment that somebody asked for it: who deletes the ManagedCluster or its add-on, or the cluster's own agent.
	Leaving bool
	// Endpoints is what the annotation tombolo.io/endpoints of the ManagedCluster says: the ranges that the cluster's gateways and nodes may have
	// their addresses in, joined by commas. Empty: any.
	Endpoints string
	// Gone is true when an administrator said that the cluster will never answer again: nothing of it is waited for.
	Gone bool
	// Left is true when the cluster's agent has said that nothing of Tombolo is left there.
	Left bool
	// Detached is true when the cluster is being deleted on the hub, and so does not come back.
	Detached bool
}
