// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import "net/netip"

// endpointKey is struct endpoint.
type endpointKey struct {
	vni     uint32
	address netip.Addr
}

func (k endpointKey) encode() []byte {
	return append(native.AppendUint32(nil, k.vni), k.address.AsSlice()...)
}

func decodeEndpoint(b []byte) (endpointKey, error) {
	if err := wantLen("endpoint", b, 8); err != nil {
		return endpointKey{}, err
	}
	return endpointKey{vni: native.Uint32(b), address: netip.AddrFrom4([4]byte(b[4:]))}, nil
}

// placeEntry is struct place.
type placeEntry struct {
	ifindex, mtu uint32
	mac, router  [6]byte
	node         netip.Addr // the zero Addr, or 0.0.0.0 in the map, for this node
}

func (e placeEntry) encode() []byte {
	b := native.AppendUint32(nil, e.ifindex)
	b = native.AppendUint32(b, e.mtu)
	b = append(b, e.mac[:]...)
	b = append(b, e.router[:]...)
	return appendAddr(b, e.node)
}

func decodePlace(b []byte) (placeEntry, error) {
	if err := wantLen("place", b, 24); err != nil {
		return placeEntry{}, err
	}
	return placeEntry{
		ifindex: native.Uint32(b), mtu: native.Uint32(b[4:]), mac: [6]byte(b[8:]), router: [6]byte(b[14:]), node: addrOrNone(b[20:]),
	}, nil
}

// podEntry is struct pod.
type podEntry struct {
	vni         uint32
	address     netip.Addr // the zero Addr, or 0.0.0.0 in the map, where the interface is a switch's
	mac, router [6]byte
	other       uint32
}

func (e podEntry) encode() []byte {
	b := appendAddr(native.AppendUint32(nil, e.vni), e.address)
	b = append(b, e.mac[:]...)
	b = append(b, e.router[:]...)
	return native.AppendUint32(b, e.other)
}

func decodePod(b []byte) (podEntry, error) {
	if err := wantLen("pod", b, 24); err != nil {
		return podEntry{}, err
	}
	return podEntry{
		vni: native.Uint32(b), address: addrOrNone(b[4:]), mac: [6]byte(b[8:]), router: [6]byte(b[14:]), other: native.Uint32(b[20:]),
	}, nil
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(b, 0, 0, 0, 0)
	}
	return append(b, a.AsSlice()...)
}

func addrOrNone(b []byte) netip.Addr {
	if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}
