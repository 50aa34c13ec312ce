// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// builder makes one path. After its first error it does nothing more, and finish tells it.
type builder struct {
	ctx  context.Context
	path *Path
	err  error
}

func newBuilder(ctx context.Context, name string) *builder {
	return &builder{ctx: ctx, path: &Path{Name: name, ctx: ctx}}
}

func (b *builder) finish() (*Path, error) {
	if b.err != nil {
		return nil, fmt.Errorf("build path %s: %w", b.path.Name, b.err)
	}
	return b.path, nil
}

func (b *builder) try(f func() error) {
	if b.err == nil {
		b.err = f()
	}
}

// hosts makes namespaces that forward, and that say nothing on their own.
func (b *builder) hosts(names ...string) {
	for _, name := range names {
		ns := b.path.namespace(name)
		b.try(func() error { return netns.Create(ns) })
		for key, value := range map[string]string{
			"net.ipv6.conf.all.disable_ipv6":     "1",
			"net.ipv6.conf.default.disable_ipv6": "1",
			"net.ipv4.ip_forward":                "1",
			"net.ipv4.conf.all.rp_filter":        "0",
			"net.ipv4.conf.default.rp_filter":    "0",
			// The gates ask for ICMP errors more often than once per second.
			"net.ipv4.icmp_ratelimit": "0",
		} {
			b.try(func() error { return netns.Sysctl(ns, key, value) })
		}
	}
}

// end is one interface of a host.
type end struct{ host, name string }

// join makes a veth pair between two hosts, both up.
func (b *builder) join(a, z end, mtu int) {
	b.try(func() error {
		return netns.Veth(b.path.namespace(a.host), a.name, b.path.namespace(z.host), z.name, mtu)
	})
}

// underlay joins gateways: a wire of the real network, as the wire regime makes it.
func (b *builder) underlay(a, z end) {
	b.join(a, z, UnderlayMTU)
	b.path.wires = append(b.path.wires, a, z)
}

func (b *builder) address(e end, prefix string) {
	b.try(func() error { return netns.AddAddr(b.path.namespace(e.host), e.name, netip.MustParsePrefix(prefix)) })
}

func (b *builder) route(host, to, via, dev string) {
	b.try(func() error {
		return netns.AddRoute(b.path.namespace(host), netip.MustParsePrefix(to), netip.MustParseAddr(via), dev)
	})
}

// mac is the address that the kernel gave an interface.
func (b *builder) mac(e end) net.HardwareAddr {
	var mac net.HardwareAddr
	b.try(func() error {
		return b.path.in(e.host, func(h *netlink.Handle) error {
			l, err := h.LinkByName(e.name)
			if err != nil {
				return fmt.Errorf("find interface %s of %s: %w", e.name, e.host, err)
			}
			mac = l.Attrs().HardwareAddr
			return nil
		})
	})
	return mac
}

func (b *builder) index(e end) int {
	var index int
	b.try(func() (err error) { index, err = b.path.index(e); return err })
	return index
}

// neighbour makes e know the interface that has an address, for ever: no ARP disturbs a measurement.
func (b *builder) neighbour(e end, address string, of end) {
	mac, index := b.mac(of), b.index(e)
	b.try(func() error {
		return b.path.in(e.host, func(h *netlink.Handle) error {
			err := h.NeighSet(&netlink.Neigh{
				LinkIndex: index, IP: net.ParseIP(address), HardwareAddr: mac,
				Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
			})
			if err != nil {
				return fmt.Errorf("set neighbour %s of %s in %s: %w", address, e.name, e.host, err)
			}
			return nil
		})
	})
}

// link gives both ends of a join an address each, and each end the other's as a neighbour.
func (b *builder) link(a end, addressA string, z end, addressZ string) {
	b.address(a, addressA)
	b.address(z, addressZ)
	b.neighbour(a, netip.MustParsePrefix(addressZ).Addr().String(), z)
	b.neighbour(z, netip.MustParsePrefix(addressA).Addr().String(), a)
}

func (p *Path) namespace(host string) string { return prefix + p.Name + "-" + host }

// in opens netlink in the namespace of a host for the time of f.
func (p *Path) in(host string, f func(*netlink.Handle) error) error {
	ns, err := vnetns.GetFromName(p.namespace(host))
	if err != nil {
		return fmt.Errorf("open network namespace of %s: %w", host, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("open netlink of %s: %w", host, err)
	}
	defer h.Close()
	return f(h)
}

func (p *Path) index(e end) (index int, err error) {
	err = p.in(e.host, func(h *netlink.Handle) error {
		l, err := h.LinkByName(e.name)
		if err != nil {
			return fmt.Errorf("find interface %s of %s: %w", e.name, e.host, err)
		}
		index = l.Attrs().Index
		return nil
	})
	return index, err
}

func (p *Path) features(e end, change map[string]bool) error {
	return netns.Do(p.namespace(e.host), func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return fmt.Errorf("open ethtool: %w", err)
		}
		defer tool.Close()
		have, err := tool.Features(e.name)
		if err != nil {
			return fmt.Errorf("read features of %s: %w", e.name, err)
		}
		for name := range change {
			if _, ok := have[name]; !ok {
				delete(change, name)
			}
		}
		if err := tool.Change(e.name, change); err != nil {
			return fmt.Errorf("change features of %s: %w", e.name, err)
		}
		return nil
	})
}
