// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package kube runs real Kubernetes control planes: etcd, kube-apiserver,
// kube-controller-manager and, for clusters with nodes, kube-scheduler, each
// cluster in a network namespace of its own.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Config says where a control plane runs. It is the same for Start and Open.
type Config struct {
	// Name of the cluster; its processes are called <Name>-<component>.
	Name string
	// Dir has the cluster's certificates, kubeconfigs and etcd data.
	Dir string
	// Procs keeps the processes.
	Procs proc.Dir
	// NetNS is the network namespace the control plane runs in.
	NetNS string
	// IP is the address in NetNS where the apiserver is reached.
	IP netip.Addr
	// ServiceCIDR is the range of Service addresses.
	ServiceCIDR netip.Prefix
	// Nodes tells whether the cluster will have nodes, and so needs a scheduler.
	Nodes bool
	// Kubeconfig is where the admin's kubeconfig for the machine's own network
	// is written; the forwarder makes it work.
	Kubeconfig string
	// Binaries has the servers and the lab's forward.
	Binaries binaries.Set
}

// Component is a process of the control plane.
type Component string

// The components, in the order they are started.
const (
	Etcd              Component = "etcd"
	APIServer         Component = "kube-apiserver"
	ControllerManager Component = "kube-controller-manager"
	Scheduler         Component = "kube-scheduler"
	// Forwarder listens on the machine's own loopback for the apiserver.
	Forwarder Component = "forwarder"
)

// startTimeout bounds the start of one component on a busy machine.
const startTimeout = 2 * time.Minute

// stopGrace is enough for every component but the apiserver, which by then has
// stopped listening and would wait a minute for its watchers to go away.
const stopGrace = 2 * time.Second

// ControlPlane is a control plane that was started, now or by another program.
type ControlPlane struct {
	Config
	ca *Authority
	// clientset is made once: each new one would open connections of its own,
	// as client-go can't tell that two dialers are the same.
	clientset func() (kubernetes.Interface, error)
}

func newControlPlane(config Config, ca *Authority) *ControlPlane {
	c := &ControlPlane{Config: config, ca: ca}
	c.clientset = sync.OnceValues(func() (kubernetes.Interface, error) {
		config, err := c.REST()
		if err != nil {
			return nil, err
		}
		config.Timeout = 5 * time.Second
		return kubernetes.NewForConfig(config)
	})
	return c
}

// Start makes certificates and kubeconfigs, starts all components and returns
// when the apiserver is ready and the default service account exists. With a Dir
// that was used before, the cluster has its old data.
func Start(ctx context.Context, config Config) (*ControlPlane, error) {
	c, err := prepare(config)
	if err != nil {
		return nil, fmt.Errorf("start control plane of %s: %w", config.Name, err)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.Start(gctx, Etcd) })
	// It tries its etcd again until that is there.
	g.Go(func() error { return c.Start(gctx, APIServer) })
	g.Go(func() error { return c.startForwarder(gctx) })
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("start control plane of %s: %w", c.Name, err)
	}
	g, gctx = errgroup.WithContext(ctx)
	g.Go(func() error { return c.Start(gctx, ControllerManager) })
	if c.Nodes {
		g.Go(func() error { return c.Start(gctx, Scheduler) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("start control plane of %s: %w", c.Name, err)
	}
	return c, nil
}

// Open gives the control plane that Start made with the same Config.
func Open(config Config) (*ControlPlane, error) {
	ca, err := loadAuthority(filepath.Join(config.Dir, "pki"))
	if err != nil {
		return nil, fmt.Errorf("open control plane of %s: %w", config.Name, err)
	}
	return newControlPlane(config, ca), nil
}

// Server is the apiserver's URL in the cluster's network.
func (c *ControlPlane) Server() string {
	return "https://" + netip.AddrPortFrom(c.IP, 6443).String()
}

// CA signs certificates of this cluster.
func (c *ControlPlane) CA() *Authority { return c.ca }

// Process gives a component's process if it is alive.
func (c *ControlPlane) Process(component Component) (*proc.Process, bool) {
	return c.Procs.Find(c.processName(component))
}

// Start starts one component and returns when it is ready.
func (c *ControlPlane) Start(ctx context.Context, component Component) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	part, ok := c.parts()[component]
	if !ok {
		return fmt.Errorf("start %s of %s: there is no such component", component, c.Name)
	}
	p, err := c.Procs.Start(ctx, proc.Spec{
		Name:  c.processName(component),
		Path:  c.Binaries.Path(string(component)),
		Args:  part.args,
		NetNS: c.NetNS,
		Cwd:   c.Dir,
	})
	if err != nil {
		return err
	}
	return proc.Wait(ctx, c.processName(component), p, part.ready)
}

// Stop ends one component as an orderly shutdown does; one that does not run is fine.
func (c *ControlPlane) Stop(component Component) error {
	if p, ok := c.Process(component); ok {
		return p.Stop(stopGrace)
	}
	return nil
}

// Kill ends one component at once, as a crash does.
func (c *ControlPlane) Kill(component Component) error {
	if p, ok := c.Process(component); ok {
		return p.Kill()
	}
	return nil
}

// Restart stops a component and starts it again on the same data.
func (c *ControlPlane) Restart(ctx context.Context, component Component) error {
	if err := c.Stop(component); err != nil {
		return err
	}
	return c.Start(ctx, component)
}

func (c *ControlPlane) processName(component Component) string {
	return c.Name + "-" + string(component)
}

// startForwarder also writes the admin's kubeconfig, as only the forwarder knows
// the port it was given.
func (c *ControlPlane) startForwarder(ctx context.Context) error {
	addressFile := filepath.Join(c.Dir, "forwarder.address")
	if err := os.Remove(addressFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := c.processName(Forwarder)
	p, err := c.Procs.Start(ctx, proc.Spec{Name: name, Path: c.Binaries.Path("forward"), Args: []string{
		"--netns=" + c.NetNS, "--to=" + netip.AddrPortFrom(c.IP, 6443).String(),
		"--listen=127.0.0.1:0", "--address-file=" + addressFile,
	}})
	if err != nil {
		return err
	}
	var address string
	err = proc.Wait(ctx, name, p, func(context.Context) error {
		b, err := os.ReadFile(addressFile)
		address = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		return err
	}
	admin, err := c.clientConfig("https://"+address, "admin", []string{"system:masters"})
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Kubeconfig, admin, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", c.Name, err)
	}
	return nil
}

// prepare makes what is not there yet of the cluster's certificates.
func prepare(config Config) (*ControlPlane, error) {
	pki := filepath.Join(config.Dir, "pki")
	ca, err := OpenAuthority(pki, config.Name+"-ca")
	if err != nil {
		return nil, err
	}
	c := newControlPlane(config, ca)
	// The last file to be written tells that the others are there.
	if _, err := os.Stat(filepath.Join(c.Dir, "admin.kubeconfig")); err == nil {
		return c, nil
	}
	first := c.ServiceCIDR.Masked().Addr().Next() // Kubernetes gives it to Service "kubernetes"
	if err := ca.WriteServer(pki, "kube-apiserver", c.IP.String(), "127.0.0.1", first.String(),
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"); err != nil {
		return nil, err
	}
	if err := writeServiceAccountKey(pki); err != nil {
		return nil, err
	}
	for name, subject := range map[string][]string{
		"front-proxy":    {"front-proxy"},
		"kubelet-client": {"kube-apiserver-kubelet-client", "system:masters"},
	} {
		pair, err := ca.Client(subject[0], subject[1:])
		if err != nil {
			return nil, err
		}
		if err := pair.write(pki, name); err != nil {
			return nil, err
		}
	}
	for _, user := range []struct {
		file, name string
		groups     []string
	}{
		{"kube-controller-manager", "system:kube-controller-manager", nil},
		{"kube-scheduler", "system:kube-scheduler", nil},
		{"admin", "admin", []string{"system:masters"}},
	} {
		config, err := c.ClientConfig(user.name, user.groups)
		if err != nil {
			return nil, err
		}
		if _, err := c.WriteConfig(user.file, config); err != nil {
			return nil, err
		}
	}
	return c, nil
}
