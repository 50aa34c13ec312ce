// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// validator collects what is wrong with a Desired, so that one error names all of it.
type validator struct {
	errs   []error
	owners map[string]string    // owner: where it was said
	names  map[[2]string]string // table and name: where it was said
}

// validate holds desired to what the database cannot check, or would refuse in words that name no field of ours.
func (d Desired) validate() error {
	v := &validator{owners: map[string]string{}, names: map[[2]string]string{}}
	for i, owner := range d.Removed {
		v.owner(fmt.Sprintf("removed[%d]", i), owner)
	}
	for _, r := range d.Routers {
		v.router(r)
	}
	return errors.Join(v.errs...)
}

func (v *validator) fail(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

func (v *validator) owner(at, owner string) {
	if owner == "" {
		v.fail("%s: owner is empty: give the UID of the Vpc", at)
		return
	}
	if other, twice := v.owners[owner]; twice {
		v.fail("%s: owner %s is already that of %s: an owner is one router, or removed", at, owner, other)
	}
	v.owners[owner] = at
}

func (v *validator) name(at, table, name string) {
	if name == "" {
		v.fail("%s: name is empty: OVN finds no port without one", at)
		return
	}
	key := [2]string{table, name}
	if other, twice := v.names[key]; twice {
		v.fail("%s: %s %q is already that of %s: names are unique in the database", at, table, name, other)
	}
	v.names[key] = at
}

func (v *validator) router(r Router) {
	at := fmt.Sprintf("router %q", r.Name)
	v.owner(at, r.Owner)
	v.name(at, nbdb.LogicalRouterTable, r.Name)
	for _, s := range r.Subnets {
		v.subnet(at, s)
	}
	if r.Transit.Name != "" {
		v.transit(at, r.Transit)
	}
	for _, p := range r.Peers {
		at := fmt.Sprintf("%s peer %q", at, p.Name)
		v.name(at, nbdb.LogicalRouterPortTable, p.Name)
		if p.RemoteName == "" || p.RemoteName == p.Name {
			v.fail("%s: remoteName %q: give the name of the other router's port", at, p.RemoteName)
		}
		v.host(at+" address", p.Address, p.Address.Addr())
		v.mac(at, p.MAC)
	}
	v.routes(at, r.Routes)
}

func (v *validator) subnet(at string, s Subnet) {
	at = fmt.Sprintf("%s subnet %q", at, s.Name)
	v.join(at, s.Name)
	v.host(at+" gateway", s.CIDR, s.Gateway)
	for _, e := range s.ExcludeIPs {
		first, last, isRange := strings.Cut(e, "..")
		if !isRange {
			last = first
		}
		from, err1 := netip.ParseAddr(first)
		to, err2 := netip.ParseAddr(last)
		if err1 != nil || err2 != nil || !s.CIDR.Contains(from) || !s.CIDR.Contains(to) || to.Less(from) {
			v.fail("%s: excludeIPs %q: give an address of %s, or a first and last one as \"10.0.0.2..10.0.0.9\"", at, e, s.CIDR)
		}
	}
	for _, p := range s.Ports {
		v.name(at+" port", nbdb.LogicalSwitchPortTable, p.Name)
	}
}

func (v *validator) transit(at string, t Transit) {
	at = fmt.Sprintf("%s transit %q", at, t.Name)
	v.join(at, t.Name)
	v.host(at+" routerAddress", t.RouterAddress, t.RouterAddress.Addr())
	v.mac(at, t.RouterMAC)
	taken := map[netip.Addr]string{t.RouterAddress.Addr(): "the router"}
	for _, g := range t.Gateways {
		at := fmt.Sprintf("%s gateway %q", at, g.Name)
		v.name(at, nbdb.LogicalSwitchPortTable, g.Name)
		v.host(at+" address", t.RouterAddress, g.Address)
		v.mac(at, g.MAC)
		if other, twice := taken[g.Address]; twice {
			v.fail("%s: address %s is already that of %s", at, g.Address, other)
		}
		taken[g.Address] = g.Name
	}
}

// join checks the names of a switch and of the two ports that join it to its router.
func (v *validator) join(at, name string) {
	v.name(at, nbdb.LogicalSwitchTable, name)
	v.name(at, nbdb.LogicalRouterPortTable, "rp-"+name)
	v.name(at, nbdb.LogicalSwitchPortTable, "sp-"+name)
}

func (v *validator) routes(at string, routes []Route) {
	seen := map[netip.Prefix]bool{}
	for _, r := range routes {
		at := fmt.Sprintf("%s route %s", at, r.Prefix)
		if !r.Prefix.IsValid() || !r.Prefix.Addr().Is4() {
			v.fail("%s: prefix is not an IPv4 prefix", at)
			continue
		}
		if seen[r.Prefix.Masked()] {
			v.fail("%s: prefix is there twice: give one route with all next hops", at)
		}
		seen[r.Prefix.Masked()] = true
		if len(r.NextHops) == 0 {
			v.fail("%s: nextHops is empty: give the address of a gateway or of the peer's port", at)
		}
		hops := map[netip.Addr]bool{}
		for _, hop := range r.NextHops {
			if !hop.Is4() {
				v.fail("%s: next hop %s is not IPv4 like its prefix", at, hop)
			}
			if hops[hop] {
				v.fail("%s: next hop %s is there twice", at, hop)
			}
			hops[hop] = true
		}
	}
}

// host checks that a is an address that a host in p can have.
func (v *validator) host(at string, p netip.Prefix, a netip.Addr) {
	switch {
	case !p.IsValid() || !p.Addr().Is4():
		v.fail("%s: prefix %s is not an IPv4 prefix: OVN's own addressing is used for IPv4 only", at, p)
	case !a.Is4() || !p.Contains(a):
		v.fail("%s: %s is not in %s: give an address of it", at, a, p)
	case p.Bits() < 31 && (a == p.Masked().Addr() || !p.Contains(a.Next())):
		v.fail("%s: %s is the network's or the broadcast address of %s: give one between them", at, a, p)
	}
}

func (v *validator) mac(at, mac string) {
	if hw, err := net.ParseMAC(mac); err != nil || len(hw) != 6 {
		v.fail("%s: mac %q: give six octets as 0a:58:0a:00:00:01", at, mac)
	}
}
