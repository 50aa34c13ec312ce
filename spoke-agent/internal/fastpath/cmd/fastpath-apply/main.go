// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fastpath-apply sets the fast path of the network namespace that it runs
// in to the fastpath.Config that it reads as JSON, and the kernel's slow path under
// it, prints OK, and leaves both. It is for benchmarks and for looking at the data
// path alone: the agent does the same from its LocalRouters, and no image has this
// command.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/go-logr/logr"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/wireguard"
)

// input is a fastpath.Config, and what the slow path needs besides.
type input struct {
	fastpath.Config
	// Routers are the addresses of the Vpcs' routers on their links, by the interface of the gateway port. A node without
	// ports has none and needs the slow path only to take packets in.
	Routers map[string]netip.Addr
	// SlowPath is false for the programs alone.
	SlowPath bool
	// Encryption is nil when there is no Underlay.Tunnel.
	Encryption *encryption
}

// encryption is what wireguard.Config has, with keys as they are stored and written.
type encryption struct {
	Interface string
	MTU       int
	Port      uint16
	// KeyDirectory is that of wireguard.OpenKeys.
	KeyDirectory string
	// Peers are public keys by endpoint.
	Peers map[netip.Addr]string
}

func main() {
	pins := flag.String("pins", "", "directory in a bpffs that is this network namespace's")
	times := flag.Int("times", 1, "how often to open, set and close, as an agent that restarts")
	stay := flag.Bool("stay", false, "run until the input ends, as an embedded WireGuard needs")
	flag.Parse()
	if err := run(os.Stdin, *pins, *times, *stay); err != nil {
		fmt.Fprintln(os.Stderr, "fastpath-apply:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, pins string, times int, stay bool) error {
	var want input
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&want); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	if want.Encryption != nil {
		tunnel := wireguard.New(logr.Discard())
		defer tunnel.Close()
		cfg, err := want.tunnel()
		if err == nil {
			err = tunnel.Set(cfg)
		}
		if err != nil {
			return fmt.Errorf("set tunnel: %w", err)
		}
	}
	for range times {
		if err := apply(pins, want); err != nil {
			return err
		}
	}
	fmt.Println("OK")
	if !stay {
		return nil
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

func (in input) tunnel() (wireguard.Config, error) {
	e := in.Encryption
	cfg := wireguard.Config{Interface: e.Interface, MTU: e.MTU, ListenPort: e.Port, GuardedPort: in.Underlay.UDPPort}
	keys, err := wireguard.OpenKeys(e.KeyDirectory)
	if err != nil {
		return cfg, err
	}
	cfg.Key = keys.Current()
	for address, text := range e.Peers {
		key, err := wireguard.ParsePublicKey(text)
		if err != nil {
			return cfg, err
		}
		cfg.Peers = append(cfg.Peers, wireguard.Peer{Key: key, Address: address, Port: e.Port})
		cfg.Guarded = append(cfg.Guarded, address)
	}
	return cfg, nil
}

// apply has the agent's order: programs look at all that goes to the kernel's VXLAN device and comes from it before the
// kernel forwards anything.
func apply(pins string, want input) error {
	cfg, slow := want.Config, link.SlowPath{}
	if want.SlowPath {
		slow = want.slowPath()
		cfg.Underlay.VXLAN = link.VXLANName(slow.VXLAN.Port)
		if err := link.EnsureVXLAN(slow.VXLAN); err != nil {
			return err
		}
	}
	f, err := fastpath.Open(fastpath.Options{PinPath: pins, Logger: logr.Discard()})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Set(cfg); err != nil {
		return err
	}
	if !want.SlowPath {
		return nil
	}
	return link.SetSlowPath(slow)
}

// slowPath gives the kernel the same ways as the programs have.
func (in input) slowPath() link.SlowPath {
	under := in.Underlay
	out := link.SlowPath{VXLAN: link.VXLAN{Port: under.UDPPort, Address: under.Address, Underlay: under.Interface}}
	clusters := map[string]link.SlowRemote{}
	for _, c := range in.Clusters {
		slow := link.SlowRemote{Endpoints: c.Endpoints}
		if c.Encrypted {
			slow.EncryptedMTU = in.Encryption.MTU - link.VXLANOverhead
		}
		clusters[c.Name] = slow
	}
	for _, p := range in.Ports {
		if p.Interface == "" {
			continue
		}
		vpc := link.SlowVpc{
			Interface: p.Interface, VNI: p.VNI, Router: in.Routers[p.Interface], RouterMAC: p.RouterMAC, Local: p.Local,
		}
		for _, r := range p.Remotes {
			slow := clusters[r.Cluster]
			slow.VNI, slow.Prefixes = r.VNI, r.Prefixes
			vpc.Remotes = append(vpc.Remotes, slow)
		}
		out.Vpcs = append(out.Vpcs, vpc)
	}
	return out
}
