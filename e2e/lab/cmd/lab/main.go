// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Lab brings real clusters up on one machine and takes them down again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:          "lab",
		Short:        "A fleet of real Kubernetes clusters with real OVN in the network namespaces of one machine",
		SilenceUsage: true,
	}
	root.AddCommand(forwardCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}
