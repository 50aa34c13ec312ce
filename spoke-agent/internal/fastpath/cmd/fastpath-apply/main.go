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
)

// input is a fastpath.Config, and what the slow path needs besides.
type input struct {
	fastpath.Config
	// Routers are the addresses of the Vpcs' routers on their links, by the interface of the gateway port. A node without
	// ports has none and needs the slow path only to take packets in.
	Routers map[string]netip.Addr
	// SlowPath is false for the programs alone.
	SlowPath bool
}

func main() {
	pins := flag.String("pins", "", "directory in a bpffs that is this network namespace's")
	times := flag.Int("times", 1, "how often to open, set and close, as an agent that restarts")
	flag.Parse()
	if err := run(os.Stdin, *pins, *times); err != nil {
		fmt.Fprintln(os.Stderr, "fastpath-apply:", err)
		os.Exit(1)
	}
	fmt.Println("OK")
}

func run(in io.Reader, pins string, times int) error {
	var want input
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&want); err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	for range times {
		if err := apply(pins, want); err != nil {
			return err
		}
	}
	return nil
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
	endpoints := map[string][]netip.Addr{}
	for _, c := range in.Clusters {
		endpoints[c.Name] = c.Endpoints
	}
	for _, p := range in.Ports {
		if p.Interface == "" {
			continue
		}
		vpc := link.SlowVpc{
			Interface: p.Interface, VNI: p.VNI, Router: in.Routers[p.Interface], RouterMAC: p.RouterMAC, Local: p.Local,
		}
		for _, r := range p.Remotes {
			vpc.Remotes = append(vpc.Remotes, link.SlowRemote{VNI: r.VNI, Endpoints: endpoints[r.Cluster], Prefixes: r.Prefixes})
		}
		out.Vpcs = append(out.Vpcs, vpc)
	}
	return out
}
