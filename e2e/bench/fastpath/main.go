// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command fastpath measures packets between clusters: the product beside kernel
// routing, kernel VXLAN and others, on the same machine, in the same minutes, each
// in network namespaces of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/load"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

func main() {
	if load.Asked(os.Args[1:]) {
		if err := load.Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fastpath:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	g, err := topology.Break(ctx)
	if err != nil {
		return err
	}
	defer g.Remove()
	for _, v := range append(topology.Pairs(), topology.Chains()...) {
		p, err := v.Build(ctx)
		if err != nil {
			return err
		}
		for _, k := range []load.Kind{load.RR, load.UDP} {
			r, err := load.Run(ctx, load.Request{Kind: k, From: p.Client.Namespace, To: p.Server.Namespace, Address: p.Server.Address, Port: 7000, CPU: 1, Duration: 300 * time.Millisecond})
			fmt.Printf("%s %s %+v %v  ns/unit %.1f\n", v.Name, k, r, err, float64(r.CPU)/float64(r.Count))
		}
	}
	return nil
}
