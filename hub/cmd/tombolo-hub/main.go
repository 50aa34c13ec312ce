// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command tombolo-hub plans the network of a fleet of clusters.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"github.com/tombolo-io/tombolo/hub/internal/options"
	"github.com/tombolo-io/tombolo/hub/internal/server"
)

func main() {
	if err := options.Command(run).ExecuteContext(signals.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "tombolo-hub:", err)
		os.Exit(1)
	}
}

func run(cmd *cobra.Command, o options.Options) error {
	logger := o.Logger(os.Stderr)
	log.SetLogger(logger)
	klog.SetLogger(logger)

	config, err := server.Config(o)
	if err != nil {
		return err
	}
	mgr, err := server.New(config, o, logger)
	if err != nil {
		return err
	}
	return mgr.Start(cmd.Context())
}
