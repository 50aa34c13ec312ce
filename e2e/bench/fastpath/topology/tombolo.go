// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// gatewayConfig is the product's fastpath.Config as the driver reads it. The product's package is internal to the
// agent, and so runs in a process of its own.
type gatewayConfig struct {
	Underlay underlay
	Ports    []port
	Clusters []cluster
	Relays   []relay
	Pods     []pod
	Own      own
	// Routers are the addresses of the other ends of Ports, by interface.
	Routers map[string]string
	// SlowPath gives the kernel what the programs leave.
	SlowPath bool
	// Encryption is nil for none.
	Encryption *encryption `json:",omitempty"`
}

// relay lets packets of a VNI pass from one cluster to another.
type relay struct {
	VNI          uint32
	From         string
	Sources      []string
	To           string
	Destinations []string
}

type underlay struct {
	Interface, Address string
	UDPPort            uint16
	XDP                bool
	Tunnel             string
}

type port struct {
	Interface, Vpc        string
	VNI                   uint32
	GatewayMAC, RouterMAC string
	// Address that errors come from.
	Address string
	Local   []string
	Remotes []remote
}

type remote struct {
	Vpc      string
	VNI      uint32
	Cluster  string
	Prefixes []string
}

type cluster struct {
	Name      string
	Endpoints []string
	Senders   []string
	Encrypted bool
}

// pod is one of the node's.
type pod struct {
	Interface      string
	VNI            uint32
	Address        string
	MAC, RouterMAC string
}

// own is the node's own cluster.
type own struct {
	Name            string
	Gateways, Nodes []string
	Hosts           []host
}

// host is the node that has a pod.
type host struct {
	VNI           uint32
	Address, Node string
}

// gateway is a host that the product runs on.
type gateway struct {
	host string
	cfg  gatewayConfig
}

// apply makes the product's gateway of g forward as g says, after so many restarts.
func (p *Path) apply(g gateway, times int) error {
	in, err := json.Marshal(g.cfg)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(p.ctx, driverPath(),
		"-pins", p.pins(g.host), "-times", strconv.Itoa(times))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	if err := netns.Do(p.namespace(g.host), cmd.Start); err != nil {
		return fmt.Errorf("start the product on %s: %w", g.host, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("set the product's gateway %s: %w: %s", g.host, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

func (p *Path) pins(host string) string { return filepath.Join(pinsDirectory(), p.Name+"-"+host) }

// productVNI is the Vpc's on both ends.
const productVNI = 100

// site is one of two clusters: its prefixes, and the addresses of what stands between them and the underlay.
type site struct {
	// cluster is its name, and subnet where its pods are.
	cluster, subnet string
	// link is between the Vpc's router and the gateway port, which has gateway there; router is the router's.
	link, router, gateway string
	// endpoint of its gateway on the underlay.
	endpoint string
}

var (
	siteA = site{"a", subnetA, "169.254.0.0/29", "169.254.0.1", "169.254.0.2", endpointA}
	siteB = site{"b", subnetB, "169.254.0.8/29", "169.254.0.9", "169.254.0.10", endpointB}
)

// config is that of a gateway of the cluster here, whose port leads to router.
func (b *builder) config(under end, here, there site, at, router end) gatewayConfig {
	return gatewayConfig{
		Underlay: underlay{Interface: under.name, Address: here.endpoint, UDPPort: vxlanPort},
		Clusters: []cluster{{Name: there.cluster, Endpoints: []string{there.endpoint}}},
		Ports: []port{{
			Interface: at.name, Vpc: "bench/vpc", VNI: productVNI,
			GatewayMAC: b.mac(at).String(), RouterMAC: b.mac(router).String(),
			Address: here.gateway,
			Local:   []string{here.subnet, here.link},
			Remotes: []remote{{"bench/vpc", productVNI, there.cluster, []string{there.subnet, there.link}}},
		}},
		Routers:  map[string]string{at.name: here.router},
		SlowPath: true,
	}
}

// product makes all of these gateways the product's.
func (b *builder) product(gateways ...gateway) {
	b.path.products = len(gateways)
	b.path.restart = func(times int) error {
		for _, g := range gateways {
			if err := b.path.apply(g, times); err != nil {
				return err
			}
		}
		return nil
	}
	b.try(func() error { return b.path.restart(1) })
}

// buildTomboloGateway has pods where the gateway ports' routers would be: it is the transit alone.
func buildTomboloGateway(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	b.product(
		gateway{"ga", b.config(underA, siteA, siteB, podA, clientEnd)},
		gateway{"gb", b.config(underB, siteB, siteA, podB, serverEnd)},
	)
	return b.finish()
}
