// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Forward is what the lab leaves running for each cluster, so that a user's
// kubectl reaches it. It is a program of its own, and not the lab command, as
// that is ten times as large in memory.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"syscall"

	"github.com/tombolo-io/tombolo/e2e/lab/forward"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var o forward.Options
	flag.StringVar(&o.NetNS, "netns", "", "network namespace of the target")
	flag.StringVar(&o.To, "to", "", "IP:port of the target in that namespace")
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:0", "IP:port to listen on; port 0 takes a free one")
	flag.StringVar(&o.AddressFile, "address-file", "", "file to write the address listened on to")
	flag.Parse()
	if err := forward.Run(ctx, o); err != nil {
		log.Fatal(err)
	}
}
