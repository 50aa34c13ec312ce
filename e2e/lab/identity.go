// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// installCNI puts the plugin on the nodes of a cluster, and a configuration that is before the node's own: that one
// becomes its delegate.
func (l *Lab) installCNI(c *Cluster) error {
	for _, n := range c.Nodes {
		if err := l.installPlugin(n); err != nil {
			return fmt.Errorf("install CNI on node %s of %s: %w", n.Name, c.Name, err)
		}
	}
	return nil
}

func (l *Lab) installPlugin(n *Node) error {
	if err := copyFile(filepath.Join(n.CNIBinDir(), "tombolo-cni"), l.Binaries.Path("tombolo-cni")); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(n.CNIConfDir(), "10-bridge.conflist"))
	if err != nil {
		return err
	}
	var own struct {
		CNIVersion, Name string
		Plugins          []map[string]any
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return err
	}
	// A delegate is called by its plugin alone and so is a whole configuration.
	delegate := own.Plugins[0]
	delegate["cniVersion"], delegate["name"] = own.CNIVersion, "tombolo"
	path := filepath.Join(n.CNIConfDir(), "00-tombolo.conflist")
	err = writeJSON(path+".tmp", map[string]any{"cniVersion": own.CNIVersion, "name": "tombolo", "plugins": []any{
		map[string]any{"type": "tombolo-cni", "delegate": delegate},
	}})
	if err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer target.Close()
	if _, err := io.Copy(target, source); err != nil {
		return err
	}
	return os.Rename(to+".tmp", to)
}
