// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
)

func imagesCommand() *cobra.Command {
	var registry, release string
	cmd := &cobra.Command{
		Use:   "images DIR",
		Short: "Build Tombolo's images from this tree, as archives with the OCI layout",
		Example: `  lab images bin/images --registry registry.example.com
  ctr --namespace k8s.io images import bin/images/tombolo-agent.tar`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			logf := func(format string, a ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", a...) }
			root, err := binaries.Root(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := binaries.Release(cmd.Context(), root, args[0], release, logf); err != nil {
				return err
			}
			images, err := image.Release(args[0], registry, release)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", images.Hub, images.Agent)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&registry, "registry", "", "registry in the images' names, the charts' image.registry")
	f.StringVar(&release, "release", version.Version, "version that the programs tell, and tag of the images")
	return cmd
}
