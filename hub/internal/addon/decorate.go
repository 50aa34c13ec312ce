// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"open-cluster-management.io/addon-framework/pkg/addonfactory"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// Decoration is what OCM lets an admin say of every add-on's pods, whatever its chart.
type Decoration struct {
	// Placement of the pods that may run anywhere: nodes' agents are where the nodes are.
	Placement *addonv1beta1.NodePlacement
	// Mirrors of image registries.
	Mirrors []addonv1beta1.ImageMirror
	// Proxy on the way to the hub.
	Proxy addonv1beta1.ProxyConfig
	// Resources by container; the last that matches is taken.
	Resources []addonfactory.RegexResourceRequirements
}

// DecorationOf reads the AddOnDeploymentConfig (nil: there is none). Mirrors may be said of the cluster, too.
func DecorationOf(cluster *clusterv1.ManagedCluster, config *addonv1beta1.AddOnDeploymentConfig) (Decoration, error) {
	var d Decoration
	if config != nil {
		resources, err := addonfactory.GetRegexResourceRequirements(config.Spec.ResourceRequirements)
		if err != nil {
			return d, fmt.Errorf("read AddOnDeploymentConfig %s/%s: %w", config.Namespace, config.Name, err)
		}
		d = Decoration{config.Spec.NodePlacement, config.Spec.Registries, config.Spec.ProxyConfig, resources}
	}
	text := cluster.Annotations[clusterv1.ClusterImageRegistriesAnnotationKey]
	if len(d.Mirrors) > 0 || text == "" {
		return d, nil
	}
	var registries struct {
		Registries []addonv1beta1.ImageMirror `json:"registries"`
	}
	if err := json.Unmarshal([]byte(text), &registries); err != nil {
		return d, fmt.Errorf("read annotation %s of ManagedCluster %s: %w", clusterv1.ClusterImageRegistriesAnnotationKey, cluster.Name, err)
	}
	d.Mirrors = registries.Registries
	return d, nil
}

// podSpecPath is where kinds of the chart have their pods.
var podSpecPath = []string{"spec", "template", "spec"}

// Decorate changes the pods of Deployments, DaemonSets and Jobs.
func (d Decoration) Decorate(objects []*unstructured.Unstructured) error {
	for _, object := range objects {
		if !slices.Contains([]string{"Deployment", "DaemonSet", "Job"}, object.GetKind()) {
			continue
		}
		if err := d.decorate(object); err != nil {
			return fmt.Errorf("decorate %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func (d Decoration) decorate(object *unstructured.Unstructured) error {
	raw, _, err := unstructured.NestedMap(object.Object, podSpecPath...)
	if err != nil {
		return err
	}
	var spec corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &spec); err != nil {
		return err
	}
	if d.Placement != nil && object.GetKind() != "DaemonSet" {
		spec.NodeSelector, spec.Tolerations = d.Placement.NodeSelector, d.Placement.Tolerations
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if err := d.container(&containers[i], strings.ToLower(object.GetKind())+"s:"+object.GetName()); err != nil {
				return err
			}
		}
	}
	if raw, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&spec); err != nil {
		return err
	}
	return unstructured.SetNestedMap(object.Object, raw, podSpecPath...)
}

func (d Decoration) container(c *corev1.Container, owner string) error {
	c.Image = addonfactory.OverrideImage(d.Mirrors, c.Image)
	c.Env = append(c.Env, d.environment()...)
	for _, r := range d.Resources {
		matches, err := regexp.MatchString(r.ContainerIDRegex, owner+":"+c.Name)
		if err != nil {
			return fmt.Errorf("match containerID: %w", err)
		}
		if matches {
			c.Resources = r.ResourcesRaw
		}
	}
	return nil
}

// environment is what Go's HTTP clients read. The cluster's own API server is never behind the proxy: the kubelet fills
// its address in.
func (d Decoration) environment() []corev1.EnvVar {
	if d.Proxy.HTTPProxy == "" && d.Proxy.HTTPSProxy == "" {
		return nil
	}
	direct := "$(KUBERNETES_SERVICE_HOST)"
	if d.Proxy.NoProxy != "" {
		direct = d.Proxy.NoProxy + "," + direct
	}
	var all []corev1.EnvVar
	for _, v := range []corev1.EnvVar{{Name: "HTTP_PROXY", Value: d.Proxy.HTTPProxy}, {Name: "HTTPS_PROXY", Value: d.Proxy.HTTPSProxy}, {Name: "NO_PROXY", Value: direct}} {
		if v.Value != "" {
			all = append(all, v)
		}
	}
	return all
}
