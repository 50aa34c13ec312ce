// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// protocol marks our routes and rules (rtnetlink(7): rtm_protocol), so that nobody else's are ever deleted.
const protocol = 84

// route is a route of ours, as it is wanted or as the kernel has it. One without hops swallows what it gets.
type route struct {
	table int
	dst   netip.Prefix
	mtu   int // 0: the interface's
	hops  []hop
}

// hop leads through the tunnel to an endpoint, when it has one, or else to a router on an interface.
type hop struct {
	ifindex  int
	via      netip.Addr
	vni      uint32
	from, to netip.Addr
}

func compareHops(a, b hop) int {
	return cmp.Or(cmp.Compare(a.ifindex, b.ifindex), a.via.Compare(b.via), cmp.Compare(a.vni, b.vni), a.from.Compare(b.from), a.to.Compare(b.to))
}

type routeKey struct {
	table int
	dst   netip.Prefix
}

func (r route) key() routeKey { return routeKey{r.table, r.dst} }

// native is the machine's byte order, in which netlink has its numbers.
var native = binary.NativeEndian

// attrType masks the flags of an attribute's type (linux/netlink.h: NLA_TYPE_MASK).
const attrType = 1<<14 - 1

// encapTTL is that of the outer header (RFC 1812 section 4.2.2.9 recommends 64), as the fast path writes it.
const encapTTL = 64

// Attributes of an IP tunnel's route (linux/lwtunnel.h).
const (
	attrID = iota + 1
	attrDst
	attrSrc
	attrTTL
)

// encap is a hop's tunnel as netlink takes it.
type encap struct{ hop }

func (encap) Type() int                    { return nl.LWTUNNEL_ENCAP_IP }
func (encap) Decode([]byte) error          { return errors.New("decode encapsulation: see parseEncap") }
func (e encap) String() string             { return fmt.Sprintf("id %d src %s dst %s", e.vni, e.from, e.to) }
func (e encap) Equal(o netlink.Encap) bool { return o == netlink.Encap(e) }

func (e encap) Encode() ([]byte, error) {
	var b []byte
	for _, a := range []*nl.RtAttr{
		nl.NewRtAttr(attrID, binary.BigEndian.AppendUint64(nil, uint64(e.vni))),
		nl.NewRtAttr(attrDst, e.to.AsSlice()),
		nl.NewRtAttr(attrSrc, e.from.AsSlice()),
		nl.NewRtAttr(attrTTL, []byte{encapTTL}),
	} {
		b = append(b, a.Serialize()...)
	}
	return b, nil
}

func parseEncap(b []byte, h *hop) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		switch a.Attr.Type & attrType {
		case attrID:
			h.vni = uint32(binary.BigEndian.Uint64(a.Value))
		case attrDst:
			h.to, _ = netip.AddrFromSlice(a.Value)
		case attrSrc:
			h.from, _ = netip.AddrFromSlice(a.Value)
		}
	}
	return nil
}

// netlink is r as the library takes it.
func (r route) netlink() *netlink.Route {
	out := &netlink.Route{
		Table: r.table, Protocol: protocol, Type: unix.RTN_UNICAST,
		Dst: &net.IPNet{IP: r.dst.Addr().AsSlice(), Mask: net.CIDRMask(r.dst.Bits(), 32)},
	}
	if len(r.hops) == 0 {
		out.Type = unix.RTN_BLACKHOLE
		return out
	}
	out.MTU = r.mtu
	for _, h := range r.hops {
		n := &netlink.NexthopInfo{LinkIndex: h.ifindex}
		if h.to.IsValid() {
			n.Encap = encap{h}
			out.Scope = netlink.SCOPE_LINK
		} else {
			n.Gw, n.Flags = h.via.AsSlice(), int(netlink.FLAG_ONLINK)
		}
		out.MultiPath = append(out.MultiPath, n)
	}
	return out
}

// ownRoutes returns the routes of our protocol, of all tables. The library would leave out what they are for: it can't
// read tunnels.
func ownRoutes() (map[routeKey]route, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	req.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET}})
	messages, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	routes := map[routeKey]route{}
	for _, m := range messages {
		header := nl.DeserializeRtMsg(m)
		if header.Protocol != protocol {
			continue
		}
		r, err := parseRoute(header, m[header.Len():])
		if err != nil {
			return nil, fmt.Errorf("read route: %w", err)
		}
		routes[r.key()] = r
	}
	return routes, nil
}

func parseRoute(header *nl.RtMsg, b []byte) (route, error) {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return route{}, err
	}
	r := route{table: int(header.Table)}
	dst := netip.IPv4Unspecified()
	for _, a := range attrs {
		switch a.Attr.Type & attrType {
		case unix.RTA_TABLE:
			r.table = int(native.Uint32(a.Value))
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_METRICS:
			if r.mtu, err = parseMTU(a.Value); err != nil {
				return route{}, err
			}
		case unix.RTA_MULTIPATH:
			if r.hops, err = parseHops(a.Value); err != nil {
				return route{}, err
			}
		}
	}
	r.dst = netip.PrefixFrom(dst, int(header.Dst_len))
	if header.Type == unix.RTN_UNICAST && r.hops == nil {
		h, err := parseHop(attrs)
		if err != nil {
			return route{}, err
		}
		r.hops = []hop{h}
	}
	slices.SortFunc(r.hops, compareHops)
	return r, nil
}

// parseMTU reads RTA_METRICS.
func parseMTU(b []byte) (int, error) {
	metrics, err := nl.ParseRouteAttr(b)
	if err != nil {
		return 0, err
	}
	for _, m := range metrics {
		if m.Attr.Type&attrType == unix.RTAX_MTU {
			return int(native.Uint32(m.Value)), nil
		}
	}
	return 0, nil
}

// parseHops reads RTA_MULTIPATH: each hop is a struct rtnexthop and its attributes.
func parseHops(b []byte) ([]hop, error) {
	var hops []hop
	for len(b) >= unix.SizeofRtNexthop {
		n := int(native.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return nil, fmt.Errorf("read next hop: %d octets of %d", n, len(b))
		}
		attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtNexthop:n])
		if err != nil {
			return nil, err
		}
		h, err := parseHop(attrs)
		if err != nil {
			return nil, err
		}
		h.ifindex = int(native.Uint32(b[4:]))
		hops = append(hops, h)
		b = b[n:]
	}
	return hops, nil
}

func parseHop(attrs []syscall.NetlinkRouteAttr) (h hop, err error) {
	for _, a := range attrs {
		switch a.Attr.Type & attrType {
		case unix.RTA_OIF:
			h.ifindex = int(native.Uint32(a.Value))
		case unix.RTA_GATEWAY:
			h.via, _ = netip.AddrFromSlice(a.Value)
		case unix.RTA_ENCAP:
			err = errors.Join(err, parseEncap(a.Value, &h))
		}
	}
	return h, err
}
