// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/charts"
)

// Chart is the agent's chart, as `helm install` has it.
//
// addon-framework renders charts too, but not as helm does: it reads NOTES.txt as a manifest, installs the pods of `helm
// test`, and adds values of its own, which a strict values.schema.json refuses. So this uses helm's packages itself.
type Chart struct{ chart *chart.Chart }

// Load reads the chart that this hub has with it.
func Load() (*Chart, error) {
	c, err := charts.Load(charts.SpokeAgent)
	return &Chart{c}, err
}

// Version of the chart.
func (c *Chart) Version() string { return c.chart.Metadata.Version }

// The annotations by which helm and OCM are told the same things.
const (
	helmHook   = "helm.sh/hook"
	helmPolicy = "helm.sh/resource-policy" // "keep": helm uninstall leaves the object
)

// Render gives what `helm install` with these values would apply to a cluster of that version of Kubernetes, in helm's
// order, with OCM's annotations beside helm's. A version that is not known yet ("") is taken as new enough.
func (c *Chart) Render(values map[string]any, kubeVersion string) ([]*unstructured.Unstructured, error) {
	capabilities, err := c.capabilities(kubeVersion)
	if err != nil {
		return nil, err
	}
	all, err := chartutil.ToRenderValues(c.chart, values, chartutil.ReleaseOptions{
		Name: charts.SpokeAgent, Namespace: Namespace, Revision: 1, IsInstall: true,
	}, capabilities)
	if err != nil {
		return nil, fmt.Errorf("check the values of the agent's chart: %w", err)
	}
	files, err := engine.Engine{}.Render(c.chart, all)
	if err != nil {
		return nil, fmt.Errorf("render the agent's chart: %w", err)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("read what the agent's chart renders to: %w", err)
	}
	return c.objects(hooks, manifests)
}

// monitoring is the one API besides Kubernetes' that the chart has a use for, if its values ask for that. The hub can't
// know whether the cluster has it; OCM's work agent says so if not.
const monitoring = "monitoring.coreos.com/v1"

// capabilities refuses a cluster that helm would refuse.
func (c *Chart) capabilities(kubeVersion string) (*chartutil.Capabilities, error) {
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), monitoring)
	if kubeVersion == "" {
		return capabilities, nil
	}
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's version of Kubernetes %q: %w", kubeVersion, err)
	}
	if need := c.chart.Metadata.KubeVersion; need != "" && !chartutil.IsCompatibleRange(need, version.Version) {
		return nil, fmt.Errorf("the cluster has Kubernetes %s, and the agent needs %s: upgrade the cluster", kubeVersion, need)
	}
	capabilities.KubeVersion = *version
	return capabilities, nil
}

// objects decodes CRDs, manifests and the hooks that run before an uninstall, in this order. Other hooks, such as those
// of `helm test`, have no counterpart in OCM.
func (c *Chart) objects(hooks []*release.Hook, manifests []releaseutil.Manifest) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, crd := range c.chart.CRDObjects() {
		// helm deletes no CRD of this folder, whatever its annotations.
		object, err := decode(string(crd.File.Data), crd.Name)
		if err != nil {
			return nil, err
		}
		objects = append(objects, orphan(object))
	}
	for _, manifest := range manifests {
		object, err := decode(manifest.Content, manifest.Name)
		if err != nil {
			return nil, err
		}
		if object.GetAnnotations()[helmPolicy] == "keep" {
			orphan(object)
		}
		objects = append(objects, object)
	}
	for _, hook := range hooks {
		if !slices.Contains(hook.Events, release.HookPreDelete) {
			continue
		}
		object, err := decode(hook.Manifest, hook.Path)
		if err != nil {
			return nil, err
		}
		if err := preDelete(object); err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func decode(text, file string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = object.UnmarshalJSON(data) // with int64 and not float64
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of the agent's chart: %w", file, err)
	}
	return object, nil
}

// orphan lets the object stay when the add-on goes.
func orphan(object *unstructured.Unstructured) *unstructured.Unstructured {
	return annotate(object, addonv1beta1.DeletionOrphanAnnotationKey, "")
}

func annotate(object *unstructured.Unstructured, key, value string) *unstructured.Unstructured {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	object.SetAnnotations(annotations)
	return object
}
