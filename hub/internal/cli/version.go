// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
	"github.com/tombolo-io/tombolo/hub/internal/cli/terminal"
)

// Versions is what `kubectl tombolo version -o json` prints.
type Versions struct {
	// Client is this program.
	Client string `json:"client"`
	// Hub is what the hub's Deployment, or the newest word of the hub that a cluster has, says.
	Hub string `json:"hub,omitempty"`
	// Agents by cluster.
	Agents map[string]string `json:"agents,omitempty"`
}

func versionCommand(streams genericiooptions.IOStreams, flags *genericclioptions.ConfigFlags) *cobra.Command {
	var output string
	var client bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the versions of this program, the hub and the agents", Args: cobra.NoArgs,
		Example: "  kubectl tombolo version\n  kubectl tombolo version --client -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := terminal.CheckFormat(output); err != nil {
				return err
			}
			found, err := &Versions{Client: version.Version}, error(nil)
			if !client {
				found, err = readVersions(cmd.Context(), flags)
			}
			if found != nil {
				err = joinPrint(streams, output, found, err)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", `"json" or "yaml" instead of text`)
	cmd.Flags().BoolVar(&client, "client", false, "this program's alone: ask no cluster")
	return cmd
}

// joinPrint prints what is known, also when a cluster did not answer.
func joinPrint(streams genericiooptions.IOStreams, output string, v *Versions, err error) error {
	if output != "" {
		if printErr := terminal.Encode(streams.Out, output, v); printErr != nil {
			return printErr
		}
		return err
	}
	w := terminal.NewWriter(streams.Out)
	rows := [][]terminal.Cell{terminal.Text("kubectl-tombolo", v.Client)}
	if v.Hub != "" {
		rows = append(rows, terminal.Text("hub", v.Hub))
	}
	for _, cluster := range slices.Sorted(maps.Keys(v.Agents)) {
		rows = append(rows, terminal.Text("agent of "+cluster, v.Agents[cluster]))
	}
	w.Table([]string{"WHAT", "VERSION"}, rows)
	if w.Err() != nil {
		return w.Err()
	}
	return err
}

func readVersions(ctx context.Context, flags *genericclioptions.ConfigFlags) (*Versions, error) {
	v := &Versions{Client: version.Version, Agents: map[string]string{}}
	connection, err := facts.Connect(flags)
	if err != nil {
		return v, err
	}
	f, err := facts.Read(ctx, connection, facts.Brief)
	if err != nil {
		return v, err
	}
	if hub := f.Deployment(facts.HubDeployment); hub != nil && len(hub.Spec.Template.Spec.Containers) > 0 {
		v.Hub = tag(hub.Spec.Template.Spec.Containers[0].Image)
	}
	for i := range f.Gateways {
		gateway := &f.Gateways[i]
		if v.Hub == "" {
			v.Hub = gateway.Spec.HubVersion
		}
		if gateway.Status.AgentVersion != "" {
			v.Agents[gateway.Spec.Cluster] = gateway.Status.AgentVersion
		}
	}
	if len(f.Unread) > 0 {
		err = fmt.Errorf("%s could not be read: %s", f.Unread[0].What, f.Unread[0].Why)
	}
	return v, err
}

// tag of an image; empty when it has none, or a digest only.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, name, found := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	if !found {
		return ""
	}
	return name
}
