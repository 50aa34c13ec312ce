// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"slices"
	"strings"
)

// Bounds of what a cluster may report: those of the CRDs. The API server refuses a status beyond one of them as a whole, so agents
// bound theirs before they write it.
const (
	// MaxGateways is how many gateway nodes of a cluster are reported.
	MaxGateways = 64
	// MaxReservedCIDRs is how many ranges of its own a cluster reports.
	MaxReservedCIDRs = 4096
	// MaxTunnels is how many ways to other clusters are reported.
	MaxTunnels = 1024
	// MaxProbes is how many results are reported of one router.
	MaxProbes = 4096

	maxUnreachable = 64
	maxMessage     = 4096
	maxCondition   = 32768
)

// Bound leaves away what is beyond the API's bounds.
func (s *InterconnectGatewayStatus) Bound() {
	s.Endpoints = first(s.Endpoints, MaxGateways)
	s.ReservedCIDRs = first(s.ReservedCIDRs, MaxReservedCIDRs)
	s.Gateways = first(s.Gateways, MaxGateways)
	if len(s.Tunnels) > MaxTunnels { // what does not answer is what others act on
		s.Tunnels = slices.SortedStableFunc(slices.Values(s.Tunnels), func(a, b Tunnel) int {
			return cmp.Compare(min(len(b.Unreachable), 1), min(len(a.Unreachable), 1))
		})[:MaxTunnels]
		slices.SortStableFunc(s.Tunnels, func(a, b Tunnel) int {
			return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
		})
	}
	for i := range s.Tunnels {
		s.Tunnels[i].Unreachable = first(s.Tunnels[i].Unreachable, maxUnreachable)
	}
	for i := range s.Conditions {
		s.Conditions[i].Message = clip(s.Conditions[i].Message, maxCondition)
	}
}

// Bound leaves away what is beyond the API's bounds.
func (s *LocalRouterStatus) Bound() {
	s.Probes = first(s.Probes, MaxProbes)
	s.Gateways = first(s.Gateways, MaxGateways)
	for i := range s.Gateways {
		s.Gateways[i].Message = clip(s.Gateways[i].Message, maxMessage)
	}
	for i := range s.Conditions {
		s.Conditions[i].Message = clip(s.Conditions[i].Message, maxCondition)
	}
}

func first[T any](list []T, n int) []T { return list[:min(len(list), n)] }

// clip keeps whole characters; the API server counts those.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
