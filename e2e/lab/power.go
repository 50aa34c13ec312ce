// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
)

// KillNode ends all that runs on a node at once and without a word, and takes its network namespace away with all interfaces: a machine
// that lost its power. What is on its disks stays. ReviveNode brings it back.
func (l *Lab) KillNode(ctx context.Context, cluster, name string) error {
	n, err := l.nodeOf(cluster, name)
	if err != nil {
		return err
	}
	var kill errgroup.Group
	for _, p := range l.Procs.List() {
		if strings.HasPrefix(p.Name(), cluster+"-"+name+"-") {
			kill.Go(p.Kill)
		}
	}
	// What is left of it are its cgroups.
	if err := errors.Join(kill.Wait(), n.Stop(ctx), netns.Delete(n.NetNS)); err != nil {
		return fmt.Errorf("kill node %s of %s: %w", name, cluster, err)
	}
	return nil
}

// ReviveNode starts a node that KillNode has ended, with new interfaces; of one that was never ended it starts what does not run.
func (l *Lab) ReviveNode(ctx context.Context, cluster, name string) error {
	n, err := l.nodeOf(cluster, name)
	if err != nil {
		return err
	}
	if !netns.Exists(n.NetNS) {
		if err := netns.Create(n.NetNS); err != nil {
			return err
		}
		if err := plugNode(n.spot); err != nil {
			return fmt.Errorf("revive node %s of %s: %w", name, cluster, err)
		}
	}
	return l.StartNode(ctx, cluster, name)
}

func (l *Lab) nodeOf(cluster, name string) (*Node, error) {
	c, err := l.Cluster(cluster)
	if err != nil {
		return nil, err
	}
	return c.Node(name)
}
