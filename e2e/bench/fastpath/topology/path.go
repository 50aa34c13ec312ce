// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/tunnel"
)

const (
	// UnderlayMTU is Ethernet's.
	UnderlayMTU = 1500
	// PodMTU is what VXLAN over IPv4 (RFC 7348: 50 bytes) leaves of it.
	PodMTU = UnderlayMTU - 50

	vxlanPort = 4789
)

// Pod is one end of a path.
type Pod struct {
	// Namespace is the pod's network namespace, and Interface its only one beside loopback.
	Namespace, Interface string
	Address              netip.Addr
}

// Path is two pods and what carries packets between them.
type Path struct {
	// Name of the variant.
	Name string
	// Client and Server are the pods.
	Client, Server Pod
	// Routers is how many routers packets meet between the pods. The product's gateways are none.
	Routers int

	ctx context.Context
	// hosts between the pods, by their short names.
	between []string
	wires   []end
	// podLink is the client's interface and its gateway's.
	podLink []end
	// open is what is attached as long as this process runs.
	open []io.Closer
	// processes carry packets in user space.
	processes []*tunnel.Process
	// restart makes the product set its state anew, as often as asked, on each of its nodes, products in number.
	restart  func(times int) error
	products int
}

// Variant builds one kind of path.
type Variant struct {
	Name string
	// Says is what it is, for the report.
	Says  string
	Build func(ctx context.Context, name string) (*Path, error)
}

// Pairs are the variants with one gateway per cluster (pod, gateway, gateway, pod) and, as the bound, one veth.
func Pairs() []Variant {
	return []Variant{
		{"veth", "one veth pair from pod to pod", buildVeth},
		{"routing", "kernel routing, no tunnel", buildRouting},
		{"vxlan", "kernel VXLAN device and routes, as Submariner", buildVXLAN},
		{"vxlan-ct", "the same, and nftables with connection tracking", buildConntrack},
		{"collect-md", "kernel VXLAN device that eBPF tells the endpoint, as Cilium", buildCollect},
		{"tombolo", "the product: pods send by themselves, and a bridge and routers stand for OVN", buildTombolo},
		{"tombolo-gateway", "the product's gateways alone, with pods at their ports", buildTomboloGateway},
		{"wireguard-go", "wireguard-go and routes", buildWireGuard},
		{"tombolo-wireguard", "the product's gateways, which encrypt with wireguard-go", buildTomboloWireGuard},
	}
}

// Gated are the variants that gates are tried on: the kernel, which must pass them all, and what the product has on nodes
// that are gateways and on those that are not.
func Gated() []Variant {
	return []Variant{
		{"vxlan", "", buildVXLAN},
		{"tombolo", "", buildTombolo},
		{"tombolo-gateway", "", buildTomboloGateway},
		{"tombolo-hops4", "", buildGatewayChain},
	}
}

// Namespaces are those of the pods and of all between them.
func (p *Path) Namespaces() []string {
	names := []string{p.Client.Namespace}
	for _, host := range p.between {
		names = append(names, p.namespace(host))
	}
	return append(names, p.Server.Namespace)
}

// Wire makes the underlay carry frames of at most its MTU, as a network between machines does, instead of
// super-packets; the receiver may join them again (GRO). Off is how veth comes.
func (p *Path) Wire(on bool) error {
	split := map[string]bool{}
	for _, feature := range []string{
		"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation",
		"tx-generic-segmentation", "tx-udp-segmentation", "tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation",
	} {
		split[feature] = !on
	}
	split["rx-gro"] = on
	for _, e := range p.wires {
		if err := p.features(e, maps.Clone(split)); err != nil {
			return fmt.Errorf("make %s a wire: %w", p.Name, err)
		}
	}
	return nil
}

// HasPodMTU is false where a pod's MTU can't change: no larger packet gets through the overlay between nodes.
func (p *Path) HasPodMTU() bool { return len(p.podLink) > 0 }

// SetPodMTU changes the MTU between the client and its gateway.
func (p *Path) SetPodMTU(mtu int) error {
	for _, e := range p.podLink {
		err := p.in(e.host, func(h *netlink.Handle) error {
			l, err := h.LinkByName(e.name)
			if err != nil {
				return err
			}
			return h.LinkSetMTU(l, mtu)
		})
		if err != nil {
			return fmt.Errorf("set MTU of %s of %s: %w", e.name, e.host, err)
		}
	}
	return nil
}

// SetPodChecksums lets the pods leave their checksums to the devices behind them (as veth comes), or compute them.
func (p *Path) SetPodChecksums(offload bool) error {
	for _, e := range []end{clientEnd, serverEnd} {
		if err := p.features(e, map[string]bool{"tx-checksum-ip-generic": offload}); err != nil {
			return err
		}
	}
	return nil
}

// UserSpace says whether processes carry the packets.
func (p *Path) UserSpace() bool { return len(p.processes) > 0 }

// CPU time until now of the processes that carry packets of the path in user space.
func (p *Path) CPU() (total time.Duration, err error) {
	for _, process := range p.processes {
		spent, err := process.CPU()
		if err != nil {
			return 0, err
		}
		total += spent
	}
	return total, nil
}

// Restarts says how many nodes Restart restarts.
func (p *Path) Restarts() int { return p.products }

// Restart opens, sets and closes the product so many times on each of its nodes, with all their state pinned.
func (p *Path) Restart(times int) error { return p.restart(times) }

// Close detaches what is attached. The namespaces go with their Ground.
func (p *Path) Close() error {
	var errs []error
	for _, c := range p.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
