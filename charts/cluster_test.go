// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package charts

import (
	"os"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
)

// TestCluster: what a real kube-apiserver says to the charts.
func TestCluster(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: `make test` builds kube-apiserver and etcd and sets it to their directory")
	}
	env := &envtest.Environment{}
	config, err := env.Start()
	if err != nil {
		t.Fatalf("start kube-apiserver: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop kube-apiserver: %v", err)
		}
	})
	scheme := runtime.NewScheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("ForeignCRDs", func(t *testing.T) { testForeignCRDs(t, config, c) })
	t.Run("Fields", func(t *testing.T) { testFields(t, client.WithFieldValidation(c, metav1.FieldValidationStrict)) })
}

// testFields: with everything switched on there is no field that the apiserver does not know, or refuses.
func testFields(t *testing.T, c client.Client) {
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": Namespace}}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ chart, values string }{
		"Hub":   {Hub, hubEverything},
		"Agent": {SpokeAgent, agentEverything},
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := Render(test.chart, values(t, test.values), "monitoring.coreos.com/v1")
			if err != nil {
				t.Fatal(err)
			}
			for _, object := range objects {
				if object.GetKind() == "ServiceMonitor" { // no kind of Kubernetes
					continue
				}
				if err := c.Create(t.Context(), object); err != nil {
					t.Errorf("create %s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

// testForeignCRDs: CRDs that are somebody else's are left alone, and the notes say so.
func testForeignCRDs(t *testing.T, config *rest.Config, c client.Client) {
	const routers, gateways = "localrouters.spoke.tombolo.io", "interconnectgateways.spoke.tombolo.io"
	for _, test := range []struct {
		reason string
		// owner of the CRD of LocalRouters; "absent": there is none.
		owner string
		want  []string
		note  string
	}{
		{"a new cluster", "absent", []string{gateways, routers}, ""},
		{"put there by kubectl", "", []string{gateways}, routers + " was left as it is: it was put there without helm"},
		{"the hub's chart is in the same cluster", "tombolo-hub", []string{gateways}, routers + " was left as it is: it belongs to release tombolo-hub"},
		{"an upgrade", "tombolo-agent", []string{gateways, routers}, ""},
	} {
		setOwner(t, c, routers, test.owner)
		loaded, err := Load(SpokeAgent)
		if err != nil {
			t.Fatal(err)
		}
		all, err := chartutil.ToRenderValues(loaded, values(t, `clusterName: east`), chartutil.ReleaseOptions{Name: "tombolo-agent", Namespace: Namespace, Revision: 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		files, err := engine.RenderWithClient(loaded, all, config)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{gateways, routers} {
			if strings.Contains(files[SpokeAgent+"/templates/crds.yaml"], "\n  name: "+name+"\n") {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("CRDs %v, want %v: %s", got, test.want, test.reason)
		}
		if notes := files[SpokeAgent+"/templates/NOTES.txt"]; !strings.Contains(notes, test.note) || strings.Contains(notes, "WARNING") != (test.note != "") {
			t.Errorf("notes do not say %q: %s\n%s", test.note, test.reason, notes)
		}
	}
}

func setOwner(t *testing.T, c client.Client, name, owner string) {
	t.Helper()
	if owner == "absent" {
		return
	}
	data, err := crds.Files.ReadFile(fileOf(name))
	if err != nil {
		t.Fatal(err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.Unmarshal(data, definition); err != nil {
		t.Fatal(err)
	}
	there := &apiextensionsv1.CustomResourceDefinition{}
	err = c.Get(t.Context(), client.ObjectKey{Name: name}, there)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	if err != nil {
		err = c.Create(t.Context(), definition)
	} else {
		metav1.SetMetaDataAnnotation(&there.ObjectMeta, "meta.helm.sh/release-name", owner)
		err = c.Update(t.Context(), there)
	}
	if err != nil {
		t.Fatal(err)
	}
}
