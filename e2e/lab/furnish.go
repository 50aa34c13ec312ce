// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/apis/crds"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

// furnish gives a cluster without Tombolo its CRDs and its namespace, for those who run parts of it by themselves. Where
// Tombolo is installed its chart brings all of that.
func (l *Lab) furnish(ctx context.Context, p place, control *kube.ControlPlane) error {
	if l.options.Tombolo && p.nodes > 0 {
		return nil
	}
	definitions, err := kube.Objects(crds.Files, "spoke.*.yaml")
	if err != nil {
		return err
	}
	if p.index == 1 {
		more, err := kube.Objects(crds.Files, "network.*.yaml")
		if err != nil {
			return err
		}
		definitions = append(definitions, more...)
	}
	if err := control.ApplyCRDs(ctx, definitions...); err != nil {
		return err
	}
	if err := control.Apply(ctx, namespace(charts.Namespace)); err != nil {
		return err
	}
	l.logf("%s: CRDs and namespace are in", p.name)
	return nil
}

func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"name": name},
	}}
}
