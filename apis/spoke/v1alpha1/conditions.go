// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ConditionProgrammed is True when OVN and the gateway nodes have it (LocalRouter), and when every gateway node serves every
// router (InterconnectGateway).
const ConditionProgrammed = "Programmed"

// Reasons of the Programmed condition.
const (
	// ReasonProgrammed: it is realized.
	ReasonProgrammed = "Programmed"
	// ReasonWaitingForOVN: the router controller has not come to this generation yet.
	ReasonWaitingForOVN = "WaitingForOVN"
	// ReasonWaitingForGateways: a gateway node has not programmed this generation; status.gateways tells of errors.
	ReasonWaitingForGateways = "WaitingForGateways"
	// ReasonNoGateways: the Vpc has prefixes in other clusters, and this cluster has no gateway node.
	ReasonNoGateways = "NoGateways"
	// ReasonNameTaken: this cluster still realizes another object of the same name.
	ReasonNameTaken = "NameTaken"
	// ReasonInvalid: the spec can't be realized.
	ReasonInvalid = "Invalid"
	// ReasonNorthboundUnreachable: there is no connection to the northbound database.
	ReasonNorthboundUnreachable = "NorthboundUnreachable"
	// ReasonNorthboundError: the northbound database refuses what it is given.
	ReasonNorthboundError = "NorthboundError"
)

// Waiting says whether a reason of Programmed=False passes by itself, as opposed to an error that somebody should look at.
func Waiting(reason string) bool {
	return reason == ReasonWaitingForOVN || reason == ReasonWaitingForGateways
}
