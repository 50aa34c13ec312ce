// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// ParsePrefix reads a canonical IPv4 prefix such as 10.0.0.0/16: no host bits set (RFC 4632).
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a CIDR: write address/length such as 10.0.0.0/16", s)
	}
	if !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("%q is not IPv4: use an IPv4 CIDR such as 10.0.0.0/16", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q is not canonical: write %q", s, p.Masked())
	}
	return p, nil
}

// ParseAddr reads an IPv4 address.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address: write four numbers such as 10.0.0.1", s)
	}
	return a, nil
}

// ParseRange reads one address, or a first and a last one joined by "..": 10.0.0.2..10.0.0.9.
func ParseRange(s string) (first, last netip.Addr, err error) {
	from, to, isRange := strings.Cut(s, "..")
	if first, err = ParseAddr(from); err != nil {
		return netip.Addr{}, netip.Addr{}, err
	}
	if !isRange {
		return first, first, nil
	}
	if last, err = ParseAddr(to); err != nil {
		return netip.Addr{}, netip.Addr{}, err
	}
	if last.Less(first) {
		return netip.Addr{}, netip.Addr{}, fmt.Errorf("%q ends before it begins: write %s..%s", s, last, first)
	}
	return first, last, nil
}

// Nth is the address at an offset from the first one of the prefix. The caller keeps it inside.
func Nth(p netip.Prefix, offset uint32) netip.Addr {
	return toAddr(toUint(p.Addr()) + offset)
}

// Last is the last address of a prefix: the broadcast address of a subnet.
func Last(p netip.Prefix) netip.Addr {
	return toAddr(toUint(p.Addr()) + uint32(Size(p)-1))
}

// Between is the fewest prefixes that together are the addresses from first to last.
func Between(first, last netip.Addr) []netip.Prefix {
	return Cover(toUint(first), toUint(last))
}

// Size is how many addresses a prefix has.
func Size(p netip.Prefix) int64 {
	return int64(1) << (32 - p.Bits())
}

// Compare orders prefixes by address, and a prefix before those inside it.
func Compare(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// contains is true when b lies wholly in a.
func contains(a, b netip.Prefix) bool {
	return a.Bits() <= b.Bits() && a.Contains(b.Addr())
}

func toUint(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func toAddr(u uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], u)
	return netip.AddrFrom4(b)
}
