// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// addonCluster is the one that docs/install.md brings in by the add-on.
const addonCluster = "east"

// addonStory is the add-on in one cluster.
type addonStory struct {
	*tenant
	lab  *lab.Cluster
	leaf *story.Cluster
}

// TestAddOn looks at what docs/install.md made of the cluster by the add-on: OCM has installed the agent, gives it its identity, and
// tells its health.
func TestAddOn(t *testing.T) {
	a := &addonStory{tenant: newTenant(t, "addon"), leaf: fleet.Spokes[addonCluster]}
	var err error
	a.lab, err = fleet.Lab.Cluster(addonCluster)
	a.must(err)
	a.installed()
	first := a.identity()
	a.mayReadItsOwnOnly(first.dir)
	a.available()
	a.renewed(first)
	a.available()
}

// object reads one of OCM's on the hub.
func (a *addonStory) object(ctx context.Context, apiVersion, kind, name string) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	return o, fleet.Hub.Get(ctx, client.ObjectKey{Namespace: addonCluster, Name: name}, o)
}

func (a *addonStory) managed(ctx context.Context) (*unstructured.Unstructured, error) {
	return a.object(ctx, "addon.open-cluster-management.io/v1beta1", "ManagedClusterAddOn", "tombolo")
}

// condition waits until the ManagedClusterAddOn says so.
func (a *addonStory) condition(typ string) {
	a.Helper()
	a.must(story.Eventually(a.ctx, "ManagedClusterAddOn to be "+typ, func(ctx context.Context) error {
		addon, err := a.managed(ctx)
		if err != nil {
			return err
		}
		var status struct {
			Status struct {
				Conditions []metav1.Condition `json:"conditions"`
			} `json:"status"`
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(addon.Object, &status); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(status.Status.Conditions, typ) {
			return fmt.Errorf("conditions are %+v", status.Status.Conditions)
		}
		return nil
	}))
}

// installed waits until OCM's work agent has applied all that the agent's chart has.
func (a *addonStory) installed() {
	a.Helper()
	a.condition("ManifestApplied")
	objects, err := charts.Render(charts.SpokeAgent, map[string]any{"clusterName": addonCluster})
	a.must(err)
	for _, want := range objects {
		have := want.DeepCopy()
		if err := a.leaf.Get(a.ctx, client.ObjectKeyFromObject(want), have); err != nil {
			a.Errorf("what helm would install is not there: %s %s: %v", want.GetKind(), want.GetName(), err)
		}
	}
}

// secret is the agent's identity on the hub, in a directory as the agent takes it.
type secret struct {
	dir         string
	certificate *x509.Certificate
}

func (a *addonStory) identity() secret {
	a.Helper()
	s := &corev1.Secret{}
	a.must(story.Eventually(a.ctx, "Secret tombolo-hub-kubeconfig", func(ctx context.Context) error {
		err := a.leaf.Get(ctx, client.ObjectKey{Namespace: "tombolo-system", Name: "tombolo-hub-kubeconfig"}, s)
		if err == nil && (len(s.Data["tls.crt"]) == 0 || len(s.Data["kubeconfig"]) == 0) {
			err = fmt.Errorf("it has %d keys", len(s.Data))
		}
		return err
	}))
	dir := a.TempDir()
	for key, value := range s.Data {
		a.must(os.WriteFile(filepath.Join(dir, key), value, 0o600))
	}
	block, _ := pem.Decode(s.Data["tls.crt"])
	certificate, err := x509.ParseCertificate(block.Bytes)
	a.must(err)
	group := "system:open-cluster-management:cluster:" + addonCluster + ":addon:tombolo"
	if got := certificate.Subject.CommonName; got != group+":agent:tombolo-agent" {
		a.Errorf("the agent is %q on the hub", got)
	}
	if got := slices.Sorted(slices.Values(certificate.Subject.Organization)); !slices.Equal(got, []string{"system:open-cluster-management:addon:tombolo", group}) {
		a.Errorf("the agent is in groups %q on the hub", got)
	}
	return secret{dir, certificate}
}

// mayReadItsOwnOnly asks the hub as the agent.
func (a *addonStory) mayReadItsOwnOnly(dir string) {
	a.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	a.must(err)
	hub, err := fleet.Lab.Hub.REST()
	a.must(err)
	config.Dial = hub.Dial // the hub's address is one of the lab
	c, err := client.New(config, client.Options{Scheme: fleet.Hub.Scheme()})
	a.must(err)
	for what, list := range map[string]struct {
		list      client.ObjectList
		namespace string
		forbidden bool
	}{
		"its own LocalRouters":    {list: &spokev1alpha1.LocalRouterList{}, namespace: addonCluster},
		"the directory":           {list: &spokev1alpha1.InterconnectGatewayList{}},
		"another's LocalRouters":  {list: &spokev1alpha1.LocalRouterList{}, namespace: "west", forbidden: true},
		"Secrets of its own":      {list: &corev1.SecretList{}, namespace: addonCluster, forbidden: true},
		"roles in its namespace":  {list: &rbacv1.RoleList{}, namespace: addonCluster, forbidden: true},
		"namespaces":              {list: &corev1.NamespaceList{}, forbidden: true},
		"its own, in all of them": {list: &spokev1alpha1.LocalRouterList{}, forbidden: true},
	} {
		if err := c.List(a.ctx, list.list, client.InNamespace(list.namespace)); apierrors.IsForbidden(err) != list.forbidden || !list.forbidden && err != nil {
			a.Errorf("reading %s as the agent: %v", what, err)
		}
	}
}

// available: the agent works, says so to the hub itself, and OCM says so, too.
func (a *addonStory) available() {
	a.Helper()
	a.must(story.Eventually(a.ctx, "the agent to answer the hub", func(ctx context.Context) error {
		gateway := &spokev1alpha1.InterconnectGateway{}
		if err := fleet.Hub.Get(ctx, client.ObjectKey{Namespace: addonCluster, Name: addonCluster}, gateway); err != nil {
			return err
		}
		if gateway.Status.ObservedGeneration != gateway.Generation {
			return fmt.Errorf("status is %+v", gateway.Status)
		}
		return nil
	}))
	a.condition("Available")
}

// renewed: OCM's agent asks for a new certificate when the old one is of no use any more, here as it is gone.
func (a *addonStory) renewed(first secret) {
	a.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-system", Name: "tombolo-hub-kubeconfig"}}
	a.must(a.leaf.Delete(a.ctx, s))
	if second := a.identity(); second.certificate.SerialNumber.Cmp(first.certificate.SerialNumber) == 0 {
		a.Error("a certificate that was deleted came back, want another one")
	}
}
