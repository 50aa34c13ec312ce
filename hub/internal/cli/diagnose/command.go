// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const long = `Look for what is wrong, in the hub or in a cluster, and say what to do.

Nothing is changed and nothing is started in the cluster: the checks look at objects. A check that needs what you may not read says so.
Without an argument all checks are made that there is something of. A check with a warning (!) does not change the exit code, one that failed (✗) does.`

const example = `  kubectl tombolo diagnose                          # what the current context has of Tombolo
  kubectl tombolo diagnose cluster --context east   # a cluster's own view
  kubectl tombolo diagnose --quiet                  # only what is not well
  kubectl tombolo diagnose -o json | jq '.results[] | select(.state == "Failed")'`

type options struct {
	output string
	quiet  bool
}

// Command is `kubectl tombolo diagnose`.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "diagnose [hub|cluster]", Short: "Look for what is wrong, and say what to do", Long: long, Example: example,
		Args: cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs), ValidArgs: []string{SideHub, SideCluster},
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), streams, flags, args) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", `"json" or "yaml" instead of text`)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "leave away what is well")
	return cmd
}

func (o *options) run(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, args []string) error {
	if err := terminal.CheckFormat(o.output); err != nil {
		return err
	}
	connection, err := facts.Connect(flags)
	if err != nil {
		return err
	}
	found, err := facts.Read(ctx, connection, facts.Full)
	if err != nil {
		return err
	}
	side := ""
	if len(args) > 0 {
		side = args[0]
	}
	if side == SideHub && !found.Hub || side == SideCluster && !found.Cluster {
		return fmt.Errorf("context %q is no %s: choose another with --context", found.Context, side)
	}
	report := Of(found, side)
	if o.output != "" {
		err = terminal.Encode(streams.Out, o.output, report)
	} else {
		w := terminal.NewWriter(streams.Out)
		report.Print(w, o.quiet)
		err = w.Err()
	}
	if err == nil && report.State == terminal.Failed {
		err = terminal.ErrNotWell
	}
	return err
}
