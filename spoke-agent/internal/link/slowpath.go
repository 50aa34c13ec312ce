// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package link

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SlowPath is everything that the kernel forwards for the gateway of one node, in place of the eBPF programs: one tunnel
// device, and per Vpc a routing table that only packets from the Vpc's gateway port see.
//
//	pref 83:  iif lo goto 85, iif eth0 goto 85
//	pref 84:  iif tbg100 lookup T
//	pref 85:  nop
//	table T:  10.1.2.0/24  encap ip id 100 dst 198.51.100.1 dev tbx4789
//	          10.1.1.0/24  via 169.254.0.1 dev tbg100 onlink
//	          blackhole default
type SlowPath struct {
	VXLAN VXLAN
	// Vpcs in any order.
	Vpcs []SlowVpc
}

// SlowVpc is one Vpc's part of it.
type SlowVpc struct {
	// Interface is the gateway's end of the port, for example tbg100.
	Interface string
	// VNI of the Vpc, from which the number of its table comes.
	VNI uint32
	// Router is the address of the OVN router on the link, RouterMAC its MAC address.
	Router    netip.Addr
	RouterMAC string
	// Local are the prefixes behind the router.
	Local []netip.Prefix
	// Remotes are the prefixes in other clusters.
	Remotes []SlowRemote
}

// SlowRemote is a Vpc in another cluster.
type SlowRemote struct {
	// VNI that packets to it carry.
	VNI uint32
	// Endpoints that may take them; flows are spread over all. Without one there is no route.
	Endpoints []netip.Addr
	Prefixes  []netip.Prefix
	// PathMTU is the longest packet, in bytes, that is known to fit the way there; 0 when nothing is known but the interface.
	PathMTU int
	// EncryptedMTU is the longest packet, in bytes, that fits the tunnel when packets to it must be encrypted; 0 when they need not.
	// The guard leads them there (see Guard).
	EncryptedMTU int
}

// mtu is the lesser of what is known; 0 when nothing is.
func (r SlowRemote) mtu() int {
	if r.PathMTU == 0 || r.EncryptedMTU == 0 {
		return max(r.PathMTU, r.EncryptedMTU)
	}
	return min(r.PathMTU, r.EncryptedMTU)
}

// tableBase is added to a VNI (24 bits) for the number of its table: far from those that people and other agents choose.
const tableBase = 0x54 << 24

// SetSlowPath makes the kernel's routing exactly what s says, and sets the VXLAN device up. Only routes, rules and
// devices of ours are ever touched; what is right already is not written again.
func SetSlowPath(s SlowPath) error {
	h := &netlink.Handle{}
	if err := s.VXLAN.validate(); err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	if err := ensureVXLAN(h, s.VXLAN); err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	if err := checkReversePath(); err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	tunnel, err := setUp(h, s.VXLAN)
	if err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	if err := setTables(h, tunnel, s); err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	if err := removeVXLANsBut(h, VXLANName(s.VXLAN.Port)); err != nil {
		return fmt.Errorf("set slow path: %w", err)
	}
	return nil
}

// RemoveSlowPath removes all that SetSlowPath has made. It is no error when that is nothing.
func RemoveSlowPath() error {
	h := &netlink.Handle{}
	if err := setTables(h, 0, SlowPath{}); err != nil {
		return fmt.Errorf("remove slow path: %w", err)
	}
	if err := removeVXLANsBut(h, ""); err != nil {
		return fmt.Errorf("remove slow path: %w", err)
	}
	return nil
}

func setUp(h *netlink.Handle, t VXLAN) (ifindex int, err error) {
	l, err := h.LinkByName(VXLANName(t.Port))
	if err != nil {
		return 0, fmt.Errorf("find interface %s: %w", VXLANName(t.Port), err)
	}
	if l.Attrs().RawFlags&unix.IFF_UP == 0 {
		if err := h.LinkSetUp(l); err != nil {
			return 0, fmt.Errorf("set %s up: %w", l.Attrs().Name, cureVXLAN(err, t.Port))
		}
	}
	return l.Attrs().Index, nil
}

// checkReversePath: the kernel takes the stricter of "all" and the interface's own setting. Its check asks for the way
// back as if the packet came from the VXLAN device, which belongs to no Vpc.
func checkReversePath() error {
	const all = "all"
	value, err := readIPv4Sysctl(all, "rp_filter")
	if err != nil {
		return err
	}
	if value != "0" {
		return Kind(fmt.Errorf("net.ipv4.conf.all.rp_filter is %s: the kernel would drop what it forwards between clusters; "+
			"set it to 0 on gateway nodes, and rp_filter of single interfaces where it is wanted", value), ErrReversePathFilter)
	}
	return nil
}

// setTables fills tables before rules lead to them, and lets no rule lead to a table that is emptied.
func setTables(h *netlink.Handle, tunnel int, s SlowPath) error {
	interfaces, err := interfacesOf(h, s.Vpcs)
	if err != nil {
		return err
	}
	want := wantRoutes(s, tunnel, interfaces)
	have, err := ownRoutes()
	if err != nil {
		return err
	}
	var errs []error
	for _, v := range s.Vpcs {
		if l := interfaces[v.Interface]; l != nil {
			errs = append(errs, setNeighbour(h, l, v))
		}
	}
	for key, r := range want {
		if slices.Equal(have[key].hops, r.hops) && have[key].mtu == r.mtu && have[key].dst.IsValid() {
			continue
		}
		if err := h.RouteReplace(r.netlink()); err != nil {
			errs = append(errs, fmt.Errorf("set route to %s in table %d: %w", r.dst, r.table, cureVXLAN(err, s.VXLAN.Port)))
		}
	}
	errs = append(errs, setRules(h, s, interfaces))
	for key, r := range have {
		if _, ok := want[key]; ok {
			continue
		}
		// ESRCH: it went with its interface.
		if err := h.RouteDel(r.netlink()); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("delete route to %s from table %d: %w", r.dst, r.table, err))
		}
	}
	return errors.Join(errs...)
}

// interfacesOf leaves out what does not exist: a port that can't be made is reported by who makes it.
func interfacesOf(h *netlink.Handle, vpcs []SlowVpc) (map[string]netlink.Link, error) {
	out := map[string]netlink.Link{}
	for _, v := range vpcs {
		l, err := find(h, v.Interface)
		if err != nil {
			return nil, err
		}
		if l != nil {
			out[v.Interface] = l
		}
	}
	return out, nil
}

func wantRoutes(s SlowPath, tunnel int, interfaces map[string]netlink.Link) map[routeKey]route {
	want := map[routeKey]route{}
	add := func(r route) {
		slices.SortFunc(r.hops, compareHops)
		want[r.key()] = r
	}
	for _, v := range s.Vpcs {
		table := tableBase + int(v.VNI)
		l := interfaces[v.Interface]
		if l == nil {
			continue
		}
		// What matches nothing must not go on to the node's own routes.
		add(route{table: table, dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)})
		for _, prefix := range v.Local {
			add(route{table: table, dst: prefix, hops: []hop{{ifindex: l.Attrs().Index, via: v.Router}}})
		}
		for _, r := range v.Remotes {
			var hops []hop
			for _, e := range r.Endpoints {
				hops = append(hops, hop{ifindex: tunnel, vni: r.VNI, from: s.VXLAN.Address, to: e})
			}
			for _, prefix := range r.Prefixes {
				if len(hops) > 0 {
					add(route{table: table, dst: prefix, mtu: r.mtu(), hops: slices.Clone(hops)})
				}
			}
		}
	}
	return want
}
