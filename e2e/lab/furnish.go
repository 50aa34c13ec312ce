// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/apis/crds"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

// systemNamespace is Tombolo's own in every cluster.
const systemNamespace = "tombolo-system"

// furnish gives a new cluster what an administrator would before using Tombolo:
// CRDs, its namespace and permissions.
func (l *Lab) furnish(ctx context.Context, p place, control *kube.ControlPlane) error {
	definitions, err := kube.Objects(crds.Files, "spoke.*.yaml")
	if err != nil {
		return err
	}
	objects := []*unstructured.Unstructured{namespace(systemNamespace)}
	chart := charts.SpokeAgent
	if p.index == 1 {
		chart = charts.Hub
		more, err := kube.Objects(crds.Files, "network.*.yaml")
		if err != nil {
			return err
		}
		definitions = append(definitions, more...)
	}
	if l.options.Tombolo {
		more, err := permissions(chart, p.name)
		if err != nil {
			return err
		}
		objects = append(objects, more...)
	}
	if err := control.ApplyCRDs(ctx, definitions...); err != nil {
		return err
	}
	if err := control.Apply(ctx, objects...); err != nil {
		return err
	}
	l.logf("%s: CRDs, namespaces and permissions are in", p.name)
	return nil
}

// permissionKinds are what the lab takes of the charts: it runs Tombolo as
// processes and not from the charts' Deployments.
var permissionKinds = []string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

func permissions(chart, cluster string) ([]*unstructured.Unstructured, error) {
	values := map[string]any{"crds": map[string]any{"install": false}}
	if chart == charts.SpokeAgent {
		values["clusterName"] = cluster
	}
	objects, err := charts.Render(chart, values)
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return !slices.Contains(permissionKinds, o.GetKind())
	}), err
}

func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"name": name},
	}}
}
