// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/controllers"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/hubidentity"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

// runLeave asks the cluster's agents to leave, and waits.
func runLeave(cmd *cobra.Command, o options.Leave) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read --kubeconfig: %w", err)
	}
	c, err := controllers.NewClient(config)
	if err != nil {
		return err
	}
	job := leave.Job{Client: c, Force: o.Force, Timeout: o.Timeout, Out: cmd.OutOrStdout()}
	if o.HubSecret != "" {
		job.Forget = func(ctx context.Context) (bool, error) { return hubidentity.Forget(ctx, c, o.HubSecret) }
	}
	return job.Run(cmd.Context())
}
