// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
)

// Release makes the images of another release of this tree, and gives them to all nodes: to upgrade to it, set image.tag to its version.
func (l *Lab) Release(ctx context.Context, version string) error {
	dir := l.options.file("images/" + version)
	if _, err := binaries.Release(ctx, dir, version, l.logf); err != nil {
		return err
	}
	images, err := image.Release(dir, image.Registry, version)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range l.Clusters() {
		file := images.Agent
		if c == l.Hub {
			file = images.Hub
		}
		for _, n := range c.Nodes {
			g.Go(func() error { return n.ImportImage(ctx, file) })
		}
	}
	return g.Wait()
}
