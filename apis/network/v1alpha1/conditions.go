// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. Each is True when all is well; each carries observedGeneration.
const (
	// ConditionAccepted: the hub can do what the object asks. False needs a change by a person; the message names it.
	ConditionAccepted = "Accepted"
	// ConditionAllocated: every address and identifier that the object needs is in a ledger.
	ConditionAllocated = "Allocated"
	// ConditionProgrammed: every cluster concerned has realized the newest decision in OVN and eBPF.
	ConditionProgrammed = "Programmed"
	// ConditionVerified: probe packets travel the real data path between the two Vpcs, in both directions.
	ConditionVerified = "Verified"
	// ConditionEncrypted (Vpc, VpcPeering): between all clusters that must encrypt, the gateways can. It is there only when
	// a cluster concerned wants encryption. While it is False nothing is sent between the clusters that the message names.
	ConditionEncrypted = "Encrypted"
	// ConditionAvailable (IPPool): there is room left. Its reason NearlyExhausted warns before there is none.
	ConditionAvailable = "Available"
	// ConditionFrozen (Fleet): the hub holds something back until somebody confirms it. It is the one condition that is False when all is well.
	ConditionFrozen = "Frozen"
)

// Reasons of conditions.
const (
	// ReasonAccepted: nothing stands against it.
	ReasonAccepted = "Accepted"
	// ReasonPendingAcceptance: the other tenant has not decided.
	ReasonPendingAcceptance = "PendingAcceptance"
	// ReasonRejected: the other tenant refuses.
	ReasonRejected = "Rejected"
	// ReasonVpcNotFound: a Vpc that is referred to does not exist.
	ReasonVpcNotFound = "VpcNotFound"
	// ReasonVpcNotAccepted: a Vpc that is referred to is not accepted itself.
	ReasonVpcNotAccepted = "VpcNotAccepted"
	// ReasonSelfPeering: both ends are the same Vpc.
	ReasonSelfPeering = "SelfPeering"
	// ReasonDuplicatePeering: an older VpcPeering joins the same two Vpcs.
	ReasonDuplicatePeering = "DuplicatePeering"
	// ReasonOverlappingCIDRs: two prefixes that would have to be told apart overlap; the message names both.
	ReasonOverlappingCIDRs = "OverlappingCIDRs"
	// ReasonOutsideVpc: a Subnet lies outside its Vpc's CIDRs.
	ReasonOutsideVpc = "OutsideVpc"
	// ReasonClusterNotFound: a cluster that is named is not in the fleet, or not accepted there.
	ReasonClusterNotFound = "ClusterNotFound"
	// ReasonNoClusters: no cluster is selected.
	ReasonNoClusters = "NoClusters"
	// ReasonAmbiguousCluster: a cidrBlock can't be in several clusters at once.
	ReasonAmbiguousCluster = "AmbiguousCluster"
	// ReasonNamespaceTaken: an older Vpc binds the same namespace.
	ReasonNamespaceTaken = "NamespaceTaken"
	// ReasonInvalid: a field has a value that can't be used; the message names field, value and cure.
	ReasonInvalid = "Invalid"
	// ReasonPoolNotFound: there is no pool of that name or purpose.
	ReasonPoolNotFound = "PoolNotFound"
	// ReasonPoolExhausted: the pool has no room for what is asked.
	ReasonPoolExhausted = "PoolExhausted"
	// ReasonNearlyExhausted: the pool has room, and less than spec.warnPercent leaves.
	ReasonNearlyExhausted = "NearlyExhausted"
	// ReasonOutsidePool: a range or an address lies outside of its pool; the message names both.
	ReasonOutsidePool = "OutsidePool"
	// ReasonInUse: what is asked for, or was taken out of a pool, is somebody else's; the message names the holder.
	ReasonInUse = "InUse"
	// ReasonAllocated: all addresses are in a ledger.
	ReasonAllocated = "Allocated"
	// ReasonProgrammed: every cluster has realized it.
	ReasonProgrammed = "Programmed"
	// ReasonWaitingForClusters: some clusters have not realized the newest decision.
	ReasonWaitingForClusters = "WaitingForClusters"
	// ReasonClusterError: a cluster reports that it can't realize it.
	ReasonClusterError = "ClusterError"
	// ReasonNotAccepted: follows from Accepted=False.
	ReasonNotAccepted = "NotAccepted"
	// ReasonVerified: every probe was answered.
	ReasonVerified = "Verified"
	// ReasonProbeFailed: a probe is not answered; the message names from where to where.
	ReasonProbeFailed = "ProbeFailed"
	// ReasonProbing: not every probe has an answer yet.
	ReasonProbing = "Probing"
	// ReasonWireGuard: every gateway concerned has an approved key.
	ReasonWireGuard = "WireGuard"
	// ReasonKeyMissing: a gateway has no approved key, so that nobody can encrypt to it.
	ReasonKeyMissing = "KeyMissing"
	// ReasonAvailable: the pool has room.
	ReasonAvailable = "Available"
	// ReasonNone: nothing is held back.
	ReasonNone = "None"
	// ReasonMassRemoval: a plan would take away more than the Fleet's share.
	ReasonMassRemoval = "MassRemoval"
	// ReasonWentBack: a cluster has seen newer than this hub has: it was restored from a backup.
	ReasonWentBack = "WentBack"
	// ReasonForeignHub: what is distributed was written by another hub.
	ReasonForeignHub = "ForeignHub"
	// ReasonDeleting: the object is being deleted.
	ReasonDeleting = "Deleting"
)
