// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const long = `Ask for the leave of a cluster, on the hub.

The hub drains it first: the other clusters lose their routes to it, then its own go, then what its agent has made there. What will be
lost is shown before, and you are asked.

A cluster with the add-on loses the add-on and stays in Open Cluster Management; one that was joined by token leaves the fleet. Any other is
deleted from Open Cluster Management with --detach only.

A cluster that will never answer again keeps its addresses, so that nobody else gets them while it may still be there. --gone says that it is
gone for good: its addresses are handed out again at once. If it is not gone, packets for others will reach it. There is no way back.`

const example = `  kubectl tombolo leave east          # asks, then begins
  kubectl tombolo leave east --wait   # and looks on until it has left
  kubectl tombolo leave east --gone   # it burnt down`

// every is how often --wait looks.
const every = time.Second

type options struct {
	wish
	wait, yes bool
	timeout   time.Duration
}

// Command is `kubectl tombolo leave`. Clusters completes names.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags, clusters cobra.CompletionFunc) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "leave CLUSTER", Short: "Take a cluster out of the fleet, drained", Long: long, Example: example,
		Args: cobra.ExactArgs(1), ValidArgsFunction: clusters,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			connection, err := facts.Connect(flags)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), streams, connection)
		},
	}
	cmd.Flags().BoolVar(&o.gone, "gone", false, "the cluster will never come back: do not wait for it")
	cmd.Flags().BoolVar(&o.detach, "detach", false, "delete the ManagedCluster, whoever joined it")
	cmd.Flags().BoolVarP(&o.wait, "wait", "w", false, "look on until it has left")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long --wait looks on")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (o *options) run(ctx context.Context, streams genericiooptions.IOStreams, c *facts.Connection) error {
	f, err := facts.Read(ctx, c, facts.Brief)
	if err != nil {
		return err
	}
	if !f.Hub {
		return fmt.Errorf("context %q is no hub: a cluster leaves by itself with helm uninstall, where Open Cluster Management installed it by the deletion of its "+
			"ManagedClusterAddOn on the hub, or is asked to on its hub: choose the hub with --context", f.Context)
	}
	if len(f.Unread) > 0 {
		return fmt.Errorf("can't tell what would be lost: %s could not be read: %s", f.Unread[0].What, f.Unread[0].Why)
	}
	target, err := choose(f, o.wish)
	if err != nil {
		return err
	}
	if o.gone {
		if why := notGone(f, o.name); why != "" {
			return fmt.Errorf("cluster %q is not gone: %s: kubectl tombolo leave %s, without --gone, drains it first; "+
				"if you know better, kubectl delete managedcluster %s --wait=false, then kubectl annotate managedcluster %s %s=true", o.name, why, o.name, o.name, o.name, facts.AnnotationGone)
		}
	}
	next := nextOf(f, o.wish, target)
	if !o.begun(f, target) {
		if err := o.confirm(streams, f, target); err != nil {
			return err
		}
		if err := o.act(ctx, c, target); err != nil {
			return err
		}
		fmt.Fprintf(streams.ErrOut, "tombolo: cluster %s has begun to leave\n", o.name)
	}
	if p := ProgressOf(f, o.name, target); p.Frozen != "" && !o.wait {
		fmt.Fprintln(streams.ErrOut, "tombolo:", p)
	}
	if o.wait {
		if err := o.follow(ctx, streams, c, target); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(streams.Out, next) // as it was before: afterwards the object is gone
	return err
}

// begun is true when there is nothing to ask for any more, only to wait.
func (o *options) begun(f *facts.Facts, target Target) bool {
	managed := find(f, o.name)
	if o.gone {
		return managed.Annotations[facts.AnnotationGone] == "true" && managed.DeletionTimestamp != nil
	}
	if target == TargetAddOn {
		return f.AddOn(o.name).DeletionTimestamp != nil
	}
	return managed.DeletionTimestamp != nil
}

// confirm shows what will be lost and asks. Saying that a cluster is gone needs its name: that is not a question to say yes to by habit.
func (o *options) confirm(streams genericiooptions.IOStreams, f *facts.Facts, target Target) error {
	w := terminal.NewWriter(streams.ErrOut)
	show(w, Losses(f, o.name), o.name, target, !facts.ByToken(find(f, o.name)))
	if o.gone {
		w.Printf("\n%s\n", w.Paint(terminal.Failed, "WARNING: --gone hands out its addresses and VNIs again at once, without waiting for it. If the cluster, or one node of it, still runs,\n"+
			"its packets and other clusters' will be mixed up. Switch its nodes off first. There is no way back."))
	}
	if err := w.Err(); err != nil || o.yes {
		return err
	}
	question := fmt.Sprintf("\nShall cluster %s leave? [y/N] ", o.name)
	if o.gone {
		question = "\nType the name of the cluster that is gone for good: "
	}
	answer, err := terminal.Ask(streams, question, "say --yes")
	if err != nil {
		return err
	}
	if !o.agreed(answer) {
		return errors.New("nothing was done")
	}
	return nil
}

// agreed is true for the answer that was asked for.
func (o *options) agreed(answer string) bool {
	if o.gone {
		return answer == o.name
	}
	answer = strings.ToLower(answer)
	return answer == "y" || answer == "yes"
}

func show(w *terminal.Writer, loss Loss, cluster string, target Target, ocm bool) {
	w.Printf("Cluster %s leaves by the deletion of its %s", cluster, target)
	switch {
	case target == TargetAddOn:
		w.Printf(" %s: it stays in Open Cluster Management.\n", facts.AddOn)
	case ocm:
		w.Printf(": it leaves Open Cluster Management, too, with all that other add-ons have there.\n")
	default:
		w.Printf(".\n")
	}
	for _, part := range []struct {
		what  string
		names []string
	}{
		{"Vpcs that lose their part there", loss.Vpcs},
		{"Vpcs that are nowhere else", loss.Ending},
		{"Subnets there, whose addresses nobody reaches any more", loss.Subnets},
		{"peerings with an end there", loss.Peerings},
	} {
		if len(part.names) == 0 {
			w.Printf("  no %s\n", part.what)
			continue
		}
		w.Printf("  %s:\n", part.what)
		for _, name := range part.names {
			w.Printf("    %s\n", name)
		}
	}
}

// act asks the hub: one object is deleted, and for a cluster that is gone one annotation says so.
func (o *options) act(ctx context.Context, c *facts.Connection, target Target) error {
	if o.gone {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, facts.AnnotationGone))
		if err := c.Client.Patch(ctx, managedCluster(o.name), patch); err != nil {
			return fmt.Errorf("say that cluster %s is gone: %w", o.name, err)
		}
	}
	var object client.Object = managedCluster(o.name)
	if target == TargetAddOn {
		object = &addonv1alpha1.ManagedClusterAddOn{}
		object.SetNamespace(o.name)
		object.SetName(facts.AddOn)
	}
	if err := c.Client.Delete(ctx, object); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s of cluster %s: %w", target, o.name, err)
	}
	return nil
}

func managedCluster(name string) *clusterv1.ManagedCluster {
	managed := &clusterv1.ManagedCluster{}
	managed.SetName(name)
	return managed
}

// follow looks on until the cluster has left: its agent cleans up by itself when it is drained.
func (o *options) follow(ctx context.Context, streams genericiooptions.IOStreams, c *facts.Connection, target Target) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	told := ""
	for {
		f, err := facts.Read(ctx, c, facts.Brief)
		line := "the hub does not answer"
		if err == nil {
			p := ProgressOf(f, o.name, target)
			if p.Left {
				fmt.Fprintln(streams.ErrOut, "tombolo:", p)
				return nil
			}
			line = p.String()
		}
		if line != told {
			fmt.Fprintln(streams.ErrOut, "tombolo:", line)
			told = line
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster %s has not left yet (%s): it goes on; look again with kubectl tombolo leave %s --wait", o.name, told, o.name)
		case <-ticker.C:
		}
	}
}
