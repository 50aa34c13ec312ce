// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package naming is every name and address that follows from another one: OVN rows, network
// interfaces, MACs, link addresses. The controller and the nodes never talk to each other about
// them; they meet because both compute the same.
package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Names of network interfaces, and prefixes for listing what is ours.
const (
	// Tunnel is the interface that encrypts. No GatewayEnd has its name: what follows their prefix is a number.
	Tunnel = "tbwg0"
	// GatewayEndPrefix of the end of a gateway port that carries the eBPF.
	GatewayEndPrefix = "tbg"
	// OVSEndPrefix of its end in the integration bridge.
	OVSEndPrefix = "tbo"
	// PodHostEndPrefix of the node's end of a pod's interface.
	PodHostEndPrefix = "tbp"
	// PodSwitchEndPrefix of the near end of the second pair that a pod has where Open vSwitch runs in userspace, and
	// PodOVSEndPrefix of its far end, in the integration bridge.
	PodSwitchEndPrefix = "tbq"
	PodOVSEndPrefix    = "tbr"
)

// VpcKey is "namespace/name", for people.
func VpcKey(v spokev1alpha1.VpcIdentity) string { return v.Namespace + "/" + v.Name }

// Router is the Logical_Router, "namespace.vpc". Neither part holds a dot, so it is unique.
func Router(v spokev1alpha1.VpcIdentity) string { return v.Namespace + "." + v.Name }

// Subnet is the Logical_Switch of a subnet.
func Subnet(v spokev1alpha1.VpcIdentity, subnet string) string { return Router(v) + "." + subnet }

// Transit is the Logical_Switch between the router and the gateway nodes.
func Transit(v spokev1alpha1.VpcIdentity) string { return "ts-" + Router(v) }

// GatewayPort is the Logical_Switch_Port, and iface-id, of a gateway node on the transit switch.
func GatewayPort(v spokev1alpha1.VpcIdentity, node string) string {
	return "gw-" + Router(v) + ":" + node
}

// PeerPort is the Logical_Router_Port of v that faces peer.
func PeerPort(v, peer spokev1alpha1.VpcIdentity) string {
	return "pp-" + Router(v) + ":" + Router(peer)
}

// PodPort is the Logical_Switch_Port, and iface-id, of a pod. A new pod of an old name is another port.
func PodPort(uid types.UID) string { return "pod-" + string(uid) }

// GatewayEnd is the gateway's end of the veth pair of a Vpc.
func GatewayEnd(vni int32) string { return GatewayEndPrefix + strconv.Itoa(int(vni)) }

// IsGatewayEnd is true for what GatewayEnd makes, and not for everything else that begins like it.
func IsGatewayEnd(name string) bool {
	vni, err := strconv.ParseInt(strings.TrimPrefix(name, GatewayEndPrefix), 10, 32)
	return err == nil && name == GatewayEnd(int32(vni))
}

// OVSEnd is the integration bridge's end of the veth pair of a Vpc.
func OVSEnd(vni int32) string { return OVSEndPrefix + strconv.Itoa(int(vni)) }

// PodHostEnd is the node's end of the interface ifName of a sandbox: 15 characters, the most that Linux takes,
// and the same at every call, so that DEL finds it when nothing else is known.
func PodHostEnd(sandbox, ifName string) string {
	sum := sha256.Sum256([]byte(sandbox + "/" + ifName))
	return PodHostEndPrefix + hex.EncodeToString(sum[:6])
}

// PodSwitchEnd is the near end of the second pair of the pod whose host end is given.
func PodSwitchEnd(hostEnd string) string {
	return PodSwitchEndPrefix + strings.TrimPrefix(hostEnd, PodHostEndPrefix)
}

// PodOVSEnd is the far end of that pair.
func PodOVSEnd(hostEnd string) string {
	return PodOVSEndPrefix + strings.TrimPrefix(hostEnd, PodHostEndPrefix)
}

// PodOfPort is the host end of the pod whose port in the integration bridge is the interface port, and whether the pod has a second
// pair. It is empty when the port is no pod's.
func PodOfPort(port string) (hostEnd string, second bool) {
	if rest, ok := strings.CutPrefix(port, PodOVSEndPrefix); ok {
		return PodHostEndPrefix + rest, true
	}
	if strings.HasPrefix(port, PodHostEndPrefix) {
		return port, false
	}
	return "", false
}

// MAC of whoever has the IPv4 address: 0a:58 (locally administered, unicast) and the four bytes of the address.
func MAC(address netip.Addr) string {
	b := address.As4()
	return fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// LinkRouter is the router's address on a link: the first one.
func LinkRouter(link netip.Prefix) netip.Addr { return link.Masked().Addr().Next() }

// LinkGateway is the address of the gateway endpoint with the given index on a link: 2+index.
func LinkGateway(link netip.Prefix, index int32) (netip.Addr, error) {
	address := LinkRouter(link)
	for range int(index) + 1 {
		address = address.Next()
	}
	// The last address of the link is its broadcast address.
	if index < 0 || !link.Contains(address.Next()) {
		return netip.Addr{}, fmt.Errorf("endpoint index %d has no address in link %s: use fewer gateway nodes or larger links", index, link)
	}
	return address, nil
}
