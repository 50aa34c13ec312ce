// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Lab brings a fleet of real clusters up on one machine and takes it down again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// defaultDir is short, as sockets lie in it, and kept over a reboot, so that
// even then Down finds what there is to remove.
const defaultDir = "/var/tmp/tombolo-lab"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "lab",
		Short: "A fleet of real Kubernetes clusters with real OVN in network namespaces of one machine",
		Long: `Lab brings up a hub cluster and spokes on one Debian machine: etcd, kube-apiserver,
kube-controller-manager and kube-scheduler, nodes with kubelet, containerd, Open vSwitch
and OVN, each in a network namespace of its own. It needs root, and touches no interface,
route or firewall rule of the machine.`,
		Example: `  lab up                                # hub, east and west with a node each
  lab up --spoke east=2 --spoke west=1  # other sizes; 0 nodes gives a bare control plane
  lab kubectl east get nodes
  lab status
  lab down`,
		SilenceUsage: true,
	}
	root.PersistentFlags().String("dir", defaultDir, "directory of the lab")
	root.AddCommand(upCommand(), imagesCommand(), downCommand(), statusCommand(), logsCommand(), kubectlCommand(), forwardCommand(),
		binariesCommand())
	return root
}

// labDir is the value of the flag that all commands have.
func labDir(cmd *cobra.Command) string {
	return cmd.Flag("dir").Value.String()
}
