// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package confirm lets a person say that a removal which the hub holds back is meant, or that a hub which doubts itself is right.
package confirm

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const long = `Show what the hub holds back, and confirm it, on the hub.

A plan that would take more than a share of what is distributed away from the clusters (spec.maxRemovalPercent of the Fleet, 20) waits for you, and so does a
hub that has gone back in time or finds what another hub has written. Read what it says first: most often the cause is to be undone, and then nothing has
to be confirmed.

A confirmation is of exactly what is shown: its digest. What a later change makes of it has another one, and waits again.`

const example = `  kubectl tombolo confirm                    # shows what is held back, and asks for its digest
  kubectl tombolo confirm 0123456789abcdef   # confirms exactly that
  kubectl tombolo confirm -o json            # shows it for machines, and asks nothing`

// APIVersion of the JSON form: fields are added to it, and none is taken away or changes its meaning.
const APIVersion = "cli.tombolo.io/v1"

// Report is what the hub holds back.
type Report struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "Confirmation".
	Kind string `json:"kind"`
	// Frozen is true while something is held back.
	Frozen bool `json:"frozen"`
	// Reason is MassRemoval, WentBack or ForeignHub; None when nothing is held.
	Reason string `json:"reason"`
	// Message for people, with the cure.
	Message string `json:"message,omitempty"`
	// Confirmed is true when exactly this has been confirmed, and is being done.
	Confirmed bool `json:"confirmed"`
	// Pending is how much of what.
	Pending *networkv1alpha1.PendingRemoval `json:"pending,omitempty"`
}

type options struct {
	output string
}

// Command is `kubectl tombolo confirm`.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "confirm [DIGEST]", Short: "Show what the hub holds back, and confirm it", Long: long, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			connection, err := facts.Connect(flags)
			if err != nil {
				return err
			}
			digest := ""
			if len(args) > 0 {
				digest = args[0]
			}
			return o.run(cmd.Context(), streams, connection, digest)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", `"json" or "yaml" instead of words`)
	return cmd
}

func (o *options) run(ctx context.Context, streams genericiooptions.IOStreams, c *facts.Connection, digest string) error {
	if err := terminal.CheckFormat(o.output); err != nil {
		return err
	}
	fleet := &networkv1alpha1.Fleet{}
	if err := c.Client.Get(ctx, client.ObjectKey{Name: networkv1alpha1.FleetName}, fleet); err != nil {
		return fmt.Errorf("read the Fleet of context %q, which the hub makes: %w", c.Context, err)
	}
	report := Of(fleet)
	if o.output != "" && digest == "" {
		if err := terminal.Encode(streams.Out, o.output, report); err != nil {
			return err
		}
		return well(report)
	}
	if !report.Frozen {
		if digest != "" {
			return fmt.Errorf("%q confirms nothing: nothing is held back", digest)
		}
		fmt.Fprintln(streams.Out, "Nothing is held back.")
		return nil
	}
	if digest == "" {
		show(terminal.NewWriter(streams.ErrOut), report)
		answer, err := terminal.Ask(streams, "\nType the digest to confirm exactly this: ", "give the digest as an argument")
		if err != nil {
			return err
		}
		digest = answer
	}
	if digest != report.Pending.Digest {
		return fmt.Errorf("%q is not the digest of what is held back now, which is %q: look at it again with kubectl tombolo confirm", digest, report.Pending.Digest)
	}
	if err := o.confirm(ctx, c, fleet, digest); err != nil {
		return err
	}
	if o.output != "" {
		report.Confirmed = true
		return terminal.Encode(streams.Out, o.output, report)
	}
	fmt.Fprintf(streams.ErrOut, "tombolo: %s is confirmed; kubectl tombolo status shows what becomes of it\n", digest)
	return nil
}

// confirm writes the digest into the very Fleet that was shown.
func (o *options) confirm(ctx context.Context, c *facts.Connection, shown *networkv1alpha1.Fleet, digest string) error {
	confirmed := shown.DeepCopy()
	confirmed.Spec.ConfirmedRemoval = digest
	if err := c.Client.Patch(ctx, confirmed, client.MergeFromWithOptions(shown, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write spec.confirmedRemoval of the Fleet: %w", err)
	}
	return nil
}

// Of makes the report of a Fleet.
func Of(fleet *networkv1alpha1.Fleet) *Report {
	r := &Report{APIVersion: APIVersion, Kind: "Confirmation", Reason: networkv1alpha1.ReasonNone}
	c := meta.FindStatusCondition(fleet.Status.Conditions, networkv1alpha1.ConditionFrozen)
	if c == nil || c.Status != metav1.ConditionTrue || fleet.Status.PendingRemoval == nil {
		return r
	}
	r.Frozen, r.Reason, r.Message, r.Pending = true, c.Reason, c.Message, fleet.Status.PendingRemoval
	r.Confirmed = fleet.Spec.ConfirmedRemoval == r.Pending.Digest
	return r
}

func well(r *Report) error {
	if r.Frozen && !r.Confirmed {
		return terminal.ErrNotWell
	}
	return nil
}

// show what is held back.
func show(w *terminal.Writer, r *Report) {
	p := r.Pending
	w.Title("Frozen: " + r.Reason)
	w.Printf("%s\n", r.Message)
	if p.Objects > 0 {
		w.Printf("\nThis would go, from %d of %d objects:\n\n", p.Objects, p.TotalObjects)
		w.Table([]string{"WHAT", "GOES", "OF"}, [][]terminal.Cell{
			terminal.Text("LocalRouters", fmt.Sprint(p.Routers), fmt.Sprint(p.TotalRouters)),
			terminal.Text("ways to Vpcs, and subnets", fmt.Sprint(p.Remotes), fmt.Sprint(p.TotalRemotes)),
			terminal.Text("InterconnectGateways", fmt.Sprint(p.Gateways), fmt.Sprint(p.TotalGateways)),
			terminal.Text("gateway nodes", fmt.Sprint(p.Endpoints), fmt.Sprint(p.TotalEndpoints)),
		})
		w.Printf("\nSome of it:\n")
		for _, e := range p.Examples {
			w.Printf("  %s\n", e)
		}
	}
	w.Printf("\nDigest: %s\n", p.Digest)
}
