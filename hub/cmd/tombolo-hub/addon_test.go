// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tombolo-io/tombolo/charts"
)

// TestAddOnComesLater starts the hub before Open Cluster Management's add-ons are there. It needs neither a restart nor
// more than the chart's permissions to install an agent, and to give it its identity and nobody else's.
func TestAddOnComesLater(t *testing.T) {
	newFleet(t, "east", "east-1")
	h := startHub(t)
	ocm := installOCM(t)
	enableAddOn(t, ocm, "east")
	t.Cleanup(h.kill) // before OCM goes

	eventually(t, "the agent's identity and place are announced to OCM's agent of the cluster", func() error {
		var addon addonv1beta1.ManagedClusterAddOn
		if err := ocm.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "tombolo"}, &addon); err != nil {
			return err
		}
		if len(addon.Status.Registrations) != 1 || addon.Status.Namespace != "tombolo-system" || addon.Status.HealthCheck.Mode != addonv1beta1.HealthCheckModeLease {
			return fmt.Errorf("status is %+v", addon.Status)
		}
		subject := addon.Status.Registrations[0].KubeClient.Subject
		if subject.User != addonUser("east") || !slices.Equal(subject.Groups, addonGroups("east")) {
			return fmt.Errorf("subject is %+v", subject)
		}
		return nil
	})
	eventually(t, "the agent's chart is in a ManifestWork", func() error {
		var work workv1.ManifestWork
		if err := ocm.Get(t.Context(), client.ObjectKey{Namespace: "east", Name: "addon-tombolo-deploy-0"}, &work); err != nil {
			return err
		}
		for _, manifest := range work.Spec.Workload.Manifests {
			var object unstructured.Unstructured
			if err := object.UnmarshalJSON(manifest.Raw); err != nil {
				return err
			}
			if object.GetKind() == "DaemonSet" {
				return nil
			}
		}
		return fmt.Errorf("none of %d objects is the DaemonSet", len(work.Spec.Workload.Manifests))
	})

	twin := request(t, "east-1", "east") // they are taken one by one, in their order
	own := request(t, "east", "east")
	eventually(t, "the request of the cluster's own OCM agent is approved", func() error { return approved(t, own) })
	if err := approved(t, twin); err == nil {
		t.Error("the OCM agent of east-1 got the identity of east")
	}
}

func addonUser(cluster string) string {
	return "system:open-cluster-management:cluster:" + cluster + ":addon:tombolo:agent:tombolo-agent"
}

func addonGroups(cluster string) []string {
	return []string{"system:open-cluster-management:cluster:" + cluster + ":addon:tombolo", "system:open-cluster-management:addon:tombolo"}
}

// installOCM makes what a hub of OCM serves for add-ons, and takes it away with the test.
func installOCM(t *testing.T) client.Client {
	t.Helper()
	definitions := ocmCRDs(t)
	installCRDs(t, definitions)
	t.Cleanup(func() {
		for _, d := range definitions.CRDs {
			opened(t, d)
		}
		if err := envtest.UninstallCRDs(apiServer.Config, definitions); err != nil {
			t.Errorf("remove OCM's CRDs: %v", err)
		}
		for _, d := range definitions.CRDs {
			noCRD(t, d.Name)
		}
	})
	scheme := runtime.NewScheme()
	if err := errors.Join(addonv1beta1.Install(scheme), workv1.Install(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(apiServer.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ocmCRDs are OCM's of v1beta1 alone: no webhook converts here.
func ocmCRDs(t *testing.T) envtest.CRDInstallOptions {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/api").Output()
	if err != nil {
		t.Fatalf("find module of the OCM API: %v", err)
	}
	root := strings.TrimSpace(string(dir))
	options := envtest.CRDInstallOptions{Paths: []string{filepath.Join(root, "addon", "v1beta1"), filepath.Join(root, "work", "v1")}, ErrorIfPathMissing: true, MaxTime: time.Minute}
	if err := envtest.ReadCRDFiles(&options); err != nil {
		t.Fatal(err)
	}
	options.Paths = nil
	for _, d := range options.CRDs {
		d.Spec.Versions = slices.DeleteFunc(d.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Name == "v1alpha1" })
		d.Spec.Versions[0].Storage = true
	}
	return options
}

// enableAddOn does what an admin does by the chart, and what OCM's add-on manager makes of it.
func enableAddOn(t *testing.T, ocm client.Client, cluster string) {
	t.Helper()
	objects, err := charts.Render(charts.Hub, nil, "addon.open-cluster-management.io/v1beta1/ClusterManagementAddOn")
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GroupVersionKind().Group == addonv1beta1.GroupName {
			create(t, object)
		}
	}
	var management addonv1beta1.ClusterManagementAddOn
	if err := ocm.Get(t.Context(), client.ObjectKey{Name: "tombolo"}, &management); err != nil {
		t.Fatal(err)
	}
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: name(cluster, "tombolo")}
	addon.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&management, schema.GroupVersion(addonv1beta1.GroupVersion).WithKind("ClusterManagementAddOn"))}
	if err := ocm.Create(t.Context(), addon); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The cluster has nobody who would leave.
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		if err := ocm.Patch(context.Background(), addon, patch); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "OCM's add-on manager says that the add-on is configured", func() error {
		if err := ocm.Get(t.Context(), client.ObjectKeyFromObject(addon), addon); err != nil {
			return err
		}
		meta.SetStatusCondition(&addon.Status.Conditions, metav1.Condition{Type: addonv1beta1.ManagedClusterAddOnConditionConfigured, Status: metav1.ConditionTrue, Reason: "Configured"})
		return ocm.Status().Update(t.Context(), addon)
	})
}

// request asks, as the OCM agent of a cluster, for the identity of Tombolo's agent in another one.
func request(t *testing.T, requester, cluster string) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: addonUser(cluster), Organization: addonGroups(cluster)},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	group := "system:open-cluster-management:" + requester
	// OCM lets its agents make requests; here a group of the apiserver's does.
	agent, err := client.New(user(t, group+":0123", group, "system:masters").Config(), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	r := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "addon-" + cluster + "-tombolo-", Labels: map[string]string{
			"open-cluster-management.io/addon-name": "tombolo", "open-cluster-management.io/cluster-name": cluster,
		}},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: certificatesv1.KubeAPIServerClientSignerName,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth},
		},
	}
	if err := agent.Create(t.Context(), r); err != nil {
		t.Fatalf("ask for a certificate: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := admin.Delete(ctx, r); err != nil {
			t.Error(err)
		}
	})
	return r
}

func approved(t *testing.T, r *certificatesv1.CertificateSigningRequest) error {
	t.Helper()
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		return err
	}
	if !slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved
	}) {
		return fmt.Errorf("%s has conditions %+v", r.Name, r.Status.Conditions)
	}
	return nil
}
