// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tombolo-io/tombolo/charts/check"
)

const long = `tombolo-agent runs in every cluster of the fleet and realizes what the hub decided for it.

It has two roles. "controller" runs once per cluster: it keeps copies of what the hub says, makes OVN so, and reports
back. "node" runs on every node: it plugs pods, and on gateway nodes it carries the packets between clusters.
Everything works from the copies: a hub that is away freezes changes and breaks nothing.`

const longController = `Keep this cluster's copies of what the hub says in namespace tombolo-system, realize them in OVN, give pods their
addresses, and tell the hub what became of it. The hub may be away, at the start too.`

const longNode = `Answer the CNI plugin for the pods of this node, and let them send to other clusters past the integration bridge
(--direct-path). On a Node with the label tombolo.io/gateway=true also carry packets
to other clusters: announce the address of --endpoint-interface, and keep interfaces, eBPF maps and probes as the
copies say. What is pinned and plugged goes on working while the agent is away.`

const longDump = `Print what the maps of this node's gateway hold or, with --nb, Tombolo's rows of a northbound database: sorted text,
one entry a line, for eyes and for diff.`

const example = `  tombolo-agent controller --cluster-name east --hub-secret tombolo-hub-kubeconfig --nb tcp:10.0.0.5:6641
  tombolo-agent node --node-name east-1 --endpoint-interface eth1
  tombolo-agent dump
  tombolo-agent flows --vpc demo/vpc-1 --drops --follow`

const longFlows = `Print what becomes of packets between Vpcs of different clusters, as seen by the eBPF of this node: one JSON object a line,
with the names of both Vpcs. The agent goes on meanwhile, and packets cost more while this runs. A record of one packet in --sample is
taken; dropped packets say why. Records that were lost because there were too many are counted at the end, on standard error.`

const longLeave = `Take Tombolo out of this cluster: ask the hub to drain it, and this cluster's agents to take down what they have made, and
wait until they have. The chart runs it before it is uninstalled. It says what it waits for, and ends with an error that has the cure.`

// Runners are what the sub-commands do, with valid options.
type Runners struct {
	Controller func(*cobra.Command, Controller) error
	Node       func(*cobra.Command, Node) error
	Dump       func(*cobra.Command, Dump) error
	Flows      func(*cobra.Command, Flows) error
	Leave      func(*cobra.Command, Leave) error
}

// Command is the command line.
func Command(run Runners) *cobra.Command {
	root := &cobra.Command{
		Use: "tombolo-agent", Short: "Realize a cluster's part of the fleet's network", Long: long, Example: example,
		SilenceUsage: true, SilenceErrors: true,
	}
	var c Controller
	controllerCommand := sub("controller", "Realize the cluster's copies in OVN, one per cluster", longController, &c, func(cmd *cobra.Command) error { return run.Controller(cmd, c) })
	var n Node
	nodeCommand := sub("node", "Plug pods and be a gateway, on every node", longNode, &n, func(cmd *cobra.Command) error { return run.Node(cmd, n) })
	var d Dump
	dumpCommand := sub("dump", "Print what eBPF or OVN holds", longDump, &d, func(cmd *cobra.Command) error { return run.Dump(cmd, d) })
	var f Flows
	flowsCommand := sub("flows", "Print what becomes of packets between clusters", longFlows, &f, func(cmd *cobra.Command) error { return run.Flows(cmd, f) })
	var l Leave
	leaveCommand := sub("leave", "Take Tombolo out of this cluster", longLeave, &l, func(cmd *cobra.Command) error { return run.Leave(cmd, l) })
	root.AddCommand(controllerCommand, nodeCommand, dumpCommand, flowsCommand, leaveCommand, check.Command())
	return root
}

// flagged are the options of a sub-command.
type flagged interface {
	AddFlags(*pflag.FlagSet)
	Validate() error
}

func sub(use, short, long string, o flagged, run func(*cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Validate(); err != nil {
				return err
			}
			return run(cmd)
		},
	}
	cmd.Flags().SortFlags = false
	o.AddFlags(cmd.Flags())
	return cmd
}
