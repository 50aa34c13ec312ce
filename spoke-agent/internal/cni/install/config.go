// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install puts tombolo-cni before the cluster's own CNI plugin on a node: the plugin's program, and a network configuration that
// hands every pod that is in no Vpc on to the cluster's own. Nobody else's file is ever written.
package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// ConfigName is the name of our configuration: the container runtime takes the first of the directory.
	ConfigName = "00-tombolo.conflist"
	// PluginName is the plugin's program, and its type in configurations.
	PluginName = "tombolo-cni"
	// tempPrefix and tempSuffix are of files that are being written: no runtime reads names that end so.
	tempPrefix, tempSuffix = ".tombolo-", ".tmp"
)

// versions of the CNI specification that tombolo-cni speaks.
var versions = []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// File is a configuration in the directory.
type File struct {
	Name string
	Data []byte
}

// errForeign says that a file is no network configuration that a runtime would take.
var errForeign = errors.New("is no CNI network configuration")

// network is a CNI network configuration, with all that we do not look at.
type network map[string]any

// parse reads a configuration: a list of plugins (.conflist), or one plugin (.conf, .json).
func parse(f File) (network, error) {
	var n network
	if err := json.Unmarshal(f.Data, &n); err != nil {
		return nil, fmt.Errorf("%s %w: %w", f.Name, errForeign, err)
	}
	if filepath.Ext(f.Name) != ".conflist" && n["plugins"] == nil {
		single := n
		n = network{"cniVersion": single["cniVersion"], "name": single["name"], "plugins": []any{map[string]any(single)}}
	}
	plugins, _ := n["plugins"].([]any)
	for _, p := range plugins {
		if typ, _ := object(p)["type"].(string); typ == "" {
			return nil, fmt.Errorf("%s %w: a plugin has no type", f.Name, errForeign)
		}
	}
	name, _ := n["name"].(string)
	if len(plugins) == 0 || name == "" {
		return nil, fmt.Errorf("%s %w: it has no name or no plugins", f.Name, errForeign)
	}
	return n, nil
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// ours is true when the first plugin is ours.
func (n network) ours() bool {
	return object(n["plugins"].([]any)[0])["type"] == PluginName
}

// Result is what was found in a directory, and what is made of it.
type Result struct {
	// Source is the file of the cluster's own configuration.
	Source string
	// Config is ours.
	Config []byte
	// Before is a file that the runtime takes instead of ours; empty when there is none.
	Before string
}

// Generate makes our configuration of the first one in the directory that is the cluster's own. Of the same files it makes the same bytes.
func Generate(files []File, socket string) (Result, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	var r Result
	var problems []error
	for _, f := range files {
		if f.Name == ConfigName || !slices.Contains([]string{".conflist", ".conf", ".json"}, filepath.Ext(f.Name)) {
			continue
		}
		n, err := parse(f)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if r.Before == "" && f.Name < ConfigName {
			r.Before = f.Name
		}
		if r.Config != nil || n.ours() {
			continue
		}
		if r.Config, err = n.behind(f.Name, socket); err != nil {
			return Result{}, err
		}
		r.Source = f.Name
	}
	if r.Config == nil {
		return Result{}, errors.Join(append([]error{ErrNoConfig}, problems...)...)
	}
	return r, nil
}

// ErrNoConfig says that the directory holds no configuration of the cluster's own.
var ErrNoConfig = errors.New("there is no CNI network configuration of the cluster's own: pods that are in no Vpc would have no network")

// behind is the same network with our plugin in front: it calls the first plugin for pods that are in no Vpc. The plugins behind the first
// one are called for all pods, as they are without us.
func (n network) behind(file, socket string) ([]byte, error) {
	version, _ := n["cniVersion"].(string)
	if !slices.Contains(versions, version) {
		return nil, fmt.Errorf("%s has cniVersion %q: tombolo-cni speaks %s; let the cluster's own CNI plugin write one of these", file, version, strings.Join(versions, ", "))
	}
	plugins := slices.Clone(n["plugins"].([]any))
	delegate := object(plugins[0])
	first := map[string]any{"type": PluginName, "socket": socket, "delegate": delegate}
	if capabilities, ok := delegate["capabilities"]; ok {
		first["capabilities"] = capabilities // by these the runtime knows what to tell: the delegate gets it from us
	}
	plugins[0] = first
	wrapped := maps.Clone(n)
	wrapped["plugins"] = plugins
	raw, err := json.MarshalIndent(wrapped, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", ConfigName, err)
	}
	return append(raw, '\n'), nil
}
