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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
)

// helmTimeout bounds one installation, images present.
const helmTimeout = 3 * time.Minute

// gatewayLabel marks the nodes that carry traffic to other clusters.
const gatewayLabel = "tombolo.io/gateway"

// install follows docs/install.md: the hub, and then the agent in every spoke with nodes.
func (l *Lab) install(ctx context.Context) error {
	if err := l.writeManualFiles(ctx); err != nil {
		return err
	}
	if err := l.Manual(ctx, l.Hub.Name, "install"); err != nil {
		return err
	}
	l.SpokesInstalled = time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range l.Spokes {
		if c.Central != nil {
			g.Go(func() error { return l.installSpoke(ctx, c) })
		}
	}
	return g.Wait()
}

func (l *Lab) installSpoke(ctx context.Context, c *Cluster) error {
	if err := l.Manual(ctx, c.Name, string(c.place.join)); err != nil {
		return errors.Join(err, c.complaints(context.WithoutCancel(ctx)))
	}
	if err := l.Hub.Apply(ctx, nameLabel(c.Name)); err != nil {
		return err
	}
	return c.tomboloReady(ctx)
}

// Upgrade gives the release of a cluster other values, each as helm's --set wants it, on top of the lab's own.
func (l *Lab) Upgrade(ctx context.Context, cluster string, set ...string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	if c.follows() {
		return l.upgradeAddOn(ctx, c, set)
	}
	current, err := l.Current(ctx)
	if err != nil {
		return err
	}
	return l.helmUpgrade(ctx, c, current, set)
}

// UpgradeTo gives a cluster a release. One with the add-on has that of its hub.
func (l *Lab) UpgradeTo(ctx context.Context, cluster string, r Release) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	if c.follows() {
		return fmt.Errorf("upgrade %s: it has the add-on: upgrade its hub", cluster)
	}
	return l.helmUpgrade(ctx, c, r, []string{"image.tag=" + r.Version})
}

// follows tells whether the cluster gets from the hub what it installs.
func (c *Cluster) follows() bool { return c.place.index != 1 && c.place.join == JoinAddOn }

// helmUpgrade upgrades to a release with the lab's values, and waits until its pods are ready.
func (l *Lab) helmUpgrade(ctx context.Context, c *Cluster, r Release, set []string) error {
	chart := charts.SpokeAgent
	if c.place.index == 1 {
		chart = charts.Hub
	}
	values := filepath.Join(c.place.dir(), chart+".values.json")
	if err := writeJSON(values, c.values(chart)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, helmTimeout)
	defer cancel()
	begin := time.Now()
	args := []string{"upgrade", chart, filepath.Join(r.tree, "charts", chart), "--kubeconfig", c.Kubeconfig,
		"--namespace", charts.Namespace, "--values", values, "--wait", "--timeout", helmTimeout.String()}
	for _, s := range set {
		args = append(args, "--set="+s)
	}
	cmd := exec.CommandContext(ctx, l.Binaries.Path("helm"), args...)
	cmd.Env = append(os.Environ(), l.helmEnv()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("helm upgrade %s on %s: %w: %s", chart, c.Name, err, out), c.complaints(context.WithoutCancel(ctx)))
	}
	// For helm a DaemonSet is ready while its last pod is still being replaced.
	if err := c.tomboloReady(ctx); err != nil {
		return err
	}
	l.logf("%s: helm upgrade %s took %.1f s", c.Name, chart, time.Since(begin).Seconds())
	return nil
}

// values are what the administrator of the lab's clusters has to say: where images are, and what of its network nobody can find out.
func (c *Cluster) values(chart string) map[string]any {
	values := map[string]any{"image": map[string]any{"registry": image.Registry}}
	if chart == charts.Hub {
		return values
	}
	values["clusterName"] = c.Name
	values["ovn"] = map[string]any{"northbound": fmt.Sprintf("tcp:%s:%d", c.IP, ovn.NBPort)}
	values["node"] = map[string]any{"endpointInterface": node.WANIf}
	values["controller"] = map[string]any{"reservedCIDRs": c.place.reserved()}
	return values
}

func writeJSON(path string, value any) error {
	b, err := json.MarshalIndent(value, "", "  ")
	if err == nil {
		err = os.WriteFile(path, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
