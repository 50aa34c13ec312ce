// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/image"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/ocm"
	"github.com/tombolo-io/tombolo/e2e/lab/ovn"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Lab is a fleet that is up.
type Lab struct {
	// Dir is the lab's directory; logs are in <Dir>/log.
	Dir string
	// Procs are all processes of the lab.
	Procs proc.Dir
	// Hub is the hub cluster.
	Hub *Cluster
	// Spokes are the other clusters, in the order of the options.
	Spokes []*Cluster
	// Binaries are the programs that the lab runs, kubectl and helm.
	Binaries binaries.Set
	// SpokesInstalled is when the first helm install on a spoke began, in a lab that was brought up by this program.
	SpokesInstalled time.Time

	options Options
	logf    func(format string, args ...any)
	// fleet is the hub as OCM's, in the program that brought the lab up.
	fleet *ocm.Hub
}

// Cluster is one cluster of the lab. Its control plane's components can be
// stopped and started one by one.
type Cluster struct {
	*kube.ControlPlane
	// Central is the cluster's OVN; nil on the hub and without nodes.
	Central *ovn.Central
	// Nodes are n1, n2, ….
	Nodes []*Node

	place place
}

// Node is one node of a cluster.
type Node struct {
	*node.Node
	// OVS is the node's Open vSwitch and ovn-controller; nil on the hub.
	OVS *ovn.NodeOVS

	spot spot
}

// Load gives the lab that is up in dir.
func Load(dir string) (*Lab, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("load lab: %w", err)
	}
	s, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("load lab: %w; is one up in %s?", err, dir)
	}
	l := newLab(s)
	for _, p := range s.Options.clusters() {
		control, err := kube.Open(l.kubeConfig(p))
		if err != nil {
			return nil, fmt.Errorf("load lab in %s: %w; it did not come up, so take it down", dir, err)
		}
		l.add(l.cluster(p, control))
	}
	return l, nil
}

func newLab(s *state) *Lab {
	l := &Lab{
		Dir: s.Options.Dir, Procs: proc.Dir(s.Options.Dir), Binaries: s.Binaries,
		options: s.Options, logf: s.Options.Logf,
	}
	if l.logf == nil {
		l.logf = func(string, ...any) {}
	}
	return l
}

// add keeps the clusters in the order of their indices.
func (l *Lab) add(c *Cluster) {
	if c.place.index == 1 {
		l.Hub = c
		return
	}
	l.Spokes = append(l.Spokes, c)
}

// Cluster gives the hub or a spoke by its name.
func (l *Lab) Cluster(name string) (*Cluster, error) {
	for _, c := range l.Clusters() {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("find cluster %q: the lab has no cluster of that name", name)
}

// Clusters gives the hub and all spokes.
func (l *Lab) Clusters() []*Cluster { return append([]*Cluster{l.Hub}, l.Spokes...) }

// Node gives a node by its name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("find node %q: cluster %s has no node of that name", name, c.Name)
}

func (l *Lab) kubeConfig(p place) kube.Config {
	return kube.Config{
		Name: p.name, Dir: p.dir(), Procs: l.Procs, NetNS: p.netns(), IP: p.ip(), ServiceCIDR: serviceNet,
		Nodes: p.nodes > 0, Kubeconfig: p.kubeconfig(), Binaries: l.Binaries,
	}
}

func (l *Lab) centralOptions(p place) ovn.CentralOptions {
	return ovn.CentralOptions{Dir: l.Procs, Cluster: p.name, NetNS: p.netns(), StateDir: filepath.Join(p.dir(), "ovn")}
}

// cluster makes the handles of a cluster that was started.
func (l *Lab) cluster(p place, control *kube.ControlPlane) *Cluster {
	c := &Cluster{ControlPlane: control, place: p}
	if p.ovn() {
		c.Central = &ovn.Central{CentralOptions: l.centralOptions(p)}
	}
	for _, s := range p.spots() {
		n := &Node{Node: &node.Node{Options: l.nodeOptions(s)}, spot: s}
		if p.ovn() {
			n.OVS = &ovn.NodeOVS{NodeOptions: l.ovsOptions(s, c.Central)}
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

func (l *Lab) nodeOptions(s spot) node.Options {
	o := node.Options{
		Dir: l.Procs, Cluster: s.place.name, Name: s.name, NetNS: s.netns(), StateDir: s.dir(),
		MgmtIP: s.mgmtIP(), PodCIDR: s.podCIDR(), ServiceCIDR: serviceNet,
		Labels: map[string]string{}, Mounts: map[string]string{},
		Kubelet: l.Binaries["kubelet"], KubeProxy: l.Binaries["kube-proxy"], Pause: l.Binaries["pause"],
		PauseTar: l.options.file("images/pause.tar"), Images: l.images(s.place),
	}
	if s.ovn() {
		o.WanIP = s.wanIP()
		// What an agent expects of a node: Open vSwitch's sockets at their usual place, and a directory that
		// outlives the node's end.
		o.Mounts["/run/openvswitch"] = l.ovsDir(s)
		o.Mounts["/var/lib/tombolo"] = filepath.Join(s.dir(), "tombolo")
		if s.gateway() {
			o.Labels[gatewayLabel] = "true"
		}
	}
	return o
}

func (l *Lab) ovsDir(s spot) string { return filepath.Join(s.dir(), "ovs") }

func (l *Lab) ovsOptions(s spot, central *ovn.Central) ovn.NodeOptions {
	return ovn.NodeOptions{
		Dir: l.Procs, Cluster: s.place.name, Node: s.name, NetNS: s.netns(), StateDir: l.ovsDir(s),
		SB: central.SB(), EncapIP: s.underlayIP(), UnderlayIf: underlayIf,
	}
}

// build makes all programs and images, in parallel as far as they don't share
// a go build cache.
func (l *Lab) build(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	var servers, management, charts binaries.Set
	own := binaries.Set{}
	g.Go(func() (err error) {
		servers, err = binaries.Servers(ctx, l.logf)
		return err
	})
	g.Go(func() (err error) {
		management, err = binaries.OCM(ctx, l.logf)
		return err
	})
	g.Go(func() (err error) {
		if l.options.Tombolo {
			charts, err = binaries.Helm(ctx, l.logf)
		}
		return err
	})
	g.Go(func() error {
		builders := []func(context.Context, string, binaries.Logf) (binaries.Set, error){binaries.Forward}
		if l.options.Tombolo {
			builders = append(builders, binaries.Project)
		}
		for _, b := range builders {
			set, err := b(ctx, l.options.file("bin"), l.logf)
			if err != nil {
				return err
			}
			maps.Copy(own, set)
		}
		return l.buildImages(ctx, own)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	l.Binaries = servers
	maps.Copy(l.Binaries, management)
	maps.Copy(l.Binaries, charts)
	maps.Copy(l.Binaries, own)
	return nil
}

// buildImages writes the images of all nodes.
func (l *Lab) buildImages(ctx context.Context, own binaries.Set) error {
	if !slices.ContainsFunc(l.options.clusters(), func(p place) bool { return p.nodes > 0 }) {
		return nil
	}
	built, err := image.Build(ctx, l.options.file("images"))
	if err != nil {
		return err
	}
	own["pause"], own["podtool"] = built.Pause, built.Podtool
	if !l.options.Tombolo {
		return nil
	}
	if err := image.Write(l.options.file(hubImage), image.Hub(image.Registry, version.Version, own.Path("tombolo-hub"))); err != nil {
		return err
	}
	return image.Write(l.options.file(agentImage), image.Agent(image.Registry, version.Version, own.Path("tombolo-agent"), own.Path("tombolo-cni")))
}

// Files of images.
const (
	podtoolImage = "images/podtool.tar"
	hubImage     = "images/tombolo-hub.tar"
	agentImage   = "images/tombolo-agent.tar"
)

// images are those that a cluster's pods are made of.
func (l *Lab) images(p place) []string {
	names := []string{podtoolImage}
	switch {
	case !l.options.Tombolo:
	case p.index == 1:
		names = []string{hubImage}
	default:
		names = append(names, agentImage)
	}
	var files []string
	for _, name := range names {
		files = append(files, l.options.file(name))
	}
	return files
}

// elapsed puts the time since begin before each line of progress.
func elapsed(logf func(string, ...any), begin time.Time) func(string, ...any) {
	if logf == nil {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) {
		logf("%6.1fs  %s", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}
