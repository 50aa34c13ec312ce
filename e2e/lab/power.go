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
	_, n, err := l.nodeOf(cluster, name)
	if err != nil {
		return err
	}
	var errs []error
	for _, kind := range []string{"m", "u", "w"} { // else the kernel would take them down some time after the namespace
		_, err := netns.Exec(ctx, l.options.fabric(), "ip", "link", "delete", n.spot.port(kind))
		errs = append(errs, err)
	}
	var kill errgroup.Group
	for _, p := range l.Procs.List() {
		if strings.HasPrefix(p.Name(), cluster+"-"+name+"-") {
			kill.Go(p.Kill)
		}
	}
	// What is left of it are its cgroups.
	if err := errors.Join(append(errs, kill.Wait(), n.Stop(ctx), netns.Delete(n.NetNS))...); err != nil {
		return fmt.Errorf("kill node %s of %s: %w", name, cluster, err)
	}
	return nil
}

// ReviveNode starts a node that KillNode has ended, with new interfaces; of one that was never ended it starts what does not run.
func (l *Lab) ReviveNode(ctx context.Context, cluster, name string) error {
	_, n, err := l.nodeOf(cluster, name)
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

func (l *Lab) nodeOf(cluster, name string) (*Cluster, *Node, error) {
	c, err := l.Cluster(cluster)
	if err != nil {
		return nil, nil, err
	}
	n, err := c.Node(name)
	return c, n, err
}

// LoseGeneve drops what a node and the other nodes of its cluster send each other in OVN's tunnels, on the way, as a firewall between them would;
// PassGeneve ends that. All other packets pass.
func (l *Lab) LoseGeneve(ctx context.Context, cluster, name string) error {
	c, n, err := l.nodeOf(cluster, name)
	if err != nil {
		return err
	}
	var ports []string
	for _, other := range c.Nodes {
		ports = append(ports, `"`+other.spot.port("u")+`"`)
	}
	rules := fmt.Sprintf(loseGeneve, strings.Join(ports, ", "), n.spot.underlayIP().Addr())
	_, err = netns.Exec(ctx, l.options.fabric(), "nft", rules)
	return err
}

// PassGeneve takes back what LoseGeneve did; that nothing was done is fine.
func (l *Lab) PassGeneve(ctx context.Context) error {
	_, err := netns.Exec(ctx, l.options.fabric(), "nft", "table netdev geneve\ndelete table netdev geneve")
	return err
}

const loseGeneve = `table netdev geneve
delete table netdev geneve
table netdev geneve {
	chain lose {
		type filter hook ingress devices = { %[1]s } priority 0
		ip saddr %[2]s udp dport 6081 drop
		ip daddr %[2]s udp dport 6081 drop
	}
}`
