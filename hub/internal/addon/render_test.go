// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

func east(annotations map[string]string) *clusterv1.ManagedCluster {
	return &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "east", Annotations: annotations},
		Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
		Status:     clusterv1.ManagedClusterStatus{Version: clusterv1.ManagedClusterVersion{Kubernetes: "v1.37.1"}},
	}
}

func enabled(values string) *addonv1beta1.ManagedClusterAddOn {
	addon := &addonv1beta1.ManagedClusterAddOn{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: Name}}
	if values != "" {
		addon.Annotations = map[string]string{"addon.open-cluster-management.io/values": values}
	}
	return addon
}

func config(spec addonv1beta1.AddOnDeploymentConfigSpec) *addonv1beta1.AddOnDeploymentConfig {
	return &addonv1beta1.AddOnDeploymentConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-system", Name: "tombolo"}, Spec: spec}
}

// withTemplate is the real chart with one more template.
func withTemplate(t *testing.T, name, text string) *Chart {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	// The chart has a hook of its own.
	c.chart.Templates = slices.DeleteFunc(c.chart.Templates, func(f *chart.File) bool { return f.Name == "templates/leave.yaml" })
	c.chart.Templates = append(c.chart.Templates, &chart.File{Name: "templates/" + name, Data: []byte(text)})
	return c
}

func names(objects []*unstructured.Unstructured, only func(*unstructured.Unstructured) bool) []string {
	all := []string{}
	for _, o := range objects {
		if only(o) {
			all = append(all, o.GetKind()+" "+o.GetName())
		}
	}
	return all
}

func has(annotation string) func(*unstructured.Unstructured) bool {
	return func(o *unstructured.Unstructured) bool {
		_, has := o.GetAnnotations()[annotation]
		return has
	}
}

// find gives the object of the kind as a T.
func find[T any](t *testing.T, objects []*unstructured.Unstructured, kind string) T {
	t.Helper()
	var typed T
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
	if i < 0 {
		t.Fatalf("no %s is rendered", kind)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[i].Object, &typed); err != nil {
		t.Fatal(err)
	}
	return typed
}

type workload struct {
	Spec struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

func TestObjectsOfACluster(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	objects, err := c.ObjectsFor(east(nil), enabled(""), nil)
	if err != nil {
		t.Fatal(err)
	}
	if first := objects[0]; first.GetKind() != "Namespace" || first.GetName() != "tombolo-system" {
		t.Errorf("first is %s %s, want the namespace of all others", first.GetKind(), first.GetName())
	}
	stay := names(objects, has(addonv1beta1.DeletionOrphanAnnotationKey))
	want := []string{
		"Namespace tombolo-system", "ClusterRole open-cluster-management:tombolo:work",
		"CustomResourceDefinition interconnectgateways.spoke.tombolo.io", "CustomResourceDefinition localrouters.spoke.tombolo.io",
	}
	if diff := cmp.Diff(want, stay); diff != "" {
		t.Errorf("what stays when the add-on goes (-want +got):\n%s", diff)
	}
	for _, o := range objects {
		if ns := o.GetNamespace(); ns != "" && ns != "tombolo-system" && (ns != "default" || o.GetName() != "tombolo-agent-node") { // events of Nodes
			t.Errorf("%s %s is in namespace %s", o.GetKind(), o.GetName(), ns)
		}
	}
	deployment := find[workload](t, objects, "Deployment")
	if args := deployment.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--cluster-name=east") {
		t.Errorf("the agent is not told its cluster's name: %q", args)
	}
}

func TestValues(t *testing.T) {
	variables := func(pairs ...string) *addonv1beta1.AddOnDeploymentConfig {
		var spec addonv1beta1.AddOnDeploymentConfigSpec
		for i := 0; i < len(pairs); i += 2 {
			spec.CustomizedVariables = append(spec.CustomizedVariables, addonv1beta1.CustomizedVariable{Name: pairs[i], Value: pairs[i+1]})
		}
		return config(spec)
	}
	for name, tc := range map[string]struct {
		reason     string
		annotation string
		config     *addonv1beta1.AddOnDeploymentConfig
		want       map[string]any
		err        string
	}{
		"nothing": {
			reason: "the chart's defaults, for this cluster",
			want:   map[string]any{"clusterName": "east"},
		},
		"variables": {
			reason: "they are what helm --set takes: numbers, lists and paths, with _ for the dot",
			config: variables("node_podMTU", "1300", "controller_reservedCIDRs", "{10.0.0.0/8,192.168.0.0/16}", "image_registry", "registry.example.com"),
			want: map[string]any{
				"clusterName": "east", "node": map[string]any{"podMTU": int64(1300)},
				"controller": map[string]any{"reservedCIDRs": []any{"10.0.0.0/8", "192.168.0.0/16"}}, "image": map[string]any{"registry": "registry.example.com"},
			},
		},
		"annotation": {
			reason:     "it is nearer to the cluster than the AddOnDeploymentConfig, and only what it says is changed",
			annotation: `{"node": {"podMTU": 1200}}`,
			config:     variables("node_podMTU", "1300", "node_logLevel", "debug"),
			want:       map[string]any{"clusterName": "east", "node": map[string]any{"podMTU": 1200.0, "logLevel": "debug"}},
		},
		"another cluster": {
			reason:     "a cluster can't be told to be another one",
			annotation: `{"clusterName": "west"}`,
			want:       map[string]any{"clusterName": "east"},
		},
		"no JSON": {
			reason:     "the error names the annotation and its cure",
			annotation: `node: {`, err: "annotation addon.open-cluster-management.io/values of ManagedClusterAddOn east/tombolo",
		},
		"no value": {
			reason: "the error names the variable",
			config: variables("controller_reservedCIDRs", "{10.0.0.0/8"), err: "customizedVariables controller_reservedCIDRs",
		},
		"another namespace": {
			reason: "the agent works in one namespace: better no agent than one that finds nothing",
			config: config(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "elsewhere"}), err: `agentInstallNamespace is "elsewhere"`,
		},
		"OCM's default namespace": {
			reason: "OCM writes it where nobody says anything",
			config: config(addonv1beta1.AddOnDeploymentConfigSpec{AgentInstallNamespace: "open-cluster-management-agent-addon"}),
			want:   map[string]any{"clusterName": "east"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Values(east(nil), enabled(tc.annotation), tc.config)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

const hooks = `
apiVersion: batch/v1
kind: Job
metadata:
  name: leave
  namespace: tombolo-system
  annotations: {helm.sh/hook: pre-delete}
spec:
  template: {spec: {containers: [{name: leave, image: agent, args: [leave, "--reserved={{ .Values.node.podMTU }}"]}]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: leave, namespace: tombolo-system, annotations: {helm.sh/hook: pre-delete}}
---
apiVersion: v1
kind: Pod
metadata: {name: test, namespace: tombolo-system, annotations: {helm.sh/hook: test}}
`

func TestHooks(t *testing.T) {
	c := withTemplate(t, "hooks.yaml", hooks)
	render := func(cluster *clusterv1.ManagedCluster, values string) []*unstructured.Unstructured {
		t.Helper()
		objects, err := c.ObjectsFor(cluster, enabled(values), nil)
		if err != nil {
			t.Fatal(err)
		}
		return objects
	}
	first := render(east(nil), "")
	jobs := names(first, isPreDelete)
	if len(jobs) != 1 || !strings.HasPrefix(jobs[0], "Job leave-") {
		t.Fatalf("before the add-on goes %q run, want the Job alone", jobs)
	}
	job := first[slices.IndexFunc(first, isPreDelete)]
	limit, _, _ := unstructured.NestedInt64(job.Object, "spec", "backoffLimit")
	if restart, _, _ := unstructured.NestedString(job.Object, "spec", "template", "spec", "restartPolicy"); restart != "OnFailure" || limit < 1000 {
		t.Errorf("the Job is tried %d times, in a pod that is restarted %q: nobody would make another one", limit, restart)
	}
	if got := names(first, func(o *unstructured.Unstructured) bool { return o.GetName() == "leave" }); !slices.Equal(got, []string{"ServiceAccount leave"}) {
		t.Errorf("what else the hook needs is %q, want it among the other objects", got)
	}
	if got := names(first, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Pod" }); len(got) > 0 {
		t.Errorf("pods of helm test are installed: %q", got)
	}
	if again := names(render(east(nil), ""), isPreDelete); !slices.Equal(jobs, again) {
		t.Errorf("the same Job is %q and then %q", jobs, again)
	}
	if other := names(render(east(nil), `{"node": {"podMTU": 1300}}`), isPreDelete); slices.Equal(jobs, other) {
		t.Errorf("a Job that does something else has the same name %q: it can't be applied over the first", other)
	}
	lost := east(map[string]string{networkv1alpha1.AnnotationGone: "true"})
	if still := names(render(lost, ""), isPreDelete); len(still) != 1 {
		t.Errorf("a cluster that nobody deletes is to run %q, whatever its annotations say", still)
	}
	lost.DeletionTimestamp = new(metav1.Now())
	if none := names(render(lost, ""), isPreDelete); len(none) > 0 {
		t.Errorf("a cluster that is gone for good is to run %q", none)
	}
}

func TestRefused(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	old := east(nil)
	old.Status.Version.Kubernetes = "v1.30.4"
	if _, err := c.ObjectsFor(old, enabled(""), nil); err == nil || !strings.Contains(err.Error(), "v1.30.4") {
		t.Errorf("a cluster that helm would refuse gets error %v, want one that names its version", err)
	}
	if _, err := c.ObjectsFor(east(nil), enabled(`{"nodes": {"podMTU": 1300}}`), nil); err == nil || !strings.Contains(err.Error(), "nodes") {
		t.Errorf("a value that the chart does not have gets error %v, want one that names it", err)
	}
	if _, err := c.ObjectsFor(east(nil), enabled(`{"monitoring": {"serviceMonitor": {"enabled": true}}}`), nil); err != nil {
		t.Errorf("whether a cluster has ServiceMonitors is its own to know: %v", err)
	}
	unknown := east(nil)
	unknown.Status.Version.Kubernetes = ""
	if _, err := c.ObjectsFor(unknown, enabled(""), nil); err != nil {
		t.Errorf("a cluster that has not said its version yet: %v", err)
	}
}

func TestDecorate(t *testing.T) {
	c := withTemplate(t, "hooks.yaml", hooks)
	all := config(addonv1beta1.AddOnDeploymentConfigSpec{
		NodePlacement: &addonv1beta1.NodePlacement{NodeSelector: map[string]string{"node": "infra"}, Tolerations: []corev1.Toleration{{Key: "infra"}}},
		Registries:    []addonv1beta1.ImageMirror{{Source: "tombolo-io", Mirror: "mirror.example.com/tombolo"}},
		ProxyConfig:   addonv1beta1.ProxyConfig{HTTPSProxy: "http://proxy:3128", NoProxy: "10.0.0.0/8"},
		ResourceRequirements: []addonv1beta1.ContainerResourceRequirements{{
			ContainerID: "deployments:tombolo-agent-controller:*",
			Resources:   corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
		}},
	})
	objects, err := c.ObjectsFor(east(nil), enabled(""), all)
	if err != nil {
		t.Fatal(err)
	}
	summary := func(kind string) string {
		spec := find[workload](t, objects, kind).Spec.Template.Spec
		container := spec.Containers[0]
		var env []string
		for _, e := range container.Env {
			if e.ValueFrom == nil {
				env = append(env, e.Name+"="+e.Value)
			}
		}
		image, _, _ := strings.Cut(container.Image, ":")
		memory := container.Resources.Limits[corev1.ResourceMemory]
		return fmt.Sprintf("%v %d %s %v %s", spec.NodeSelector, len(spec.Tolerations), image, env, memory.String())
	}
	const env = "[HTTPS_PROXY=http://proxy:3128 NO_PROXY=10.0.0.0/8,$(KUBERNETES_SERVICE_HOST)]"
	for kind, want := range map[string]string{
		"Deployment": "map[node:infra] 1 mirror.example.com/tombolo/tombolo-agent " + env + " 1Gi",
		"DaemonSet":  "map[] 1 mirror.example.com/tombolo/tombolo-agent " + env + " 512Mi", // on all nodes, whatever the placement
		"Job":        "map[node:infra] 1 agent " + env + " 0",
	} {
		if got := summary(kind); got != want {
			t.Errorf("%s:\n got %s\nwant %s", kind, got, want)
		}
	}
	mirrored, err := c.ObjectsFor(east(map[string]string{clusterv1.ClusterImageRegistriesAnnotationKey: `{"registries":[{"source":"tombolo-io","mirror":"near"}]}`}), enabled(""), nil)
	if err != nil {
		t.Fatal(err)
	}
	if image := find[workload](t, mirrored, "DaemonSet").Spec.Template.Spec.Containers[0].Image; !strings.HasPrefix(image, "near/tombolo-agent:") {
		t.Errorf("image %s, want it from the mirror that the ManagedCluster names", image)
	}
}
