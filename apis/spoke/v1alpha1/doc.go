// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 is what the hub tells ONE cluster, in that cluster's
// namespace on the hub. Its status is what that cluster has realized.
//
//	LocalRouter          one per Vpc and cluster: router, subnets, where remote prefixes are
//	InterconnectGateway  one per cluster: encapsulation and approved endpoints; all of them together are the directory
//
// The spoke agent keeps a copy of these objects in its own cluster and works from the copy alone,
// so a hub that is away freezes changes and breaks nothing.
//
// +kubebuilder:object:generate=true
// +groupName=spoke.tombolo.io
package v1alpha1
