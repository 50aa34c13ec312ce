// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const long = `Show the pools, how much of each is handed out, the largest prefix that is free, and what overlaps with the clusters' own ranges.

With the name of a pool: who has what of it. What is released has no owner any more, and nobody gets it until the clusters that are named have let go.`

const example = `  kubectl tombolo ipam                # all pools
  kubectl tombolo ipam tenants        # who has what of one
  kubectl tombolo ipam links -o json | jq '.holdings[] | select(.released)'`

// Command is `kubectl tombolo ipam`.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use: "ipam [POOL]", Short: "Show pools of addresses, who has what, and what waits for whom", Long: long, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := terminal.CheckFormat(output); err != nil {
				return err
			}
			connection, err := facts.Connect(flags)
			if err != nil {
				return err
			}
			found, err := facts.Read(cmd.Context(), connection, facts.Brief)
			if err != nil {
				return err
			}
			if !found.Hub {
				return errors.New("addresses are handed out on the hub, and this is a cluster: choose the hub's context with --context")
			}
			report, err := Of(found, strings.Join(args, ""))
			if err != nil {
				return err
			}
			return show(streams, output, report)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", `"json" or "yaml" instead of tables`)
	return cmd
}

func show(streams genericiooptions.IOStreams, output string, report *Report) error {
	if output != "" {
		if err := terminal.Encode(streams.Out, output, report); err != nil {
			return err
		}
	} else {
		w := terminal.NewWriter(streams.Out)
		report.Print(w)
		if err := w.Err(); err != nil {
			return err
		}
	}
	if report.State != terminal.Well {
		return terminal.ErrNotWell
	}
	return nil
}

// Print writes the report as tables.
func (r *Report) Print(w *terminal.Writer) {
	w.Title("Pools")
	var rows [][]terminal.Cell
	for _, p := range r.Pools {
		use, state := "", p.Reason
		if p.Capacity > 0 {
			use = fmt.Sprintf("%d%%", 100*p.Allocated/p.Capacity)
		}
		if p.State == terminal.Well {
			state = "Available"
		}
		rows = append(rows, append(terminal.Text(p.Name, p.Purpose, p.Parent, strings.Join(p.Ranges, ","), fmt.Sprintf("%d/%d", p.Allocated, p.Capacity), use,
			fmt.Sprint(p.Released), p.LargestFree, fmt.Sprintf("%d%%", p.FragmentedPercent)), terminal.Cell{Text: p.State.Mark() + " " + state, Level: p.State}, terminal.Cell{Text: p.Message}))
	}
	table(w, []string{"POOL", "PURPOSE", "PARENT", "RANGES", "ALLOCATED", "USE", "RELEASED", "LARGEST FREE", "FRAGMENTED", "STATE", "MESSAGE"}, rows)
	if len(r.Holdings) > 0 {
		w.Printf("\n")
		w.Title("Handed out")
		rows = nil
		for _, h := range r.Holdings {
			state := terminal.Cell{Text: terminal.Well.Mark() + " in use", Level: terminal.Well}
			if h.Released {
				state = terminal.Cell{Text: terminal.Waiting.Mark() + " released", Level: terminal.Waiting}
			}
			rows = append(rows, append(terminal.Text(h.Value, h.Owner), state, terminal.Cell{Text: strings.Join(h.Awaited, "; ")}))
		}
		table(w, []string{"VALUE", "OWNER", "STATE", "WAITS FOR"}, rows)
	}
	if len(r.Overlaps) > 0 {
		w.Printf("\n")
		w.Title("Overlaps with clusters' own ranges")
		rows = nil
		for _, o := range r.Overlaps {
			rows = append(rows, terminal.Text(o.Of, o.CIDR, o.Cluster, o.ClusterCIDR))
		}
		table(w, []string{"OF", "CIDR", "CLUSTER", "ITS RANGE"}, rows)
	}
	for _, u := range r.Unread {
		w.Printf("%s %s could not be read: %s\n", w.Paint(terminal.Waiting, terminal.Waiting.Mark()), u.What, u.Why)
	}
}

func table(w *terminal.Writer, head []string, rows [][]terminal.Cell) {
	if len(rows) == 0 {
		w.Printf("none\n")
		return
	}
	w.Table(head, rows)
}
