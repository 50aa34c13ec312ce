// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// extras are what binaries builds only when it is named.
var extras = map[string]func(context.Context, binaries.Logf) (binaries.Set, error){
	"ocm":  binaries.OCM,
	"helm": binaries.Helm,
}

func binariesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "binaries [ocm] [helm]",
		Short: "Build the Kubernetes servers if they are not there, and print their directory",
		Long: `Binaries prints a directory with etcd, kube-apiserver and kubectl, as envtest wants it in
KUBEBUILDER_ASSETS. If that variable names such a directory already, it is this one; else it
is the lab's cache, where everything is built once, in 8 to 14 minutes on 2 cores. What is
named besides (Open Cluster Management, Helm) is built into that cache too.`,
		Example:   "  export KUBEBUILDER_ASSETS=$(lab binaries)",
		ValidArgs: slices.Sorted(maps.Keys(extras)),
		Args:      cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			logf := func(format string, args ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
			}
			dir, err := binaries.Assets(cmd.Context(), logf)
			if err != nil {
				return err
			}
			for _, name := range args {
				if _, err := extras[name](cmd.Context(), logf); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
}
