// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
)

// Release is one of Tombolo's that clusters of the lab can have.
type Release struct {
	// Version that its programs tell.
	Version string
	// tree that it is of.
	tree string
}

// Current is the release of this tree.
func (l *Lab) Current(ctx context.Context) (Release, error) {
	root, err := binaries.Root(ctx)
	return Release{Version: version.Version, tree: root}, err
}

// Release makes the images of another release, and gives them to all nodes. It is the tree as it was in a commit, or this one for ref "".
func (l *Lab) Release(ctx context.Context, version, ref string) (Release, error) {
	r, err := l.Current(ctx)
	if err != nil {
		return r, err
	}
	dir := l.options.file("images/" + version)
	if ref != "" {
		r.tree = dir + ".tree"
		if err := binaries.Checkout(ctx, ref, r.tree); err != nil {
			return r, err
		}
	}
	r.Version = version
	if _, err := binaries.Release(ctx, r.tree, dir, version, l.logf); err != nil {
		return r, err
	}
	images, err := image.Release(dir, image.Registry, version)
	if err != nil {
		return r, err
	}
	return r, l.importImages(ctx, images)
}

func (l *Lab) importImages(ctx context.Context, images image.Released) error {
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
