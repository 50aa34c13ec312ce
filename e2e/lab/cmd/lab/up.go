// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tombolo-io/tombolo/e2e/lab"
)

func upCommand() *cobra.Command {
	o := lab.Options{}
	var spokes []string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Bring a lab up; what is in its directory is taken down first",
		Long: `Up builds what is not built yet (Kubernetes' servers and OCM once, in 12 to 20 minutes on 2 cores),
starts the fleet and returns when it is ready. The clusters stay up until lab down.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Dir, err = filepath.Abs(labDir(cmd)); err != nil {
				return err
			}
			if o.Spokes, err = parseSpokes(spokes); err != nil {
				return err
			}
			o.Logf = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
			l, err := lab.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, c := range l.Clusters() {
				fmt.Fprintf(cmd.OutOrStdout(), "%-8s  export KUBECONFIG=%s\n", c.Name, c.Kubeconfig)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Hub, "hub", "hub", "name of the hub cluster")
	f.StringArrayVar(&spokes, "spoke", []string{"east=1", "west=1"}, "spoke cluster as NAME=NODES or NAME=NODES/GATEWAYS; repeat for more")
	f.StringVar(&o.Prefix, "prefix", "tmb", "start of the names of all network namespaces")
	f.BoolVar(&o.Tombolo, "tombolo", true, "build Tombolo's hub and agents too, and install their charts")
	return cmd
}

// parseSpokes reads NAME=NODES and NAME=NODES/GATEWAYS.
func parseSpokes(texts []string) ([]lab.SpokeOptions, error) {
	var spokes []lab.SpokeOptions
	for _, text := range texts {
		name, sizes, _ := strings.Cut(text, "=")
		nodes, gateways, more := strings.Cut(sizes, "/")
		s := lab.SpokeOptions{Name: name}
		var err error
		if s.Nodes, err = strconv.Atoi(nodes); err == nil && more {
			s.Gateways, err = strconv.Atoi(gateways)
		}
		if err != nil {
			return nil, fmt.Errorf("--spoke %q: want NAME=NODES or NAME=NODES/GATEWAYS, such as east=2/1", text)
		}
		spokes = append(spokes, s)
	}
	return spokes, nil
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End all processes of the lab, delete its network namespaces and remove its files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return lab.Down(cmd.Context(), labDir(cmd))
		},
	}
}
