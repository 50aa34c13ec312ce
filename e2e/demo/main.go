// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command demo shows Tombolo's main job on this machine: it starts a hub and two
// real clusters in network namespaces, peers a Vpc of one with a Vpc of the other
// and sends packets across. It exits with 1 when anything does not hold. The
// clusters stay up until "make demo-down".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab"
)

func main() {
	down := flag.Bool("down", false, "remove the lab at the end instead of leaving it to look at")
	dir := flag.String("dir", "/var/tmp/tombolo-lab", "directory of the lab's files")
	timeout := flag.Duration("timeout", 30*time.Minute, "give up after this time; building Kubernetes takes most of it, once")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	d := &demo{out: os.Stdout, begin: time.Now()}
	err := d.run(ctx, *dir)
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
	}
	if *down {
		// The demo's own context may be the reason that it ended.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if downErr := lab.Down(ctx, *dir); downErr != nil {
			fmt.Fprintf(os.Stderr, "remove the lab: %v\n", downErr)
			os.Exit(1)
		}
	}
	if err != nil {
		os.Exit(1)
	}
}
