// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is kubectl-tombolo: what a person asks of a fleet, from outside. It reads and writes through the API as any other user, and
// shares nothing with the hub's controllers.
package cli

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/hub/internal/cli/confirm"
	"github.com/tombolo-io/tombolo/hub/internal/cli/diagnose"
	"github.com/tombolo-io/tombolo/hub/internal/cli/gather"
	"github.com/tombolo-io/tombolo/hub/internal/cli/ipam"
	"github.com/tombolo-io/tombolo/hub/internal/cli/join"
	"github.com/tombolo-io/tombolo/hub/internal/cli/leave"
	"github.com/tombolo-io/tombolo/hub/internal/cli/status"
)

const long = `Look after a fleet of clusters whose virtual private clouds Tombolo joins.

Each command works on the cluster of a context of your kubeconfig: most are for the hub, those that say so for a cluster of the fleet too.

Exit codes: 0 all is well · 1 the command failed · 2 the command worked, and something is not well.`

const example = `  kubectl tombolo status                 # clusters, Vpcs, peerings, tunnels
  kubectl tombolo join east              # invite a cluster, print the command that makes it join
  kubectl tombolo diagnose               # what is wrong, and the cure
  kubectl tombolo gather -o bug.tar.gz   # everything that a bug report needs, without secrets`

// Command is the whole command line.
func Command(streams genericiooptions.IOStreams) *cobra.Command {
	flags := Flags()
	root := &cobra.Command{
		Use: "kubectl-tombolo", Short: "Look after a fleet that Tombolo joins", Long: long, Example: example,
		SilenceUsage: true, SilenceErrors: true,
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl tombolo"},
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	flags.AddFlags(root.PersistentFlags())
	root.AddCommand(
		status.Command(streams, flags),
		join.Command(streams, flags),
		ipam.Command(streams, flags),
		diagnose.Command(streams, flags),
		leave.Command(streams, flags, clusterNames(flags)),
		confirm.Command(streams, flags),
		gather.Command(streams, flags, contextNames(flags)),
		versionCommand(streams, flags),
	)
	return root
}

// Flags are kubectl's own that say which cluster is meant, and as whom. Those that have no meaning here are left away.
func Flags() *genericclioptions.ConfigFlags {
	flags := genericclioptions.NewConfigFlags(true)
	flags.CacheDir, flags.DisableCompression = nil, nil
	flags.ClusterName, flags.AuthInfoName = nil, nil // "cluster" and "user" of a kubeconfig: a context has both
	return flags
}
