// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Role is what a gateway does with a packet.
type Role string

const (
	// Encap is from a pod's (or router's) port into a tunnel.
	Encap Role = "encap"
	// Decap is from a tunnel to a port.
	Decap Role = "decap"
	// Transit is from one tunnel into another.
	Transit Role = "transit"
	// Base is nothing: packets are counted where they come in. It is what making and counting them costs.
	Base Role = "base"
)

// Station is one gateway between a place where packets are made and a place where they are counted:
//
//	gen g0 ── u0 gw u1 ── s0 out
type Station struct {
	*Path
	Role Role
	// In is the interface that frames are given to, in the namespace InNamespace; Out where they arrive.
	InNamespace, OutNamespace string
	In, Out                   int
	// XDP says that frames come to Out before the kernel has made skbs of them.
	XDP bool
	// InMAC is the gateway's, and TunnelMAC its tunnel device's: the destinations of the outer and inner Ethernet.
	InMAC, TunnelMAC net.HardwareAddr
}

// Addresses of every Station.
var (
	// Near is a pod beside the generator.
	Near = netip.MustParseAddr("10.77.1.2")
	// Far is a pod beside the counter.
	Far = netip.MustParseAddr("10.77.2.2")
	// Remote is where remote prefixes lie.
	Remote = netip.MustParsePrefix("10.128.0.0/9")
	// TunnelFrom is the outer source of what arrives in a tunnel.
	TunnelFrom = netip.MustParseAddr("192.0.3.2")
	// TunnelTo is its outer destination, the gateway.
	TunnelTo = netip.MustParseAddr("192.0.3.1")
)

const (
	// TunnelVNI is the VNI of what arrives in a tunnel.
	TunnelVNI = productVNI

	tunnelOut = "192.0.2."
)

var (
	stationIn, stationOut   = end{"gw", "u0"}, end{"gw", "u1"}
	generatorEnd, arriveEnd = end{"gen", "g0"}, end{"out", "s0"}
)

// TunnelPort is the UDP port of what arrives in a tunnel. In transit the kernel needs another one for either tunnel.
func (s *Station) TunnelPort() uint16 {
	if s.Role == Transit {
		return nodeTunnelPort
	}
	return vxlanPort
}

// station makes the three hosts. On the side of a tunnel the gateway's interface is its underlay, else a pod's port.
func (b *builder) station(role Role) *Station {
	b.hosts("gen", "gw", "out")
	b.join(generatorEnd, stationIn, UnderlayMTU)
	b.join(stationOut, arriveEnd, UnderlayMTU)
	// Frames of BPF_PROG_TEST_RUN go where somebody polls (NAPI).
	b.try(func() error { return b.path.features(stationIn, map[string]bool{"rx-gro": true}) })
	if role == Encap {
		b.address(stationIn, "10.77.1.1/24")
	} else {
		b.address(stationIn, TunnelTo.String()+"/24")
		b.neighbour(stationIn, TunnelFrom.String(), generatorEnd)
	}
	if role == Decap {
		b.address(stationOut, "10.77.2.1/24")
		b.neighbour(stationOut, Far.String(), arriveEnd)
	} else {
		b.address(stationOut, tunnelOut+"1/24")
		b.neighbour(stationOut, tunnelOut+"2", arriveEnd)
	}
	b.path.between = []string{"gw"}
	return &Station{
		Path: b.path, Role: role,
		InNamespace: b.path.namespace("gen"), OutNamespace: b.path.namespace("out"),
		In: b.index(generatorEnd), Out: b.index(arriveEnd), InMAC: b.mac(stationIn),
	}
}

// KernelStation is a gateway of VXLAN devices and routes, with connection tracking or without.
func KernelStation(ctx context.Context, role Role, conntrack bool) (*Station, error) {
	name := "vxlan-" + string(role)
	if conntrack {
		name = "vxlan-ct-" + string(role)
	}
	b := newBuilder(ctx, name)
	s := b.station(role)
	s.TunnelMAC = make(net.HardwareAddr, 6)
	if role != Encap {
		device := tunnelEnd{end{"gw", "vx1"}, "240.0.1.1", TunnelTo.String(), ""}
		b.vxlanDevice(device.end, TunnelVNI, int(s.TunnelPort()), device.endpoint)
		b.address(device.end, device.address+"/8")
		s.TunnelMAC = b.mac(device.end)
	}
	if role != Decap {
		device := tunnelEnd{end{"gw", "vx0"}, "241.0.0.1", tunnelOut + "1", ""}
		b.vxlanDevice(device.end, 1000, vxlanPort, device.endpoint)
		b.address(device.end, device.address+"/8")
		// The other end is where packets are counted, and needs no device.
		b.reach(device, tunnelEnd{arriveEnd, "241.0.0.2", tunnelOut + "2", Remote.String()})
	}
	if conntrack {
		b.conntrack("gw")
	}
	_, err := b.finish()
	return s, err
}

// BaseStation is a gateway that ends all packets, with xdp before the kernel makes skbs of them.
func BaseStation(ctx context.Context, xdp bool) (*Station, error) {
	name := string(Base)
	if xdp {
		name += "-xdp"
	}
	b := newBuilder(ctx, name)
	s := b.station(Encap)
	s.XDP = xdp
	s.Role, s.OutNamespace, s.Out = Base, b.path.namespace("gw"), b.index(stationIn)
	_, err := b.finish()
	return s, err
}

// ProductStation is a gateway of the product's that knows these remote prefixes. In transit it has one underlay, so
// packets leave by the interface that they came in by and are counted where they were made; with xdp before the kernel
// makes an skb of them.
func ProductStation(ctx context.Context, role Role, remotes []netip.Prefix, xdp bool) (*Station, error) {
	name := fmt.Sprintf("tombolo-%s-%d", role, len(remotes))
	if xdp {
		name += "-xdp"
	}
	b := newBuilder(ctx, name)
	s := b.station(role)
	s.TunnelMAC = make(net.HardwareAddr, 6)
	prefixes := make([]string, len(remotes))
	for i, r := range remotes {
		prefixes[i] = r.String()
	}
	near := site{"near", "10.77.1.0/24", "169.254.0.0/29", "169.254.0.1", "169.254.0.2", tunnelOut + "1"}
	far := site{"far", "10.77.2.0/24", "169.254.0.8/29", "169.254.0.9", "169.254.0.10", tunnelOut + "2"}
	var cfg gatewayConfig
	switch role {
	case Encap:
		cfg = b.config(stationOut, near, far, stationIn, generatorEnd)
		cfg.Ports[0].Remotes[0].Prefixes = prefixes
	case Decap:
		far.endpoint, near.endpoint = TunnelTo.String(), TunnelFrom.String()
		cfg = b.config(stationIn, far, near, stationOut, arriveEnd)
		cfg.Ports[0].Remotes[0].Prefixes = prefixes
	case Transit:
		const next = "192.0.3.3"
		b.neighbour(stationIn, next, generatorEnd)
		s.OutNamespace, s.Out, s.XDP = s.InNamespace, s.In, xdp
		cfg = gatewayConfig{
			Underlay: underlay{Interface: stationIn.name, Address: TunnelTo.String(), UDPPort: s.TunnelPort(), XDP: xdp},
			Clusters: []cluster{
				{Name: "from", Endpoints: []string{TunnelFrom.String()}}, {Name: "to", Endpoints: []string{next}},
			},
			Relays: []relay{{VNI: TunnelVNI, From: "from", Sources: []string{Near.String() + "/32"}, To: "to", Destinations: prefixes}},
		}
	default:
		return nil, fmt.Errorf("build path %s: the product has no %s", b.path.Name, role)
	}
	cfg.SlowPath = len(remotes) == 1 // the maps are looked at, not 100,000 routes of the kernel
	b.product(gateway{"gw", cfg})
	_, err := b.finish()
	return s, err
}
