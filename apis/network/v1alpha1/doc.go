// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is what people write on the hub: the address space of a
// fleet, its virtual private clouds, and who may talk to whom.
//
//	IPPool ──hands out──▶ VNIs, links, subnet CIDRs
//	Vpc ◀──belongs to── Subnet          (one tenant: one namespace)
//	Vpc ◀──VpcPeering──▶ Vpc            (never transitive; the other tenant accepts)
//
// The namespace is the tenant. By namespace sameness the namespace of that name
// is the same tenant in every cluster of the fleet.
//
// +kubebuilder:object:generate=true
// +groupName=network.tombolo.io
package v1alpha1
