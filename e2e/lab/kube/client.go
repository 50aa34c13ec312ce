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
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// fieldManager is the name under which the lab applies objects.
const fieldManager = "tombolo-lab"

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

// Apply applies objects server-side, in the order given. A kind whose CRD was
// only just established is waited for.
func (c *ControlPlane) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	a, err := c.applier()
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	for _, o := range objects {
		if err := a.apply(ctx, o); err != nil {
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
	a, err := c.applier()
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	for _, crd := range crds {
		p, ok := c.Process(APIServer)
		if !ok {
			return fmt.Errorf("wait for CRD %s on %s: the apiserver does not run", crd.GetName(), c.Name)
		}
		err := proc.Wait(ctx, "CRD "+crd.GetName()+" on "+c.Name, p, func(ctx context.Context) error {
			return a.established(ctx, crd.GetName())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// applier writes objects of any kind.
type applier struct {
	dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func (c *ControlPlane) applier() (*applier, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	clientset, err := c.clientset()
	if err != nil {
		return nil, err
	}
	kinds := memory.NewMemCacheClient(clientset.Discovery())
	return &applier{client, restmapper.NewDeferredDiscoveryRESTMapper(kinds)}, nil
}

func (a *applier) apply(ctx context.Context, o *unstructured.Unstructured) error {
	kind := o.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	for meta.IsNoMatchError(err) {
		// Discovery lags behind an established CRD for a moment.
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
		a.mapper.Reset()
		mapping, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = a.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = a.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	_, err = resource.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	return err
}

var crdResource = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")

func (a *applier) established(ctx context.Context, name string) error {
	o, err := a.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, crd); err != nil {
		return err
	}
	for _, condition := range crd.Status.Conditions {
		if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions %v", crd.Status.Conditions)
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
		err = fmt.Errorf("find manifests: no object in %s", filepath.Join(dir, pattern))
	}
	return objects, err
}
