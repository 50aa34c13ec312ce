// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/ocm"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
)

// Up brings a fleet up. A lab that is in o.Dir already, whole or what a crash left
// of it, is taken down first. When Up fails it ends everything it started and
// leaves only the files, for their logs; the error names the component and its log.
func Up(ctx context.Context, o Options) (*Lab, error) {
	begin := time.Now()
	o.Logf = elapsed(o.Logf, begin)
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("bring lab up: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("bring lab up: network namespaces need root: run as root")
	}
	if err := Down(ctx, o.Dir); err != nil {
		return nil, fmt.Errorf("take down what is in %s: %w", o.Dir, err)
	}
	for _, ns := range o.namespaces() {
		// Checked before the state names it: what the state names, Down deletes.
		if netns.Exists(ns) {
			return nil, fmt.Errorf("bring lab up: network namespace %s exists and is not of the lab in %s: take the other lab down or choose another prefix than %q", ns, o.Dir, o.prefix())
		}
	}
	s := &state{Options: o}
	if err := s.claim(); err != nil {
		return nil, fmt.Errorf("bring lab up: %w", err)
	}
	l := newLab(s)
	if err := l.up(ctx, s); err != nil {
		// ctx may have ended, which is no reason to leave processes.
		return nil, errors.Join(fmt.Errorf("bring lab up: %w", err), end(context.WithoutCancel(ctx), s))
	}
	l.logf("the lab is up")
	return l, nil
}

func (l *Lab) up(ctx context.Context, s *state) error {
	if err := l.build(ctx); err != nil {
		return err
	}
	s.Binaries = l.Binaries
	if err := s.write(); err != nil {
		return err
	}
	if err := layFabric(l.options); err != nil {
		return err
	}
	clusters := make([]*Cluster, len(l.options.clusters()))
	g, gctx := errgroup.WithContext(ctx)
	for i, p := range l.options.clusters() {
		g.Go(func() (err error) {
			clusters[i], err = l.startCluster(gctx, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range clusters {
		l.add(c)
	}
	if err := l.join(ctx); err != nil {
		return err
	}
	if !l.options.Tombolo {
		return nil
	}
	return l.install(ctx)
}

// join makes the spokes members of the fleet, as an administrator of OCM does.
func (l *Lab) join(ctx context.Context) error {
	bootstrap, err := l.fleet.Bootstrap(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range l.Spokes {
		if l.options.Tombolo && c.place.join == JoinToken {
			continue
		}
		g.Go(func() error { return l.joinCluster(ctx, c, bootstrap) })
	}
	return g.Wait()
}

func (l *Lab) joinCluster(ctx context.Context, c *Cluster, bootstrap []byte) error {
	if err := ocm.StartAgent(ctx, ocm.AgentOptions{Cluster: c.ControlPlane, Bootstrap: bootstrap, Logf: l.logf}); err != nil {
		return err
	}
	if err := l.fleet.Accept(ctx, c.Name); err != nil {
		return err
	}
	if err := l.fleet.Joined(ctx, c.Name); err != nil {
		return err
	}
	l.logf("%s: has joined the fleet", c.Name)
	return l.Hub.Apply(ctx, nameLabel(c.Name))
}

// Rejoin lets a cluster into OCM's fleet again whose ManagedCluster was deleted, as its administrator does. Only the program that brought the lab
// up can.
func (l *Lab) Rejoin(ctx context.Context, cluster string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	bootstrap, err := l.fleet.Bootstrap(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(ocm.StopAgent(c.ControlPlane), l.fleet.Forget(ctx, cluster)); err != nil {
		return err
	}
	if err := ocm.ResetAgent(ctx, c.ControlPlane); err != nil {
		return err
	}
	return l.joinCluster(ctx, c, bootstrap)
}

// nameLabel gives a ManagedCluster a label that selectors can tell it by.
func nameLabel(cluster string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cluster.open-cluster-management.io/v1",
		"kind":       "ManagedCluster",
		"metadata":   map[string]any{"name": cluster, "labels": map[string]any{"name": cluster}},
	}}
}

// startCluster brings a cluster up as far as it depends on no other.
func (l *Lab) startCluster(ctx context.Context, p place) (*Cluster, error) {
	g, gctx := errgroup.WithContext(ctx)
	if p.ovn() {
		g.Go(func() error {
			_, err := ovn.StartCentral(gctx, l.centralOptions(p))
			return err
		})
	}
	var control *kube.ControlPlane
	g.Go(func() (err error) {
		if control, err = kube.Start(gctx, l.kubeConfig(p)); err != nil {
			return err
		}
		l.logf("%s: control plane is ready", p.name)
		if p.index == 1 {
			g.Go(func() (err error) {
				l.fleet, err = ocm.StartHub(gctx, ocm.HubOptions{Cluster: control, Logf: l.logf})
				return err
			})
		}
		return l.furnish(gctx, p, control)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	c := l.cluster(p, control)
	g, gctx = errgroup.WithContext(ctx)
	for _, n := range c.Nodes {
		g.Go(func() error { return l.startNode(gctx, c, n) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return c, warm(ctx, c)
}

// StartNode starts what does not run of a node: after a crash of its box, its
// kubelet or its Open vSwitch it brings the node back.
func (l *Lab) StartNode(ctx context.Context, cluster, name string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	return l.startNode(ctx, c, n)
}

// startNode gives the kubelet and kube-proxy their identities and starts them beside the node's Open vSwitch.
func (l *Lab) startNode(ctx context.Context, c *Cluster, n *Node) error {
	kubeconfig, err := c.ClientConfig("system:node:"+n.Name, []string{"system:nodes"})
	if err != nil {
		return err
	}
	proxy, err := c.ClientConfig("system:kube-proxy", nil)
	if err != nil {
		return err
	}
	serving, err := c.CA().Server(n.Name, n.MgmtIP.Addr().String())
	if err != nil {
		return err
	}
	n.Kubeconfig, n.ProxyKubeconfig, n.CA = kubeconfig, proxy, c.CA().PEM()
	n.ServingCert, n.ServingKey = serving.Cert, serving.Key
	g, gctx := errgroup.WithContext(ctx)
	if n.OVS != nil {
		g.Go(func() error {
			_, err := ovn.StartNode(gctx, n.OVS.NodeOptions)
			return err
		})
	}
	g.Go(func() error {
		if _, err := node.Start(gctx, n.Node.Options); err != nil {
			return err
		}
		ready, cancel := context.WithTimeout(gctx, time.Minute)
		defer cancel()
		return n.WaitReady(ready)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	l.logf("%s: node %s is ready", c.Name, n.Name)
	return nil
}

// warm lets the nodes of a cluster learn each other's Ethernet addresses, so
// that no first packet between them is lost.
func warm(ctx context.Context, c *Cluster) error {
	for _, from := range c.Nodes {
		for _, to := range c.Nodes {
			if from == to || from.OVS == nil {
				continue
			}
			if err := from.OVS.Warm(ctx, to.spot.underlayIP().Addr()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Down ends the lab in dir and removes its files; none there is fine.
func Down(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("take lab down: %w", err)
	}
	s, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take lab down: %w", err)
	}
	if err := end(ctx, s); err != nil {
		return fmt.Errorf("take lab down: %w", err)
	}
	return s.release()
}

// endTimeout bounds the end of a lab: nothing in it takes more than seconds.
const endTimeout = time.Minute

// end ends all processes of the lab and deletes its namespaces; files stay.
func end(ctx context.Context, s *state) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	l := newLab(s)
	// All at once and without grace: nothing of what they would still write is kept.
	var kill errgroup.Group
	for _, p := range l.Procs.List() {
		kill.Go(p.Kill)
	}
	errs := []error{kill.Wait()}
	var nodes errgroup.Group
	for _, p := range s.Options.clusters() {
		for _, spot := range p.spots() {
			// What is left of a node are its cgroups.
			nodes.Go(func() error {
				return (&node.Node{Options: l.nodeOptions(spot)}).Stop(ctx)
			})
		}
	}
	errs = append(errs, nodes.Wait())
	for _, ns := range s.Options.namespaces() {
		errs = append(errs, netns.Delete(ns))
	}
	return errors.Join(errs...)
}
