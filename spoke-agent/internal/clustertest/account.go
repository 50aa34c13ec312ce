// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package clustertest

import (
	"net/http"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
)

// Install makes what the agent's chart does or, of it, objects of these kinds only.
func (c *Cluster) Install(tb testing.TB, kinds ...string) {
	tb.Helper()
	objects, err := charts.Render(charts.SpokeAgent, map[string]any{"clusterName": "east", "crds": map[string]any{"install": false}})
	if err != nil {
		tb.Fatal(err)
	}
	for _, object := range objects {
		if len(kinds) > 0 && !slices.Contains(kinds, object.GetKind()) {
			continue
		}
		if err := c.Client.Create(tb.Context(), object); err != nil {
			tb.Fatalf("create %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// Permissions makes the chart's accounts with their roles, and none of its policies: the test itself may do everything.
func (c *Cluster) Permissions(tb testing.TB) {
	tb.Helper()
	c.Install(tb, "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
}

// Account is how the chart's service account of a role talks to the cluster.
func (c *Cluster) Account(role string) *rest.Config {
	config := rest.CopyConfig(c.Config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + charts.Namespace + ":tombolo-agent-" + role,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + charts.Namespace, "system:authenticated"},
	}
	return config
}

// Agent is Account for the code of a role: what the chart does not let it do fails the test.
func (c *Cluster) Agent(tb testing.TB, role string) *rest.Config {
	config := c.Account(role)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return complaining{tb, next} })
	return config
}

// AgentCache is what an agent keeps in memory: no more than it may list.
func AgentCache() cache.Options {
	mine := cache.ByObject{Namespaces: map[string]cache.Config{charts.Namespace: {}}}
	leaving := cache.ByObject{Namespaces: map[string]cache.Config{charts.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", leave.ConfigMapName)}}}
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&spokev1alpha1.LocalRouter{}: mine, &spokev1alpha1.InterconnectGateway{}: mine, &corev1.ConfigMap{}: leaving,
	}}
}

type complaining struct {
	tb   testing.TB
	next http.RoundTripper
}

func (c complaining) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err == nil && response.StatusCode == http.StatusForbidden {
		c.tb.Errorf("the chart does not let the agent %s %s", request.Method, request.URL.Path)
	}
	return response, err
}
