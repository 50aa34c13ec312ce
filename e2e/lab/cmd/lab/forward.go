// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab/forward"
)

func forwardCommand() *cobra.Command {
	o := forward.Options{}
	cmd := &cobra.Command{
		Use:   "forward --netns NAME --to IP:PORT",
		Short: "Carry TCP connections from the machine's loopback into a network namespace of the lab",
		Example: `  # read the metrics of the agent of a node, which it serves at the node's address
  lab forward --netns tmb-east-n1 --to 10.90.2.11:9517 --listen 127.0.0.1:9080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return forward.Run(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.NetNS, "netns", "", "network namespace of the target (see lab status)")
	f.StringVar(&o.To, "to", "", "IP:port of the target in that namespace")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "IP:port to listen on; port 0 takes a free one")
	for _, name := range []string{"netns", "to"} {
		cobra.CheckErr(cmd.MarkFlagRequired(name))
	}
	return cmd
}
