// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

const long = `Show how the fleet is: clusters, Vpcs, peerings, and the tunnels between clusters, each with the reason when it is not well.

On the hub that is the whole fleet. In a cluster it is what its copies say, and needs no hub.`

const example = `  kubectl tombolo status                          # the hub, or the cluster, of the current context
  kubectl tombolo status --context east --watch   # again and again
  kubectl tombolo status -n shop                  # Vpcs and peerings of one tenant
  kubectl tombolo status -o json | jq '.peerings[] | select(.state != "Well")'`

// clear the screen and go to its first line.
const clear = "\x1b[H\x1b[2J"

type options struct {
	output   string
	watch    bool
	interval time.Duration
}

// Command is `kubectl tombolo status`.
func Command(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "status", Short: "Show clusters, Vpcs, peerings and tunnels, and why something is not well", Long: long, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), streams, flags) },
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", `"json" or "yaml" instead of tables`)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "show it again when it has changed, until it is interrupted")
	cmd.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "how often --watch looks")
	return cmd
}

func (o *options) run(ctx context.Context, streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) error {
	if err := terminal.CheckFormat(o.output); err != nil {
		return err
	}
	if o.watch && o.interval <= 0 {
		return fmt.Errorf("--interval %s is not positive: use for example 2s", o.interval)
	}
	connection, err := facts.Connect(flags)
	if err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx, streams, connection, *flags.Namespace)
	}
	report, text, err := o.look(ctx, streams, connection, *flags.Namespace)
	if err != nil {
		return err
	}
	if _, err := streams.Out.Write(text); err != nil {
		return err
	}
	if report.State != terminal.Well {
		return terminal.ErrNotWell
	}
	return nil
}

// look reads the cluster once and renders the report.
func (o *options) look(ctx context.Context, streams genericiooptions.IOStreams, c *facts.Connection, namespace string) (*Report, []byte, error) {
	found, err := facts.Read(ctx, c, facts.Brief)
	if err != nil {
		return nil, nil, err
	}
	report := Of(found, namespace)
	var text bytes.Buffer
	if o.output != "" {
		err = terminal.Encode(&text, o.output, report)
		return report, text.Bytes(), err
	}
	w := terminal.NewWriterAs(&text, streams.Out)
	report.Print(w, found.Now)
	return report, text.Bytes(), w.Err()
}

// follow shows the report whenever it has changed. A cluster that does not answer for a while is told, and waited for.
func (o *options) follow(ctx context.Context, streams genericiooptions.IOStreams, c *facts.Connection, namespace string) error {
	ticker := time.NewTicker(o.interval)
	defer ticker.Stop()
	var shown []byte
	for {
		report, text, err := o.look(ctx, streams, c, namespace)
		var news []byte
		if err == nil {
			news, err = o.news(streams, report, text)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && shown == nil:
			return err
		case err != nil:
			fmt.Fprintln(streams.ErrOut, "tombolo:", err)
		case !bytes.Equal(news, shown):
			if err := o.show(streams, text, shown == nil); err != nil {
				return err
			}
			shown = news
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// news is what has to change for the report to be shown again. That time goes by is news on a terminal only.
func (o *options) news(streams genericiooptions.IOStreams, report *Report, text []byte) ([]byte, error) {
	if o.output == "" && terminal.IsTerminal(streams.Out) {
		return text, nil
	}
	timeless := *report
	timeless.Clusters = slices.Clone(report.Clusters)
	for i := range timeless.Clusters {
		timeless.Clusters[i].Heard = nil
	}
	return json.Marshal(timeless)
}

func (o *options) show(streams genericiooptions.IOStreams, text []byte, first bool) error {
	switch {
	case o.output == "" && terminal.IsTerminal(streams.Out):
		text = append([]byte(clear), text...)
	case o.output == "yaml" && !first:
		text = append([]byte("---\n"), text...)
	case o.output == "" && !first:
		text = append([]byte("\n"), text...)
	}
	_, err := streams.Out.Write(text)
	return err
}
