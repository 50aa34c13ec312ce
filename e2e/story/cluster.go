// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Cluster is a cluster of the lab as a person with its kubeconfig sees it.
type Cluster struct {
	// Name of the cluster.
	Name string
	// Kubeconfig is the path of its admin's file.
	Kubeconfig string
	// Client reads and writes without a cache.
	client.Client

	config    *rest.Config
	clientset *kubernetes.Clientset
}

func init() {
	// What a story has to say it says itself.
	log.SetLogger(logr.Discard())
}

// Connect makes a Cluster from a kubeconfig file.
func Connect(name, kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of %s: %w", name, err)
	}
	config.QPS, config.Burst = 200, 400
	s, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: s})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name, err)
	}
	return &Cluster{Name: name, Kubeconfig: kubeconfig, Client: c, config: config, clientset: clientset}, nil
}

// Apply applies every document of the YAML, like kubectl apply --server-side.
func (c *Cluster) Apply(ctx context.Context, manifest []byte) error {
	return eachDocument(manifest, func(o *unstructured.Unstructured) error {
		err := c.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("story"), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s/%s on %s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), c.Name, err)
		}
		return nil
	})
}

// DeleteAll deletes every document of the YAML and waits until each is gone.
func (c *Cluster) DeleteAll(ctx context.Context, manifest []byte) error {
	var objects []*unstructured.Unstructured
	err := eachDocument(manifest, func(o *unstructured.Unstructured) error {
		objects = append(objects, o)
		if err := c.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s %s/%s on %s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), c.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.Gone(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// Gone waits until an object is no longer there.
func (c *Cluster) Gone(ctx context.Context, o client.Object) error {
	what := fmt.Sprintf("%T %s/%s gone from %s", o, o.GetNamespace(), o.GetName(), c.Name)
	return Eventually(ctx, what, func(ctx context.Context) error {
		err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, fmt.Errorf("still there with finalizers %v", o.GetFinalizers()))
	})
}

// Namespace makes sure that a namespace is there.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return client.IgnoreAlreadyExists(err)
}

// Exec runs a command in a pod through the apiserver and the kubelet, like kubectl exec.
func (c *Cluster) Exec(ctx context.Context, namespace, pod string, command ...string) (string, error) {
	request := c.clientset.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(c.config, "GET", request.URL().String())
	if err != nil {
		return "", fmt.Errorf("exec in %s/%s: %w", namespace, pod, err)
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return stdout.String(), fmt.Errorf("%s in pod %s/%s of %s: %w: %s", strings.Join(command, " "), namespace, pod, c.Name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Eventually calls check every 20 ms until it returns nil; the error names what was waited for and what stood against it.
func Eventually(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last: %w", what, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}

func eachDocument(manifest []byte, do func(*unstructured.Unstructured) error) error {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(o)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read YAML: %w", err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if err := do(o); err != nil {
			return err
		}
	}
}

// Empty deletes every object of a list's kind in a namespace and waits until they are gone.
func (c *Cluster) Empty(ctx context.Context, namespace string, list client.ObjectList) error {
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("list %T of %s on %s: %w", list, namespace, c.Name, err)
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := c.Delete(ctx, item.(client.Object)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete from %s: %w", c.Name, err)
		}
	}
	for _, item := range items {
		if err := c.Gone(ctx, item.(client.Object)); err != nil {
			return err
		}
	}
	return nil
}

// DeletePods deletes every pod of a namespace and waits until they are gone.
func (c *Cluster) DeletePods(ctx context.Context, namespace string) error {
	return c.Empty(ctx, namespace, &corev1.PodList{})
}
