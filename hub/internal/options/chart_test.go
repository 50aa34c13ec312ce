// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package options_test

import (
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/options"
)

// TestChart: the flags that the chart gives are flags that there are.
func TestChart(t *testing.T) {
	objects, err := charts.Render(charts.Hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	for _, object := range objects {
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		for _, container := range containers {
			args, _, err := unstructured.NestedStringSlice(container.(map[string]any), "args")
			if err != nil {
				t.Fatal(err)
			}
			command := options.Command(func(*cobra.Command, options.Options) error { ran = true; return nil })
			command.SetArgs(args)
			if err := command.ExecuteContext(t.Context()); err != nil {
				t.Errorf("%s: tombolo-hub %v: %v", object.GetName(), args, err)
			}
		}
	}
	if !ran {
		t.Error("the chart runs no hub")
	}
}
