// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/tunnel"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

const (
	// wireGuardPort is the product's.
	wireGuardPort = 51871
	// wireGuardMTU is what WireGuard over IPv4 (60 bytes) leaves of the underlay's.
	wireGuardMTU = UnderlayMTU - 60
)

// buildWireGuard has wireguard-go between the gateways, and routes through it.
func buildWireGuard(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	b.routers()
	const device = "wg0"
	b.try(func() error {
		p, err := tunnel.Start(ctx, tunnel.Request{
			Name: device, MTU: wireGuardMTU, Port: wireGuardPort,
			Ends: [2]tunnel.End{
				{Namespace: b.path.namespace("ga"), Endpoint: endpointA, Behind: []string{subnetA}},
				{Namespace: b.path.namespace("gb"), Endpoint: endpointB, Behind: []string{subnetB}},
			},
		})
		if err == nil {
			b.runs(p)
		}
		return err
	})
	for host, behind := range map[string]string{"ga": subnetB, "gb": subnetA} {
		b.try(func() error { return netns.LinkUp(b.path.namespace(host), device) })
		b.routeInto(end{host, device}, behind)
	}
	return b.finish()
}

// runs counts the CPU time of p for the path's, and ends it with the path.
func (b *builder) runs(p *tunnel.Process) {
	b.path.open = append(b.path.open, p)
	b.path.processes = append(b.path.processes, p)
}

// routeInto sends what is for a prefix into an interface without neighbours.
func (b *builder) routeInto(e end, prefix string) {
	index := b.index(e)
	b.try(func() error {
		return b.path.in(e.host, func(h *netlink.Handle) error {
			to, err := netlink.ParseIPNet(prefix)
			if err != nil {
				return err
			}
			if err := h.RouteAdd(&netlink.Route{LinkIndex: index, Dst: to}); err != nil {
				return fmt.Errorf("add route to %s: %w", prefix, err)
			}
			return nil
		})
	})
}

// encryption is what the driver needs to make the product's tunnel.
type encryption struct {
	Interface string
	MTU       int
	Port      uint16
	// KeyDirectory has the private key.
	KeyDirectory string
	// Peers are public keys by endpoint.
	Peers map[string]string
}

// buildTomboloWireGuard is buildTomboloGateway with clusters that encrypt.
func buildTomboloWireGuard(ctx context.Context, name string) (*Path, error) {
	b := newBuilder(ctx, name)
	b.gateways()
	keyA, publicA := b.key("ga")
	keyB, publicB := b.key("gb")
	for _, side := range []struct {
		host        string
		cfg         gatewayConfig
		key, public string
	}{
		{"ga", b.config(underA, siteA, siteB, podA, clientEnd), keyA, publicB},
		{"gb", b.config(underB, siteB, siteA, podB, serverEnd), keyB, publicA},
	} {
		cfg := side.cfg
		cfg.Clusters[0].Encrypted = true
		cfg.Underlay.Tunnel = "tbwg0"
		cfg.Encryption = &encryption{
			cfg.Underlay.Tunnel, wireGuardMTU, wireGuardPort, side.key, map[string]string{cfg.Clusters[0].Endpoints[0]: side.public},
		}
		b.try(func() error { return b.stay(gateway{side.host, cfg}) })
	}
	return b.finish()
}

// key makes a private key in a directory of its own, and returns that and the public half.
func (b *builder) key(host string) (dir, public string) {
	dir = filepath.Join(directory, "keys", b.path.Name+"-"+host)
	b.try(func() error {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		public = base64.StdEncoding.EncodeToString(key.PublicKey().Bytes())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		return os.WriteFile(filepath.Join(dir, "private.key"), []byte(base64.StdEncoding.EncodeToString(key.Bytes())+"\n"), 0o600)
	})
	return dir, public
}

// stay applies g in a process that stays: wireguard-go, in it, ends with it.
func (b *builder) stay(g gateway) error {
	cmd := exec.CommandContext(b.ctx, driverPath(), "-pins", b.path.pins(g.host), "-stay")
	start := func() error { return netns.Do(b.path.namespace(g.host), cmd.Start) }
	p, err := tunnel.StartCommand(cmd, start, g.cfg)
	if err != nil {
		return fmt.Errorf("set the product's gateway %s: %w", g.host, err)
	}
	b.runs(p)
	return nil
}
