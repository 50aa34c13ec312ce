// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/manual"
)

// manualPage is what the lab is installed by.
const manualPage = "docs/install.md"

// manualTimeout bounds the commands of one occasion.
const manualTimeout = 6 * time.Minute

// Clusters of the manual: one with OCM's agents, and one without.
const (
	manualHub   = "hub"
	manualAddOn = "east"
	manualToken = "west"
)

// Manual runs the commands of docs/install.md for an occasion (WHAT of package manual) and a cluster, which takes the place of the one in
// the manual that joins in its way.
func (l *Lab) Manual(ctx context.Context, cluster, occasion string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	root, err := binaries.Root(ctx)
	if err != nil {
		return err
	}
	page, err := os.ReadFile(filepath.Join(root, manualPage))
	if err != nil {
		return fmt.Errorf("read manual: %w", err)
	}
	blocks, err := manual.Blocks(page)
	if err != nil {
		return fmt.Errorf("read %s: %w", manualPage, err)
	}
	ran := 0
	for _, b := range blocks {
		if b.What != occasion || !c.isMeant(b) {
			continue
		}
		ran++
		if err := l.follow(ctx, c, b); err != nil {
			return err
		}
	}
	if ran == 0 {
		return fmt.Errorf("%s has no commands for %q on %s", manualPage, occasion, cluster)
	}
	return nil
}

// isMeant tells whether a block is for the cluster. What is done on the hub for a cluster that joins in one way has the way in its name: it is
// that cluster's.
func (c *Cluster) isMeant(b manual.Block) bool {
	if c.place.index == 1 {
		return b.Where == manualHub
	}
	return b.Where == c.place.inManual() || b.Where == manualHub && (b.What == string(c.place.join) || strings.HasSuffix(b.What, "-"+string(c.place.join)))
}

func (p place) inManual() string {
	switch {
	case p.index == 1:
		return manualHub
	case p.join == JoinToken:
		return manualToken
	default:
		return manualAddOn
	}
}

func (l *Lab) follow(ctx context.Context, c *Cluster, b manual.Block) error {
	ctx, cancel := context.WithTimeout(ctx, manualTimeout)
	defer cancel()
	kubeconfig := c.Kubeconfig
	if b.Where == manualHub {
		kubeconfig = l.Hub.Kubeconfig
	}
	commands := b.Commands
	if name := c.place.inManual(); name != manualHub {
		commands = strings.ReplaceAll(commands, name, c.Name)
	}
	begin := time.Now()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = l.options.file("manual")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "HUB_SERVER="+l.Hub.Server(), "PATH="+l.toolPath()+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, l.helmEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("follow %s for %s: %w\n%s\n%s", manualPage, c.Name, err, commands, out)
	}
	l.logf("%s: %q of %s took %.1f s", c.Name, b.What, manualPage, time.Since(begin).Seconds())
	return nil
}

// toolPath has kubectl, helm and kubectl's plugin, each from where it was built.
func (l *Lab) toolPath() string {
	var dirs []string
	for _, name := range []string{"kubectl", "helm", "kubectl-tombolo"} {
		dirs = append(dirs, filepath.Dir(l.Binaries.Path(name)))
	}
	return strings.Join(dirs, ":")
}

func (l *Lab) helmEnv() []string {
	var env []string
	for _, name := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		env = append(env, name+"="+l.options.file("helm"))
	}
	return env
}

// writeManualFiles makes the directory that the manual's commands run in: what its reader writes, with the lab's values.
func (l *Lab) writeManualFiles(ctx context.Context) error {
	root, err := binaries.Root(ctx)
	if err != nil {
		return err
	}
	dir := l.options.file("manual")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory of the manual: %w", err)
	}
	errs := []error{
		os.Symlink(filepath.Join(root, "charts"), filepath.Join(dir, "charts")),
		os.Symlink(l.Hub.Kubeconfig, filepath.Join(dir, "hub.kubeconfig")),
		writeJSON(filepath.Join(dir, "hub.yaml"), l.Hub.values(charts.Hub)),
	}
	for _, c := range l.Spokes {
		var content any = c.values(charts.SpokeAgent)
		if c.place.join == JoinAddOn {
			content, err = c.addOn(c.values(charts.SpokeAgent))
			errs = append(errs, err)
		}
		errs = append(errs, writeJSON(filepath.Join(dir, c.Name+".yaml"), content))
	}
	return errors.Join(errs...)
}

// addOn is the ManagedClusterAddOn that lets the cluster have Tombolo, with the values of its chart.
func (c *Cluster) addOn(values map[string]any) (map[string]any, error) {
	delete(values, "clusterName") // the hub knows
	text, err := json.Marshal(values)
	return map[string]any{
		"apiVersion": "addon.open-cluster-management.io/v1beta1",
		"kind":       "ManagedClusterAddOn",
		"metadata": map[string]any{
			"name": "tombolo", "namespace": c.Name,
			"annotations": map[string]any{"addon.open-cluster-management.io/values": string(text)},
		},
		"spec": map[string]any{},
	}, err
}
