// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// scheme knows every kind of hub and spokes.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	err := errors.Join(clientgoscheme.AddToScheme(s), clusterv1.Install(s), clusterv1beta1.Install(s), apiextensionsv1.AddToScheme(s),
		networkv1alpha1.AddToScheme(s), spokev1alpha1.AddToScheme(s))
	if err != nil {
		panic(err) // two kinds of one name, which only the source can have
	}
	return s
})

// Definitions are the project's CRDs.
func Definitions() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		raw, err := crds.Files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		definition := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(raw, definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all = append(all, definition)
	}
	return all, nil
}

// furnish installs CRDs and what the chart says about permissions and policies.
func (s *Server) furnish(ctx context.Context, chart string, values map[string]any) error {
	definitions, err := Definitions()
	if err != nil {
		return err
	}
	options := envtest.CRDInstallOptions{CRDs: definitions, Scheme: scheme(), ErrorIfPathMissing: true}
	if chart == charts.Hub {
		module, err := binaries.ModuleDir(ctx, "open-cluster-management.io/api")
		if err != nil {
			return err
		}
		options.Paths = []string{filepath.Join(module, "cluster", "v1"), filepath.Join(module, "cluster", "v1beta1")}
	}
	if _, err := envtest.InstallCRDs(s.Config, options); err != nil {
		return fmt.Errorf("install CRDs in %s: %w", s.Name, err)
	}
	if err := s.Namespace(ctx, charts.Namespace); err != nil {
		return err
	}
	values["crds"] = map[string]any{"install": false}
	objects, err := charts.Render(chart, values)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if group := object.GroupVersionKind().Group; group == "apps" || group == "batch" {
			continue // nobody runs pods here
		}
		if err := s.Admin.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// Namespace makes a namespace if it is not there.
func (s *Server) Namespace(ctx context.Context, name string) error {
	err := s.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}
