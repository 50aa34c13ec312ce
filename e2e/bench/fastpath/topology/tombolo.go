// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
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
		"-pins", filepath.Join(pinsDirectory(), p.Name+"-"+g.host), "-times", strconv.Itoa(times))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	if err := netns.Do(p.namespace(g.host), cmd.Start); err != nil {
		return fmt.Errorf("start the product on %s: %w", g.host, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("set the product's gateway %s: %w: %s", g.host, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// productVNI is the Vpc's on both ends.
const productVNI = 100

func (b *builder) config(under end, endpoint, other string, at, router end, local, remotePrefix string) gatewayConfig {
	return gatewayConfig{
		Underlay: underlay{under.name, endpoint, vxlanPort},
		Clusters: []cluster{{"other", []string{other}}},
		Ports: []port{{
			Interface: at.name, Vpc: "bench/vpc", VNI: productVNI,
			GatewayMAC: b.mac(at).String(), RouterMAC: b.mac(router).String(),
			Address: netip.MustParsePrefix(local).Addr().Next().String(),
			Local:   []string{local},
			Remotes: []remote{{"bench/vpc", productVNI, "other", []string{remotePrefix}}},
		}},
	}
}

// product makes both gateways the product's.
func (b *builder) product(gateways ...gateway) {
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

func buildTombolo(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	b.product(
		gateway{"ga", b.config(underA, endpointA, endpointB, podA, clientEnd, subnetA, subnetB)},
		gateway{"gb", b.config(underB, endpointB, endpointA, podB, serverEnd, subnetB, subnetA)},
	)
	return b.finish()
}
