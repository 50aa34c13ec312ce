// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
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
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// addonCluster has no nodes: what the add-on brings there can't run, so this test runs the agent, and is the kubelet of its Jobs.
const addonCluster = "leaf"

// addonLabel is what the Placement of the add-on asks clusters for.
const addonLabel = "tombolo"

const addonPlacement = `
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: default, namespace: tombolo-system}
spec: {clusterSet: default}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: addon, namespace: tombolo-system}
spec:
  clusterSets: [default]
  predicates:
    - requiredClusterSelector: {labelSelector: {matchLabels: {tombolo: "yes"}}}
`

// addonStory is the add-on in one cluster.
type addonStory struct {
	*tenant
	lab  *lab.Cluster
	leaf *story.Cluster
}

// TestAddOn enables the add-on by a Placement and takes it away again. OCM installs the agent, gives it its identity and tells its health.
func TestAddOn(t *testing.T) {
	begin := time.Now()
	a := &addonStory{tenant: newTenant(t, "addon"), leaf: fleet.Spokes[addonCluster]}
	var err error
	a.lab, err = fleet.Lab.Cluster(addonCluster)
	a.must(err)
	a.enable()
	a.installed()
	first := a.identity()
	t.Logf("installed, with its identity, after %s", time.Since(begin).Round(100*time.Millisecond))
	a.mayReadItsOwnOnly(first.dir)
	a.runAgent(first.dir)
	a.available()
	t.Logf("available after %s", time.Since(begin).Round(100*time.Millisecond))
	a.renewed(first)
	a.disabled()
	t.Logf("gone after %s", time.Since(begin).Round(100*time.Millisecond))
}

// enable does what the admin of a hub does: values of the chart, and a label.
func (a *addonStory) enable() {
	a.Helper()
	a.apply(addonPlacement)
	objects, err := charts.Render(charts.Hub, map[string]any{
		"addOn": map[string]any{"placements": []any{map[string]any{"namespace": "tombolo-system", "name": "addon"}}},
	}, "addon.open-cluster-management.io/v1beta1/ClusterManagementAddOn")
	a.must(err)
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GroupVersionKind().Group != "addon.open-cluster-management.io"
	})
	if len(objects) != 2 {
		a.Fatalf("the hub's chart has %d objects of the add-on, want the ClusterManagementAddOn and its AddOnDeploymentConfig", len(objects))
	}
	a.must(fleet.Lab.Hub.Apply(a.ctx, objects...))
	a.labelCluster(addonCluster, addonLabel, `"yes"`)
	a.Cleanup(func() { a.labelCluster(addonCluster, addonLabel, "null") })
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
		"another's LocalRouters":  {list: &spokev1alpha1.LocalRouterList{}, namespace: "east", forbidden: true},
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

// runAgent runs the agent as the add-on's Deployment would, without OVN.
func (a *addonStory) runAgent(dir string) {
	a.Helper()
	kubeconfig, err := a.lab.TokenConfig(a.ctx, "tombolo-system", "tombolo-agent-controller")
	a.must(err)
	path, err := a.lab.WriteConfig("addon-agent", kubeconfig)
	a.must(err)
	p, err := fleet.Lab.Procs.Start(a.ctx, proc.Spec{
		Name: addonCluster + "-addon-agent", Path: fleet.Lab.Binaries.Path("tombolo-agent"), NetNS: a.lab.NetNS, Capabilities: []string{},
		Args: []string{
			"controller", "--cluster-name=" + addonCluster, "--kubeconfig=" + path, "--hub-kubeconfig=" + filepath.Join(dir, "kubeconfig"),
			"--nb=unix:" + filepath.Join(dir, "none.sock"), "--metrics-bind-address=0", "--health-probe-bind-address=0",
		},
	})
	a.must(err)
	a.Cleanup(func() { a.check(p.Kill()) })
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

// disabled: the cluster is no longer among the Placement's. Before OCM takes the agent away, what the chart wants to do first is done.
func (a *addonStory) disabled() {
	a.Helper()
	a.labelCluster(addonCluster, addonLabel, "null")
	a.must(story.Eventually(a.ctx, "the add-on to go", func(ctx context.Context) error {
		if _, err := a.managed(ctx); err == nil {
			return errors.Join(errors.New("ManagedClusterAddOn is there"), a.finishJobs(ctx))
		} else if !apierrors.IsNotFound(err) {
			return err
		}
		_, err := a.object(ctx, "work.open-cluster-management.io/v1", "ManifestWork", "addon-tombolo-deploy-0")
		return gone(err)
	}))
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-system", Name: "tombolo-hub-kubeconfig"}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-system", Name: "tombolo-agent-controller"}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "tombolo-agent-controller"}},
	} {
		a.must(a.leaf.Gone(a.ctx, o))
	}
	if err := a.leaf.List(a.ctx, &spokev1alpha1.InterconnectGatewayList{}, client.InNamespace("tombolo-system")); err != nil {
		a.Errorf("the CRDs went with the add-on, and all objects with them: %v", err)
	}
	namespace := &corev1.Namespace{}
	if err := a.leaf.Get(a.ctx, client.ObjectKey{Name: "tombolo-system"}, namespace); err != nil || namespace.DeletionTimestamp != nil {
		a.Errorf("the namespace went with the add-on, and what an admin had put there: %v", err)
	}
}

func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return errors.Join(errors.New("it is there"), err)
}

// finishJobs ends the pods of Jobs well, as a kubelet does: the cluster has none.
func (a *addonStory) finishJobs(ctx context.Context) error {
	var pods corev1.PodList
	if err := a.leaf.List(ctx, &pods, client.InNamespace("tombolo-system"), client.HasLabels{batchv1.JobNameLabel}); err != nil {
		return err
	}
	for i := range pods.Items {
		if pods.Items[i].Status.Phase != corev1.PodPending {
			continue
		}
		pods.Items[i].Status.Phase = corev1.PodSucceeded
		if err := a.leaf.Status().Update(ctx, &pods.Items[i]); err != nil {
			return err
		}
	}
	return nil
}
