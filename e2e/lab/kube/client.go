// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// fieldOwner is the name under which the lab applies objects.
const fieldOwner = client.FieldOwner("tombolo-lab")

// REST configures clients of this program as the cluster's admin. They dial in
// the control plane's network namespace and need no forwarder.
func (c *ControlPlane) REST() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(c.Dir, "admin.kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	config.Dial = netns.DialContext(c.NetNS)
	config.QPS, config.Burst = 200, 400
	return config, nil
}

// Client gives a client without a cache for all of Kubernetes' own kinds and,
// as unstructured objects, for every other.
func (c *ControlPlane) Client() (client.Client, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	cl, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	return cl, nil
}

// Apply applies objects server-side, in the order given.
func (c *ControlPlane) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := cl.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), fieldOwner, client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s/%s on %s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), c.Name, err)
		}
	}
	return nil
}

// ApplyCRDs applies CustomResourceDefinitions and waits until all are served.
func (c *ControlPlane) ApplyCRDs(ctx context.Context, crds ...*unstructured.Unstructured) error {
	if err := c.Apply(ctx, crds...); err != nil {
		return err
	}
	cl, err := c.Client()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, crd := range crds {
		g.Go(func() error { return c.established(ctx, cl, crd.GetName()) })
	}
	return g.Wait()
}

func (c *ControlPlane) established(ctx context.Context, cl client.Client, name string) error {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	for {
		if err := cl.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
			return fmt.Errorf("get CRD %s on %s: %w", name, c.Name, err)
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for CRD %s on %s: %w; conditions %v", name, c.Name, ctx.Err(), crd.Status.Conditions)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Patient calls do again while the apiserver does not know a kind yet: its
// discovery lags behind an established CRD for a moment.
func Patient(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if !meta.IsNoMatchError(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Objects reads all documents of the YAML files in fsys that match pattern.
func Objects(fsys fs.FS, pattern string) ([]*unstructured.Unstructured, error) {
	paths, err := fs.Glob(fsys, pattern)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", pattern, err)
	}
	var objects []*unstructured.Unstructured
	for _, path := range paths {
		b, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(b), 4096)
		for {
			o := &unstructured.Unstructured{}
			err := decoder.Decode(o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read manifest %s: %w", path, err)
			}
			if len(o.Object) > 0 {
				objects = append(objects, o)
			}
		}
	}
	return objects, nil
}

// ObjectsIn is Objects for a directory of the machine; finding none is an error.
func ObjectsIn(dir, pattern string) ([]*unstructured.Unstructured, error) {
	objects, err := Objects(os.DirFS(dir), pattern)
	if err == nil && len(objects) == 0 {
		err = fmt.Errorf("find manifests: no object in %s", strings.TrimSuffix(dir, "/")+"/"+pattern)
	}
	return objects, err
}
