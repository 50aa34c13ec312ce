// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Command ocm is Open Cluster Management in one program, which is an eighth of
// the disk and build time of its own images: "ocm registration controller" is
// what the image registration runs as "/registration controller", and so on. It is
// a module of its own, as OCM needs older Kubernetes libraries than the project.
//
// Two commands are not OCM's: manifests prints what OCM's operators would apply
// to a cluster, and webhooks serves all of OCM's webhooks.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/logs"
	"open-cluster-management.io/api/feature"
	"open-cluster-management.io/ocm/pkg/cmd/hub"
	"open-cluster-management.io/ocm/pkg/cmd/spoke"
	"open-cluster-management.io/ocm/pkg/features"
)

// component is a command of OCM and the feature gates that its own main adds.
type component struct {
	command func() *cobra.Command
	gates   map[featuregate.Feature]featuregate.FeatureSpec
}

// components by the two words that call them.
var components = map[string]component{
	"registration controller":     {hub.NewRegistrationController, feature.DefaultHubRegistrationFeatureGates},
	"placement controller":        {hub.NewPlacementController, nil},
	"work manager":                {hub.NewWorkController, feature.DefaultHubWorkFeatureGates},
	"addon manager":               {hub.NewAddonManager, nil},
	"registration-operator agent": {spoke.NewKlusterletAgentCmd, nil},
}

func main() {
	logs.InitLogs()
	err := run(os.Args[1:])
	logs.FlushLogs()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	root := &cobra.Command{
		Use:          "ocm",
		Long:         "Components of Open Cluster Management: " + strings.Join(slices.Sorted(maps.Keys(components)), ", ") + ".",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(manifestsCommand(), webhooksCommand())
	if len(args) >= 2 {
		if c, ok := components[args[0]+" "+args[1]]; ok {
			group, err := c.group(args[0])
			if err != nil {
				return err
			}
			root.AddCommand(group)
		}
	}
	root.SetArgs(args)
	return root.Execute()
}

// group makes the command below its first word. Only the one that is asked for is
// made: all constructors write into the same feature gates, and a second one panics.
func (c component) group(name string) (*cobra.Command, error) {
	pflag.CommandLine.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	pflag.CommandLine.AddGoFlagSet(flag.CommandLine)
	logs.AddFlags(pflag.CommandLine)
	if c.gates != nil {
		if err := features.HubMutableFeatureGate.Add(c.gates); err != nil {
			return nil, err
		}
		features.HubMutableFeatureGate.AddFlag(pflag.CommandLine)
	}
	group := &cobra.Command{Use: name}
	group.AddCommand(c.command())
	return group, nil
}
