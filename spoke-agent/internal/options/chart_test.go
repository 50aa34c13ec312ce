// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

// TestChart: the flags that the chart gives are flags that there are.
func TestChart(t *testing.T) {
	expand := strings.NewReplacer("$(NODE_NAME)", "e1", "$(NODE_IP)", "192.0.2.1")
	for name, values := range map[string]map[string]any{
		"Defaults": {"clusterName": "east"},
		"More": {
			"clusterName": "east", "ovn": map[string]any{"northbound": "ssl:192.0.2.1:6641", "tls": map[string]any{"secretName": "ovn"}},
			"controller": map[string]any{"reservedCIDRs": []any{"10.96.0.0/12", "10.0.0.0/8"}}, "node": map[string]any{"endpointInterface": "eth1", "directPath": false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := charts.Render(charts.SpokeAgent, values)
			if err != nil {
				t.Fatal(err)
			}
			ran := ""
			command := options.Command(options.Runners{
				Controller: func(_ *cobra.Command, o options.Controller) error { ran += "controller "; return o.Validate() },
				Node:       func(_ *cobra.Command, o options.Node) error { ran += "node "; return o.Validate() },
			})
			for _, object := range objects {
				containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
				for _, container := range containers {
					args, _, err := unstructured.NestedStringSlice(container.(map[string]any), "args")
					if err != nil {
						t.Fatal(err)
					}
					for i := range args {
						args[i] = expand.Replace(args[i])
					}
					command.SetArgs(args)
					if err := command.ExecuteContext(t.Context()); err != nil {
						t.Errorf("%s: tombolo-agent %v: %v", object.GetName(), args, err)
					}
				}
			}
			if !strings.Contains(ran, "controller ") || !strings.Contains(ran, "node ") {
				t.Errorf("the chart runs %q: want controller and node", ran)
			}
		})
	}
}
