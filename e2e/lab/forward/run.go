// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// Options says from where to where connections are carried.
type Options struct {
	NetNS       string // NetNS is the network namespace of the target.
	To          string // To is the target's IP:port there.
	Listen      string // Listen is an IP:port of this namespace; port 0 takes a free one.
	AddressFile string // AddressFile, unless "", gets the address listened on, whole or not at all.
}

// Run carries connections until ctx ends.
func Run(ctx context.Context, o Options) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	log.Printf("forwarding %s to %s in %s", l.Addr(), o.To, o.NetNS)
	if o.AddressFile != "" {
		if err := os.WriteFile(o.AddressFile+".tmp", []byte(l.Addr().String()), 0o644); err != nil {
			return fmt.Errorf("forward: %w", err)
		}
		if err := os.Rename(o.AddressFile+".tmp", o.AddressFile); err != nil {
			return fmt.Errorf("forward: %w", err)
		}
	}
	return Serve(ctx, l, netns.DialContext(o.NetNS), o.To)
}
