// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab/forward"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

func forwardCommand() *cobra.Command {
	var namespace, to, listen, addressFile string
	cmd := &cobra.Command{
		Use:   "forward --netns NAME --to IP:PORT",
		Short: "Carry TCP connections from the machine's loopback into a network namespace of the lab",
		Example: `  # reach the hub's metrics, which listen on the loopback of its control plane's namespace
  lab forward --netns tmb-hub-cp --to 127.0.0.1:8080 --listen 127.0.0.1:9080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return err
			}
			if addressFile != "" {
				if err := writeWhole(addressFile, l.Addr().String()+"\n"); err != nil {
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "forwarding %s to %s in %s\n", l.Addr(), to, namespace)
			return forward.Serve(cmd.Context(), l, netns.DialContext(namespace), to)
		},
	}
	f := cmd.Flags()
	f.StringVar(&namespace, "netns", "", "network namespace of the target (see lab status)")
	f.StringVar(&to, "to", "", "IP:port of the target in that namespace")
	f.StringVar(&listen, "listen", "127.0.0.1:0", "IP:port to listen on; port 0 takes a free one")
	f.StringVar(&addressFile, "address-file", "", "file to write the address listened on to")
	for _, name := range []string{"netns", "to"} {
		cobra.CheckErr(cmd.MarkFlagRequired(name))
	}
	return cmd
}

// writeWhole lets no reader see a part of the text.
func writeWhole(path, text string) error {
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
