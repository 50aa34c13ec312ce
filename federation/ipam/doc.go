// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ipam is arithmetic on IPv4 prefixes and numbers: what is taken, what
// is free, what overlaps. It knows nothing of Kubernetes, and decides nothing.
//
//	Space    which prefixes are taken; first fit for the next one
//	Numbers  the same for plain numbers, such as VNIs
//	Set      an immutable set of prefixes that finds overlaps
//
// Allocation is first fit, so it is stable: the same Space and the same request
// give the same prefix, whatever came and went before.
package ipam
