// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/apis/crds"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// CRDNames are the names of Tombolo's CRDs.
func CRDNames() []string {
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var names []string
	for _, file := range files {
		group, plural, _ := strings.Cut(strings.TrimSuffix(file, ".yaml"), "_")
		names = append(names, plural+"."+group)
	}
	slices.Sort(names)
	return names
}

// boundPods keeps the pods that ask for a Subnet or have one: the others are none of Tombolo's business, and may be many.
func (r *reading) boundPods(ctx context.Context) {
	bound := r.facts.boundNamespaces()
	err := pages(ctx, r.client, &corev1.PodList{}, func(page client.ObjectList) error {
		for _, pod := range page.(*corev1.PodList).Items {
			_, asks := pod.Annotations[networkv1alpha1.AnnotationSubnet]
			_, has := pod.Annotations[networkv1alpha1.AnnotationNetwork]
			if !pod.Spec.HostNetwork && (asks || has || bound[pod.Namespace]) {
				r.facts.BoundPods = append(r.facts.BoundPods, pod)
			}
		}
		return nil
	})
	if !meta.IsNoMatchError(err) {
		r.unread("pods", err)
	}
}

// boundNamespaces are those whose pods join a Subnet without asking. One of another tenant has to consent by its annotation.
func (f *Facts) boundNamespaces() map[string]bool {
	consent := map[string]string{}
	for _, namespace := range f.Namespaces {
		consent[namespace.Name] = namespace.Annotations[networkv1alpha1.AnnotationVpc]
	}
	bound := map[string]bool{}
	for i := range f.Routers {
		spec := &f.Routers[i].Spec
		if f.Routers[i].Namespace != Namespace {
			continue // the hub's, not a copy
		}
		names := slices.Clone(spec.Namespaces)
		for _, subnet := range spec.Subnets {
			names = append(names, subnet.Namespaces...)
		}
		for _, name := range names {
			if name == spec.Vpc.Namespace || consent[name] == spec.Vpc.Namespace+"/"+spec.Vpc.Name {
				bound[name] = true
			}
		}
	}
	return bound
}
