// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package ocm runs real Open Cluster Management on the lab's clusters: a hub with
// its registration, placement, work and addon controllers and its webhooks, and an
// agent in each managed cluster that joins by a certificate signing request. All
// are processes of the machine with the service accounts and roles of OCM's own
// manifests; only the pods around them are missing.
package ocm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"github.com/go-logr/logr/funcr"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Namespaces that OCM's operators use by default.
const (
	hubNamespace       = "open-cluster-management-hub"
	bootstrapNamespace = "open-cluster-management"
	agentNamespace     = "open-cluster-management-agent"
	addonNamespace     = "open-cluster-management-agent-addon"
)

// startTimeout bounds the start of one part on a busy machine, joinTimeout each
// step of a cluster that joins.
const (
	startTimeout = time.Minute
	joinTimeout  = 2 * time.Minute
)

// stopGrace is enough for any part to end in order.
const stopGrace = 5 * time.Second

// program is what binaries.OCM builds.
const program = "ocm"

// Logf takes a line of progress.
type Logf func(format string, args ...any)

// manifests are OCM's own for one cluster, in the parts in which they are applied.
type manifests struct {
	crds     []*unstructured.Unstructured
	objects  []*unstructured.Unstructured
	webhooks []*unstructured.Unstructured
}

// objectKinds are what processes need of OCM's manifests. Deployments, Services and
// their like are for pods.
var objectKinds = []string{"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}

// render asks the program for the manifests of a hub or an agent.
func render(ctx context.Context, c *kube.ControlPlane, args ...string) (*manifests, error) {
	cmd := exec.CommandContext(ctx, c.Binaries.Path(program), append([]string{"manifests"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("render manifests: %w: %s", err, stderr.String())
	}
	m := &manifests{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(o)
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return nil, fmt.Errorf("render manifests: %w", err)
		}
		m.add(o)
	}
}

func (m *manifests) add(o *unstructured.Unstructured) {
	switch kind := o.GetKind(); {
	case kind == "CustomResourceDefinition":
		m.crds = append(m.crds, o)
	case kind == "ValidatingWebhookConfiguration" || kind == "MutatingWebhookConfiguration":
		m.webhooks = append(m.webhooks, o)
	case slices.Contains(objectKinds, kind):
		m.objects = append(m.objects, o)
	}
}

// apply makes the CRDs, and then the namespaces before what is in them.
func (m *manifests) apply(ctx context.Context, c *kube.ControlPlane, more ...*unstructured.Unstructured) error {
	if err := c.ApplyCRDs(ctx, m.crds...); err != nil {
		return err
	}
	objects := slices.Concat(more, m.objects)
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		return rank(a) - rank(b)
	})
	return c.Apply(ctx, objects...)
}

func rank(o *unstructured.Unstructured) int {
	if o.GetKind() == "Namespace" {
		return 0
	}
	return 1
}

func namespace(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"name": name},
	}}
}

// connect gives the cluster's admin's client, for kinds of Kubernetes and OCM. What
// it has to say, such as an apiserver's warnings, goes to logf.
func connect(c *kube.ControlPlane, logf Logf) (client.Client, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, certificatesv1.AddToScheme, clusterv1.Install, clusterv1beta1.Install, clusterv1beta2.Install,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	log := funcr.New(func(_, text string) { logf("%s: %s", c.Name, text) }, funcr.Options{})
	all, err := client.New(config, client.Options{Scheme: s, Log: log})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	return all, nil
}

// wait is proc.Wait that says every 10 s what it still waits for.
func wait(ctx context.Context, logf Logf, what string, p *proc.Process, ready func(context.Context) error) error {
	begin := time.Now()
	said := begin
	return proc.Wait(ctx, what, p, func(ctx context.Context) error {
		err := ready(ctx)
		if err != nil && time.Since(said) > 10*time.Second {
			logf("waiting for %s … %s: %v", what, time.Since(begin).Round(time.Second), err)
			said = time.Now()
		}
		return err
	})
}
