// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/apis/crds"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

// systemNamespace is Tombolo's own in every cluster.
const systemNamespace = "tombolo-system"

// furnish gives a new cluster what an administrator would before using Tombolo:
// CRDs, namespaces, permissions and, on the hub, OCM's view of the fleet.
func (l *Lab) furnish(ctx context.Context, p place, control *kube.ControlPlane) error {
	definitions, err := kube.Objects(crds.Files, "spoke.*.yaml")
	if err != nil {
		return err
	}
	objects := []*unstructured.Unstructured{namespace(systemNamespace)}
	chart := "tombolo-spoke-agent"
	if p.index == 1 {
		chart = "tombolo-hub"
		more, err := hubCRDs(ctx)
		if err != nil {
			return err
		}
		definitions = append(definitions, more...)
		for _, spoke := range l.options.spokes() {
			objects = append(objects, namespace(spoke.name), managedCluster(spoke.name))
		}
	}
	if l.options.Tombolo {
		more, err := permissions(ctx, chart)
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

// hubCRDs are the kinds that people write, and those of OCM that tell the fleet.
func hubCRDs(ctx context.Context) ([]*unstructured.Unstructured, error) {
	all, err := kube.Objects(crds.Files, "network.*.yaml")
	if err != nil {
		return nil, err
	}
	ocm, err := binaries.ModuleDir(ctx, "open-cluster-management.io/api")
	if err != nil {
		return nil, err
	}
	for _, pattern := range []string{
		"cluster/v1/*managedclusters.crd.yaml",
		"cluster/v1beta1/*placements.crd.yaml",
		"cluster/v1beta1/*placementdecisions.crd.yaml",
	} {
		objects, err := kube.ObjectsIn(ocm, pattern)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// permissionKinds are what the lab takes of the charts: it runs Tombolo as
// processes and not from the charts' Deployments.
var permissionKinds = []string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

func permissions(ctx context.Context, chart string) ([]*unstructured.Unstructured, error) {
	root, err := binaries.Root(ctx)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "charts", chart, "templates")
	objects, err := kube.ObjectsIn(dir, "*.yaml")
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

// managedCluster is what OCM's registration leaves of a cluster that has joined.
func managedCluster(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cluster.open-cluster-management.io/v1",
		"kind":       "ManagedCluster",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{"name": name}},
		"spec":       map[string]any{"hubAcceptsClient": true},
	}}
}
