// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

func binariesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "binaries",
		Short: "Build the Kubernetes servers if they are not there, and print their directory",
		Long: `Binaries prints a directory with etcd, kube-apiserver and kubectl, as envtest wants it in
KUBEBUILDER_ASSETS. If that variable names such a directory already, it is this one; else it
is the lab's cache, where everything is built once, in 8 to 14 minutes on 2 cores.`,
		Example: "  export KUBEBUILDER_ASSETS=$(lab binaries)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := binaries.Assets(cmd.Context(), func(format string, args ...any) {
				fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...)
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), dir)
			return err
		},
	}
}
