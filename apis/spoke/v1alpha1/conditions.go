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

// Conditions of a cluster's agent (InterconnectGateway).
const (
	// ConditionVersionSupported is False when the agent is of a newer minor version than the hub: the hub may not say what it needs to know.
	ConditionVersionSupported = "VersionSupported"
	// ConditionLeaving is True when the cluster's administrator removes Tombolo from the cluster: the hub drains it. An agent that is
	// installed again makes it False.
	ConditionLeaving = "Leaving"
	// ConditionAgentAlive is the hub's: True while it sees the cluster's agent renew its Lease, Unknown when it has not for a while. Nothing is
	// done about a silent cluster: it keeps its addresses, and others their routes to it.
	ConditionAgentAlive = "AgentAlive"
	// ConditionHubTrusted is False when the cluster refuses what the hub says, and so keeps what it has.
	ConditionHubTrusted = "HubTrusted"
)

// Reasons of the conditions of a cluster's agent.
const (
	// ReasonSupported: hub and agent may work together.
	ReasonSupported = "Supported"
	// ReasonAgentNewer: upgrade the hub first.
	ReasonAgentNewer = "AgentNewerThanHub"
	// ReasonUninstalling: the agent is being uninstalled.
	ReasonUninstalling = "Uninstalling"
	// ReasonLeft: nothing of Tombolo is left in the cluster, and this is the last that its agent says.
	ReasonLeft = "Left"
	// ReasonInstalled: the agent is there to stay.
	ReasonInstalled = "Installed"
	// ReasonLeaseRenewed: the hub sees the agent renew its Lease.
	ReasonLeaseRenewed = "LeaseRenewed"
	// ReasonAgentSilent: the agent has stopped, does not reach the hub, or does not work.
	ReasonAgentSilent = "AgentSilent"
	// ReasonTrusted: it is the hub that the cluster is joined to, and it has not gone back in time.
	ReasonTrusted = "Trusted"
	// ReasonForeignHub: another hub than the one that the cluster is joined to wrote it.
	ReasonForeignHub = "ForeignHub"
	// ReasonWentBack: the cluster has seen newer of this hub (also of Programmed, of a LocalRouter).
	ReasonWentBack = "WentBack"
)

// ConditionEndpointsApproved is False when the hub has not approved all that the cluster reports of its gateways and nodes. Its reason is that
// of the first entry of spec.refused, and its message says all of them.
const ConditionEndpointsApproved = "EndpointsApproved"

// ReasonApproved of that condition: nothing that the cluster reports was refused.
const ReasonApproved = "Approved"

// Reasons why the hub does not approve what a cluster reports (InterconnectGateway.spec.refused).
const (
	// ReasonNodeInvalid: the name is not one that a Node can have.
	ReasonNodeInvalid = "NodeInvalid"
	// ReasonAddressInvalid: no gateway can have the address.
	ReasonAddressInvalid = "AddressInvalid"
	// ReasonAddressNotAllowed: the annotation tombolo.io/endpoints of the ManagedCluster allows others only.
	ReasonAddressNotAllowed = "AddressNotAllowed"
	// ReasonAddressTaken: another cluster, or another node, has the address.
	ReasonAddressTaken = "AddressTaken"
	// ReasonTooManyGateways: the links have room for fewer gateway nodes.
	ReasonTooManyGateways = "TooManyGateways"
	// ReasonKeyInvalid: it is no WireGuard key, or has no port.
	ReasonKeyInvalid = "KeyInvalid"
	// ReasonKeyTaken: another gateway has the key.
	ReasonKeyTaken = "KeyTaken"
	// ReasonLastGateway: the cluster does not report the node any more, and has no other gateway: it stays one.
	ReasonLastGateway = "LastGateway"
)

// Conditions of a gateway node (InterconnectGateway.status.gateways). Whatever they say, the node forwards what it forwarded before: none of
// the causes makes it take anything down.
const (
	// ConditionDataPathReady is True when the node can forward: its programs are loaded and attached. On the InterconnectGateway itself it
	// is False when a gateway node can't, or can't encrypt although it should; True with another reason than Ready tells of a node that can
	// with a restriction.
	ConditionDataPathReady = "DataPathReady"
	// ConditionFirstOnHooks is False when somebody else's program sees packets before Tombolo's. It is left as it is.
	ConditionFirstOnHooks = "FirstOnHooks"
	// ConditionSlowPathReady is False when the kernel can't carry what the programs can't: packets to fragment, and some super-packets, are
	// dropped and counted.
	ConditionSlowPathReady = "SlowPathReady"
	// ConditionEncryptionReady is False when nothing goes to clusters that must be encrypted. It is there when there are such.
	ConditionEncryptionReady = "EncryptionReady"
	// ConditionReachable is False while other gateway nodes of the cluster get no answer from the node on the underlay: the cluster's routers
	// send to other gateway nodes until it answers again. It is there once this has happened.
	ConditionReachable = "Reachable"
	// ConditionPodsReachable is False while no pod of another node answers the node through OVN although another gateway node gets answers there: it
	// answers no echoes then, so that others send elsewhere. It is there while such pods are.
	ConditionPodsReachable = "PodsReachable"
	// ConditionMTUSufficient is False when the largest packets of pods do not fit the underlay, or the tunnel.
	ConditionMTUSufficient = "MTUSufficient"
)

// Reasons of the conditions of a gateway node.
const (
	// ReasonReady: it is as it should be.
	ReasonReady = "Ready"
	// ReasonKernelTooOld: the kernel has no tcx (Linux 6.6).
	ReasonKernelTooOld = "KernelTooOld"
	// ReasonKernelLacks: the kernel was built without something: VXLAN, lightweight tunnels, TUN.
	ReasonKernelLacks = "KernelLacks"
	// ReasonMissingCapability: the agent's process may not do what it must; the message lists what it needs.
	ReasonMissingCapability = "MissingCapability"
	// ReasonNoBPFFileSystem: there is no bpf file system to pin maps and programs in.
	ReasonNoBPFFileSystem = "NoBPFFileSystem"
	// ReasonForeignPins: under Tombolo's path in the bpf file system are maps or links of another build, or of somebody else.
	ReasonForeignPins = "ForeignPins"
	// ReasonForeignProgram: a hook that takes one program only has somebody else's (XDP), or another program comes first (tcx).
	ReasonForeignProgram = "ForeignProgram"
	// ReasonPortOccupied: something else on the node has the UDP port.
	ReasonPortOccupied = "PortOccupied"
	// ReasonReversePathFilter: net.ipv4.conf.all.rp_filter would drop what the kernel forwards between clusters.
	ReasonReversePathFilter = "ReversePathFilter"
	// ReasonNoKey: there is no private key, or the hub has approved none.
	ReasonNoKey = "NoKey"
	// ReasonMTUTooSmall: the underlay's MTU minus what encapsulation adds is less than the pods'.
	ReasonMTUTooSmall = "MTUTooSmall"
	// ReasonNoUnderlay: the interface to the other clusters is not there, or has no address.
	ReasonNoUnderlay = "NoUnderlay"
	// ReasonVswitchUnreachable: Open vSwitch does not answer.
	ReasonVswitchUnreachable = "VswitchUnreachable"
	// ReasonNotReported: no agent speaks for a node that is labelled as a gateway.
	ReasonNotReported = "NotReported"
	// ReasonGatewayUnreachable: the node does not answer, and others carry its packets.
	ReasonGatewayUnreachable = "GatewayUnreachable"
	// ReasonGatewayReachable: the node answers again.
	ReasonGatewayReachable = "GatewayReachable"
	// ReasonNoWayToPods: Open vSwitch or the network between the cluster's nodes loses what the node gives to OVN.
	ReasonNoWayToPods = "NoWayToPods"
	// ReasonFailed: something else; the message has it.
	ReasonFailed = "Failed"
)

// Waiting says whether a reason of Programmed=False passes by itself, as opposed to an error that somebody should look at.
func Waiting(reason string) bool {
	return reason == ReasonWaitingForOVN || reason == ReasonWaitingForGateways
}
