// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command tombolo-agent realizes in a cluster what the hub decided for it.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

func main() {
	if err := options.Command(options.Runners{Controller: runController, Node: runNode, Dump: runDump, Flows: runFlows, Leave: runLeave}).ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "tombolo-agent:", err)
		os.Exit(1)
	}
}

func runController(cmd *cobra.Command, o options.Controller) error {
	return start(cmd, o.Common, func(config *rest.Config, log logr.Logger) (ctrl.Manager, error) {
		return controllers.NewCluster(config, o, log)
	})
}

func runNode(cmd *cobra.Command, o options.Node) error {
	return start(cmd, o.Common, func(config *rest.Config, log logr.Logger) (ctrl.Manager, error) {
		return controllers.NewNode(config, o, log)
	})
}

func start(cmd *cobra.Command, o options.Common, manager func(*rest.Config, logr.Logger) (ctrl.Manager, error)) error {
	level, err := o.Level()
	if err != nil {
		return err
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read --kubeconfig: %w", err)
	}
	m, err := manager(config, log)
	if err != nil {
		return err
	}
	return m.Start(cmd.Context())
}
