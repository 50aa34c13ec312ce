// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package charts holds the Helm charts, for tests that need what they install and for the hub's add-on, which installs one of them
// by itself. Everybody renders by Helm's own engine: nobody parses templates.
package charts

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:generate go run ./generate

// Names of the charts, which are their directories in Files.
const (
	Hub        = "tombolo-hub"
	SpokeAgent = "tombolo-spoke-agent"
)

// Namespace that the charts go into, on the hub and on spokes.
const Namespace = "tombolo-system"

// kubeVersion is that of the cluster that Render pretends to install into: the oldest that the charts allow.
const kubeVersion = "v1.31.0"

// Files are both charts, each in the directory of its name.
//
//go:embed all:tombolo-hub all:tombolo-spoke-agent
var Files embed.FS

// Load reads a chart as Helm does.
func Load(name string) (*chart.Chart, error) {
	var files []*loader.BufferedFile
	err := fs.WalkDir(Files, name, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := Files.ReadFile(file)
		files = append(files, &loader.BufferedFile{Name: strings.TrimPrefix(file, name+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read chart %s: %w", name, err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", name, err)
	}
	return loaded, nil
}

// Render gives what helm would install: the objects of a chart with these values on top of its defaults, in the order of their
// installation. Hooks (tests, the way out) are not among them. The cluster has the API versions in apis beside Kubernetes' own.
func Render(name string, values map[string]any, apis ...string) ([]*unstructured.Unstructured, error) {
	rendered, err := render(name, Namespace, values, apis)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, manifest := range rendered.manifests {
		object, err := parse(manifest.Name, manifest.Content)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

// PreDelete gives what helm makes of a chart before it uninstalls it.
func PreDelete(name string, values map[string]any) ([]*unstructured.Unstructured, error) {
	rendered, err := render(name, Namespace, values, nil)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, hook := range rendered.hooks {
		if !slices.Contains(hook.Events, release.HookPreDelete) {
			continue
		}
		object, err := parse(hook.Path, hook.Manifest)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
	return objects, nil
}

func parse(file, text string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = object.UnmarshalJSON(data) // with int64 and not float64
	}
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", file, err)
	}
	return object, nil
}

// rendered is a chart with values: the text for the user, the manifests in the order of installation, and the hooks.
type rendered struct {
	notes     string
	manifests []releaseutil.Manifest
	hooks     []*release.Hook
}

func render(name, namespace string, values map[string]any, apis []string) (*rendered, error) {
	loaded, err := Load(name)
	if err != nil {
		return nil, err
	}
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, err
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *version
	capabilities.APIVersions = append(capabilities.APIVersions, apis...)
	options := chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(loaded, values, options, capabilities)
	if err != nil {
		return nil, fmt.Errorf("take values of chart %s: %w", name, err)
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, fmt.Errorf("render chart %s: %w", name, err)
	}
	r := &rendered{}
	for file, text := range files {
		if path.Base(file) == "NOTES.txt" {
			r.notes = text
			delete(files, file)
		}
	}
	if r.hooks, r.manifests, err = releaseutil.SortManifests(files, capabilities.APIVersions, releaseutil.InstallOrder); err != nil {
		return nil, fmt.Errorf("sort objects of chart %s: %w", name, err)
	}
	return r, nil
}
