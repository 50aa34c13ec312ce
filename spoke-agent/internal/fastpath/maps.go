// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// layoutVersion is the version of bpf/layout.h. Maps of another version are left to the programs that still use them,
// until Set has filled new ones and replaced these programs.
const layoutVersion = 8

// maxEndpoints is MAX_ENDPOINTS of bpf/layout.h.
const maxEndpoints = 16

// maxSlots is MAX_SLOTS of bpf/layout.h.
const maxSlots = 16384

// maxClusterName is what the name in struct cluster can hold, one octet less than its size: it ends in a zero.
const maxClusterName = 63

// isCounter has the maps whose values are struct flow_count, of each CPU.
var isCounter = map[string]bool{
	gatewayMapTomboloFlows:  true,
	gatewayMapTomboloRelays: true,
}

// dropReasons and, after them, slowReasons are the names of enum event, in its order. A packet of the first kind is gone;
// one of the second kind was left to the kernel's slow path, or by tombolo_pod to OVN.
var (
	dropReasons = []string{
		"other_mac",            // out: IPv4 for another MAC address than the gateway's
		"malformed",            // out, in: the inner header is not IPv4's (RFC 791)
		"no_route",             // out: neither a remote prefix nor the kernel's table of the Vpc has the destination
		"no_endpoint",          // out: the cluster has no gateway, and the kernel knows none; in: nor has the one it should pass on to
		"too_big",              // out, in: does not fit, and nobody could be told
		"fragmentation_needed", // out, in: does not fit, must not be fragmented, and an ICMP error tells the sender (RFC 1191)
		"encapsulate",          // out: the kernel refused to make room
		"unknown_vni",          // in: a known endpoint sent a VNI that no port here has
		"unknown_endpoint",     // in: somebody else sent a VNI of ours
		"not_ipv4",             // in: the inner packet is not IPv4
		"spoofed_source",       // in: the inner source is not the sending cluster's in that Vpc
		"not_local",            // in: the inner destination is not in this cluster
		"gso_not_tcp",          // in: a super-packet of UDP, which needs the kernel's VXLAN device, and there is none
		"congested",            // in: marked CE outside but not ECN-capable inside (RFC 6040)
		"decapsulate",          // in: the kernel refused to take the room away
		"not_encrypted",        // out: nothing encrypts here; in: from an encrypted cluster in the clear, or the reverse
		"not_vxlan",            // in: something else through the tunnel
		"not_relayed",          // in: from this cluster to that one nothing may pass this node
		"ttl",                  // in: passed on so often that the outer TTL is used up
		"checksum",             // in: to be passed on, but with a UDP checksum over the outer addresses
		"not_here",             // in: for no pod of this node, which is no gateway of the Vpc and may not pass it on; or an echo, of which the node answers none now
	}
	slowReasons = []string{
		"no_port",     // out: the port is in no map
		"no_route",    // out: no remote prefix has the destination, but the kernel's table of the Vpc has
		"no_endpoint", // out: no map has an endpoint of the cluster, but the kernel's table of the Vpc has; pod: left to OVN
		"too_big",     // out, in: does not fit, and may be fragmented; pod: does not fit, left to OVN
		"encapsulate", // out, pod: a super-packet of a kind in which programs can't make room
		"gso_not_tcp", // in: a super-packet of UDP, which would be lost after a program's decapsulation
		"decapsulate", // in: a super-packet of a kind out of which programs can't take room
		"router",      // pod: options, a fragment, or a TTL that ends: left to OVN
		"encrypted",   // pod: to an encrypted cluster: left to OVN
	}
)

// flowDirections are the names of enum direction, in its order.
var flowDirections = []string{"out", "in"}

// flowPaths are the names of enum way, in its order.
var flowPaths = []string{"gateway", "pod", "node"}

// clusterID is how the maps name a cluster: the first 8 bytes of the SHA-256 of its name.
func clusterID(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(sum[:])
}

var native = binary.NativeEndian

// underlayEntry is struct underlay.
type underlayEntry struct {
	ifindex, mtu uint32
	address      netip.Addr
	port         uint16
	mac          [6]byte
	// tunnel is the interface that encrypts; 0 for none.
	tunnel, tunnelMTU uint32
	// vxlan is the device of the kernel's slow path; 0 for none.
	vxlan uint32
	// own is the id of this node's cluster; 0 for none.
	own uint64
	// echo is the UDP port that echoes are sent from; 0 for none.
	echo uint16
	// quiet is true while no echo is answered.
	quiet bool
}

func (e underlayEntry) encode() []byte {
	b := native.AppendUint32(nil, e.ifindex)
	b = native.AppendUint32(b, e.mtu)
	b = append(b, e.address.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, e.port)
	b = append(b, e.mac[:]...)
	b = native.AppendUint32(b, e.tunnel)
	b = native.AppendUint32(b, e.tunnelMTU)
	b = native.AppendUint32(b, e.vxlan)
	b = native.AppendUint64(b, e.own)
	b = binary.BigEndian.AppendUint16(b, e.echo)
	if e.quiet {
		return append(b, 1, 0, 0, 0, 0, 0)
	}
	return append(b, 0, 0, 0, 0, 0, 0)
}

func decodeUnderlay(b []byte) (underlayEntry, error) {
	if err := wantLen("underlay", b, 48); err != nil {
		return underlayEntry{}, err
	}
	return underlayEntry{
		ifindex:   native.Uint32(b),
		mtu:       native.Uint32(b[4:]),
		address:   netip.AddrFrom4([4]byte(b[8:])),
		port:      binary.BigEndian.Uint16(b[12:]),
		mac:       [6]byte(b[14:]),
		tunnel:    native.Uint32(b[20:]),
		tunnelMTU: native.Uint32(b[24:]),
		vxlan:     native.Uint32(b[28:]),
		own:       native.Uint64(b[32:]),
		echo:      binary.BigEndian.Uint16(b[40:]),
		quiet:     b[42] != 0,
	}, nil
}

// deliveryEntry is struct delivery.
type deliveryEntry struct {
	ifindex    uint32
	router, gw [6]byte
	mtu        uint32
	address    netip.Addr // the zero Addr, or 0.0.0.0 in the map, for none
}

func (e deliveryEntry) encode() []byte {
	b := native.AppendUint32(nil, e.ifindex)
	b = append(b, e.router[:]...)
	b = append(b, e.gw[:]...)
	return appendAddr(native.AppendUint32(b, e.mtu), e.address)
}

func decodeDelivery(b []byte) (deliveryEntry, error) {
	if err := wantLen("delivery", b, 24); err != nil {
		return deliveryEntry{}, err
	}
	return deliveryEntry{ifindex: native.Uint32(b), router: [6]byte(b[4:]), gw: [6]byte(b[10:]), mtu: native.Uint32(b[16:]), address: addrOrNone(b[20:])}, nil
}

// prefixKey is struct prefix.
type prefixKey struct {
	vni    uint32
	prefix netip.Prefix
}

func (k prefixKey) encode() []byte {
	b := native.AppendUint32(nil, 32+uint32(k.prefix.Bits()))
	b = binary.BigEndian.AppendUint32(b, k.vni)
	return append(b, k.prefix.Addr().AsSlice()...)
}

func decodePrefix(b []byte) (prefixKey, error) {
	if err := wantLen("prefix", b, 12); err != nil {
		return prefixKey{}, err
	}
	bits := native.Uint32(b)
	if bits < 32 || bits > 64 {
		return prefixKey{}, fmt.Errorf("decode prefix: length %d is not between 32 and 64", bits)
	}
	p := netip.PrefixFrom(netip.AddrFrom4([4]byte(b[8:])), int(bits)-32)
	if p.Masked() != p {
		return prefixKey{}, fmt.Errorf("decode prefix: %v has host bits", p)
	}
	return prefixKey{vni: binary.BigEndian.Uint32(b[4:]), prefix: p}, nil
}

// remoteEntry is struct remote.
type remoteEntry struct {
	cluster uint64
	vni     uint32
	// own is this node's link address, and here a prefix of this cluster that lies in a remote one.
	own, here bool
}

func (e remoteEntry) encode() []byte {
	b := native.AppendUint64(nil, e.cluster)
	b = native.AppendUint32(b, e.vni)
	if e.here {
		return native.AppendUint32(b, 2)
	}
	return appendBool(b, e.own)
}

func decodeRemote(b []byte) (remoteEntry, error) {
	if err := wantLen("remote", b, 16); err != nil {
		return remoteEntry{}, err
	}
	own := native.Uint32(b[12:])
	if own > 2 {
		return remoteEntry{}, fmt.Errorf("decode remote: own is %d, none of 0, 1 and 2", own)
	}
	return remoteEntry{cluster: native.Uint64(b), vni: native.Uint32(b[8:]), own: own == 1, here: own == 2}, nil
}

// clusterEntry is struct cluster.
type clusterEntry struct {
	name      string
	endpoints []netip.Addr
	encrypted bool
	// mtu is the longest encapsulated packet on the way there, in bytes.
	mtu uint32
}

// clusterSize is the size of struct cluster.
const clusterSize = maxClusterName + 1 + 4 + 4 + 4 + 4*maxEndpoints

func (e clusterEntry) encode() []byte {
	b := make([]byte, maxClusterName+1, clusterSize)
	copy(b, e.name)
	b = appendBool(b, e.encrypted)
	b = native.AppendUint32(b, e.mtu)
	b = native.AppendUint32(b, uint32(len(e.endpoints)))
	for _, a := range e.endpoints {
		b = append(b, a.AsSlice()...)
	}
	return b[:cap(b)]
}

func decodeCluster(b []byte) (clusterEntry, error) {
	if err := wantLen("cluster", b, clusterSize); err != nil {
		return clusterEntry{}, err
	}
	name, rest, ok := bytes.Cut(b[:maxClusterName+1], []byte{0})
	if !ok || len(bytes.Trim(rest, "\x00")) != 0 {
		return clusterEntry{}, fmt.Errorf("decode cluster: name is not zero-terminated")
	}
	b = b[maxClusterName+1:]
	encrypted, err := decodeBool("encrypted", b)
	if err != nil {
		return clusterEntry{}, fmt.Errorf("decode cluster: %w", err)
	}
	mtu := native.Uint32(b[4:])
	b = b[8:]
	count := native.Uint32(b)
	if count > maxEndpoints {
		return clusterEntry{}, fmt.Errorf("decode cluster: %d endpoints, at most %d fit", count, maxEndpoints)
	}
	e := clusterEntry{name: string(name), encrypted: encrypted, mtu: mtu}
	for i := range int(count) {
		e.endpoints = append(e.endpoints, netip.AddrFrom4([4]byte(b[4+4*i:])))
	}
	return e, nil
}

// sourceEntry is struct source.
type sourceEntry struct {
	cluster uint64
	ifindex uint32
	// own marks a node of this node's own cluster.
	own bool
}

func (e sourceEntry) encode() []byte {
	b := native.AppendUint64(nil, e.cluster)
	b = native.AppendUint32(b, e.ifindex)
	return appendBool(b, e.own)
}

func decodeSource(b []byte) (sourceEntry, error) {
	if err := wantLen("source", b, 16); err != nil {
		return sourceEntry{}, err
	}
	own, err := decodeBool("own", b[12:])
	if err != nil {
		return sourceEntry{}, fmt.Errorf("decode source: %w", err)
	}
	return sourceEntry{cluster: native.Uint64(b), ifindex: native.Uint32(b[8:]), own: own}, nil
}

// flowKey is struct flow.
type flowKey struct {
	cluster                         uint64
	vni, remoteVNI, direction, path uint32
}

func (k flowKey) encode() []byte {
	b := native.AppendUint64(nil, k.cluster)
	b = native.AppendUint32(b, k.vni)
	b = native.AppendUint32(b, k.remoteVNI)
	b = native.AppendUint32(b, k.direction)
	return native.AppendUint32(b, k.path)
}

func decodeFlow(b []byte) (flowKey, error) {
	if err := wantLen("flow", b, 24); err != nil {
		return flowKey{}, err
	}
	k := flowKey{cluster: native.Uint64(b), vni: native.Uint32(b[8:]), remoteVNI: native.Uint32(b[12:]), direction: native.Uint32(b[16:]), path: native.Uint32(b[20:])}
	if int(k.direction) >= len(flowDirections) {
		return flowKey{}, fmt.Errorf("decode flow: direction %d is none", k.direction)
	}
	if int(k.path) >= len(flowPaths) {
		return flowKey{}, fmt.Errorf("decode flow: path %d is none", k.path)
	}
	return k, nil
}

// relayKey is struct relay.
type relayKey struct {
	from, to uint64
	vni      uint32
}

func (k relayKey) encode() []byte {
	b := native.AppendUint64(nil, k.from)
	b = native.AppendUint64(b, k.to)
	b = native.AppendUint32(b, k.vni)
	return append(b, 0, 0, 0, 0)
}

func decodeRelay(b []byte) (relayKey, error) {
	if err := wantLen("relay", b, 24); err != nil {
		return relayKey{}, err
	}
	return relayKey{from: native.Uint64(b), to: native.Uint64(b[8:]), vni: native.Uint32(b[16:])}, nil
}

// flowCount is struct flow_count, of one CPU.
type flowCount struct{ Packets, Bytes uint64 }

func encodeUint32(v uint32) []byte { return native.AppendUint32(nil, v) }
func encodeUint64(v uint64) []byte { return native.AppendUint64(nil, v) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return native.AppendUint32(b, 1)
	}
	return native.AppendUint32(b, 0)
}

func decodeBool(name string, b []byte) (bool, error) {
	v := native.Uint32(b)
	if v > 1 {
		return false, fmt.Errorf("%s is %d, neither 0 nor 1", name, v)
	}
	return v == 1, nil
}

func decodeUint32(b []byte) (uint32, error) {
	if err := wantLen("number", b, 4); err != nil {
		return 0, err
	}
	return native.Uint32(b), nil
}

func decodeUint64(b []byte) (uint64, error) {
	if err := wantLen("number", b, 8); err != nil {
		return 0, err
	}
	return native.Uint64(b), nil
}

func decodeAddr(b []byte) (netip.Addr, error) {
	if err := wantLen("address", b, 4); err != nil {
		return netip.Addr{}, err
	}
	return netip.AddrFrom4([4]byte(b)), nil
}

func wantLen(what string, b []byte, n int) error {
	if len(b) != n {
		return fmt.Errorf("decode %s: %d bytes, want %d", what, len(b), n)
	}
	return nil
}

// parseMAC reads a 6-octet Ethernet address.
func parseMAC(s string) ([6]byte, error) {
	mac, err := net.ParseMAC(s)
	if err != nil {
		return [6]byte{}, err
	}
	if len(mac) != 6 {
		return [6]byte{}, fmt.Errorf("address %s: %d octets, Ethernet has 6", s, len(mac))
	}
	return [6]byte(mac), nil
}
