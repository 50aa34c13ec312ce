// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
)

// Tenant is the namespace of everything that people write.
const Tenant = "shop"

// startLimit is enough for the servers on a busy machine.
const startLimit = 3 * time.Minute

// schema is the northbound database's, of the Debian package ovn-central.
const schema = "/usr/share/ovn/ovn-nb.ovsschema"

// Config of a World.
type Config struct {
	// Dir has all files.
	Dir string
	// Servers is the directory of etcd and kube-apiserver.
	Servers string
	// Programs is the directory of tombolo-hub and tombolo-agent.
	Programs string
	// Clusters are the names of the spokes. One that begins with another's name is good to have.
	Clusters []string
	// Debug makes the programs log everything.
	Debug bool
}

// World is a fleet that is up.
type World struct {
	Config
	// Hub is the hub's API server.
	Hub *Server
	// Controller is tombolo-hub, and HubProxy what it takes for the hub's API server.
	Controller *Process
	HubProxy   *faulty.Proxy
	// Spokes in the order of Clusters.
	Spokes []*Spoke

	store, spokeStore *etcd
}

// Spoke is one cluster.
type Spoke struct {
	*Server
	// Agent is tombolo-agent in its role controller.
	Agent *Process
	// ToHub and ToSpoke are what the agent takes for the API servers.
	ToHub, ToSpoke *faulty.Proxy
	// Northbound is the socket of OVN's database.
	Northbound string

	database *Process
	identity *rest.Config
	// estranged is true from Estrange to Home.
	estranged bool
}

// Start starts everything.
func Start(ctx context.Context, config Config) (*World, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	w := &World{Config: config}
	if err := w.make(); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	if err := w.startServers(ctx); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	if err := w.startPrograms(); err != nil {
		return nil, errors.Join(err, w.Stop())
	}
	return w, nil
}

func (w *World) make() error {
	var err error
	if w.store, err = newEtcd(w.Dir, "hub-etcd", w.Servers); err != nil {
		return err
	}
	if w.spokeStore, err = newEtcd(w.Dir, "spoke-etcd", w.Servers); err != nil {
		return err
	}
	if w.Hub, err = newServer(w.Dir, "hub", w.Servers, w.store); err != nil {
		return err
	}
	for _, name := range w.Clusters {
		server, err := newServer(w.Dir, name, w.Servers, w.spokeStore)
		if err != nil {
			return err
		}
		w.Spokes = append(w.Spokes, &Spoke{Server: server, Northbound: filepath.Join(w.Dir, name+".nb")})
	}
	return nil
}

func (w *World) startServers(ctx context.Context) error {
	if err := errors.Join(w.store.start(ctx), w.spokeStore.start(ctx)); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := w.Hub.start(ctx); err != nil {
			return err
		}
		if err := w.Hub.furnish(ctx, charts.Hub, map[string]any{}); err != nil {
			return err
		}
		return w.join(ctx)
	})
	for _, s := range w.Spokes {
		g.Go(func() error {
			if err := s.start(ctx); err != nil {
				return err
			}
			if err := s.furnish(ctx, charts.SpokeAgent, map[string]any{"clusterName": s.Name}); err != nil {
				return err
			}
			return s.startDatabase(ctx, w.Dir)
		})
	}
	return g.Wait()
}

// join makes what every history begins with: tenants, pools and members.
func (w *World) join(ctx context.Context) error {
	if err := w.Hub.Namespace(ctx, Tenant); err != nil {
		return err
	}
	for _, pool := range Pools() {
		if err := w.Hub.Admin.Create(ctx, pool); err != nil {
			return fmt.Errorf("create pool: %w", err)
		}
	}
	for _, name := range w.Clusters {
		if err := w.Hub.Namespace(ctx, name); err != nil {
			return err
		}
		cluster := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}}
		if err := w.Hub.Admin.Create(ctx, cluster); err != nil {
			return fmt.Errorf("create ManagedCluster %s: %w", name, err)
		}
	}
	return nil
}

// Pools are small, so that what is given back is soon given out again.
func Pools() []*networkv1alpha1.IPPool {
	pool := func(name string, spec networkv1alpha1.IPPoolSpec) *networkv1alpha1.IPPool {
		return &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	}
	return []*networkv1alpha1.IPPool{
		pool("vnis", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 100, Last: 115}}),
		pool("links", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/24"}}),
		pool("subnets", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.200.0.0/20"}}),
	}
}

func (s *Spoke) startDatabase(ctx context.Context, dir string) error {
	file := filepath.Join(dir, s.Name+".nb.db")
	if out, err := exec.CommandContext(ctx, "ovsdb-tool", "create", file, schema).CombinedOutput(); err != nil {
		return fmt.Errorf("make northbound database (Debian packages openvswitch-common, ovn-central): %w: %s", err, out)
	}
	s.database = newProcess(dir, s.Name+"-nb", "ovsdb-server", "--no-chdir", "--remote=punix:"+s.Northbound, "--unixctl="+filepath.Join(dir, s.Name+".nb.ctl"), file)
	if err := s.database.Start(); err != nil {
		return err
	}
	return until(ctx, "wait for ovsdb-server", func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "ovn-nbctl", "--db=unix:"+s.Northbound, "--timeout=10", "init").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// startPrograms starts the hub and the agents, each behind its proxies.
func (w *World) startPrograms() error {
	identity, err := w.Hub.user("system:serviceaccount:"+charts.Namespace+":tombolo-hub", "system:serviceaccounts", "system:authenticated")
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(w.Dir, "hub.kubeconfig")
	w.Controller = newProcess(w.Dir, "tombolo-hub", filepath.Join(w.Programs, "tombolo-hub"), "--kubeconfig="+kubeconfig, "--leader-elect=false",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--log-level="+w.level())
	if w.HubProxy, err = w.Hub.proxy(kubeconfig, identity, w.Controller.Kill); err != nil {
		return err
	}
	if err := w.Controller.Start(); err != nil {
		return err
	}
	for _, s := range w.Spokes {
		if err := w.startAgent(s); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) startAgent(s *Spoke) error {
	onHub, err := w.Hub.user("system:open-cluster-management:cluster:"+s.Name+":addon:tombolo:agent:tombolo-agent",
		"system:open-cluster-management:addon:tombolo", "system:open-cluster-management:cluster:"+s.Name+":addon:tombolo", "system:authenticated")
	if err != nil {
		return err
	}
	onSpoke, err := s.user("system:serviceaccount:"+charts.Namespace+":tombolo-agent-controller", "system:serviceaccounts", "system:serviceaccounts:"+charts.Namespace, "system:authenticated")
	if err != nil {
		return err
	}
	hubConfig, ownConfig := filepath.Join(w.Dir, s.Name+".hub.kubeconfig"), filepath.Join(w.Dir, s.Name+".kubeconfig")
	s.identity = onHub
	s.Agent = newProcess(w.Dir, s.Name+"-agent", filepath.Join(w.Programs, "tombolo-agent"), "controller", "--kubeconfig="+ownConfig, "--cluster-name="+s.Name,
		"--hub-kubeconfig="+hubConfig, "--nb=unix:"+s.Northbound, "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--log-level="+w.level())
	if s.ToHub, err = w.Hub.proxy(hubConfig, onHub, s.Agent.Kill); err != nil {
		return err
	}
	if s.ToSpoke, err = s.proxy(ownConfig, onSpoke, s.Agent.Kill); err != nil {
		return err
	}
	return s.Agent.Start()
}

// proxy stands before the server for one client, and writes the kubeconfig that the client gets.
func (s *Server) proxy(kubeconfig string, identity *rest.Config, kill func()) (*faulty.Proxy, error) {
	pair, err := s.ca.Server("proxy", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of a proxy: %w", err)
	}
	p, err := faulty.New(certificate, identity, kill)
	if err != nil {
		return nil, err
	}
	return p, writeKubeconfig(kubeconfig, p.URL(), s.ca.PEM(), identity)
}

// Stop ends everything.
func (w *World) Stop() error {
	for _, s := range w.Spokes {
		for _, p := range []*faulty.Proxy{s.ToHub, s.ToSpoke} {
			if p != nil {
				p.Close()
			}
		}
	}
	if w.HubProxy != nil {
		w.HubProxy.Close()
	}
	for _, p := range w.Processes() {
		p.Kill()
	}
	return nil
}

// Processes are all children that there are.
func (w *World) Processes() []*Process {
	var all []*Process
	add := func(p *Process) {
		if p != nil {
			all = append(all, p)
		}
	}
	add(w.Controller)
	for _, s := range w.Spokes {
		add(s.Agent)
		add(s.database)
		add(s.process)
	}
	if w.Hub != nil {
		add(w.Hub.process)
	}
	for _, e := range []*etcd{w.store, w.spokeStore} {
		if e != nil {
			add(e.process)
		}
	}
	return all
}

// Backup copies what the hub has stored.
func (w *World) Backup(ctx context.Context) error { return w.store.backup(ctx, w.backupDir()) }

// Restore puts the hub back to its backup, as an admin does: the servers are stopped, and started on the old data.
func (w *World) Restore(ctx context.Context) error {
	w.Hub.process.Kill()
	w.store.process.Kill()
	if err := w.store.restore(ctx, w.backupDir()); err != nil {
		return err
	}
	if err := w.store.start(ctx); err != nil {
		return err
	}
	return w.Hub.start(ctx)
}

// level of the programs' logs. Each transaction with OVN is told at debug.
func (w *World) level() string {
	if w.Debug {
		return "debug"
	}
	return "info"
}

func (w *World) backupDir() string { return filepath.Join(w.Dir, "hub-etcd.backup") }
