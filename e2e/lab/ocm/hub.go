// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ocm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	clusterv1beta2 "open-cluster-management.io/api/cluster/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// HubOptions says what hub to run.
type HubOptions struct {
	// Cluster is the control plane that becomes a hub. Its Procs keep the
	// processes, its Dir has their files, and its Binaries must have binaries.OCM's.
	Cluster *kube.ControlPlane
	// AutoAccept makes every cluster that asks to join a member at once. Without it
	// each waits for Accept.
	AutoAccept bool
	// Logf takes lines of progress; nil drops them.
	Logf Logf
}

// Hub is a hub of OCM that runs.
type Hub struct {
	HubOptions
	client client.Client
}

// part is one process of a hub.
type part struct {
	name    string // after "<cluster>-ocm-"
	account string // service account in hubNamespace
	args    []string
	health  string // URL that answers 200 when it is ready
}

// Addresses in the hub's network namespace. Only its apiserver calls the webhooks.
const (
	webhookURL    = "https://127.0.0.1:9443"
	webhookHealth = "127.0.0.1:9444"
)

func (h *Hub) webhookPart() part {
	return part{"webhooks", "registration-webhook-sa", []string{
		"webhooks", "--cert-dir=" + h.file("webhooks"), "--health-probe-bind-address=" + webhookHealth,
	}, "http://" + webhookHealth + "/readyz"}
}

// controllerParts are OCM's controllers, each on a port of its own.
func (h *Hub) controllerParts() []part {
	parts := []part{
		{"registration", "registration-controller-sa", []string{"registration", "controller"}, ""},
		{"placement", "placement-controller-sa", []string{"placement", "controller"}, ""},
		{"work", "work-controller-sa", []string{"work", "manager"}, ""},
		{"addon", "addon-manager-controller-sa", []string{"addon", "manager"}, ""},
	}
	for i := range parts {
		listen := fmt.Sprintf("127.0.0.1:%d", 8443+i)
		parts[i].args = append(parts[i].args, "--namespace="+hubNamespace, "--listen="+listen, "--disable-leader-election")
		parts[i].health = "https://" + listen + "/healthz"
	}
	if h.AutoAccept {
		// The gate accepts all clusters; the certificates of the bootstrap account alone are signed without a look.
		parts[0].args = append(parts[0].args, "--feature-gates=ManagedClusterAutoApproval=true",
			"--auto-approved-csr-users=system:serviceaccount:"+bootstrapNamespace+":"+bootstrapAccount)
	}
	return parts
}

// StartHub makes the cluster a hub: CRDs, roles, webhooks and controllers. It
// returns when clusters can join.
func StartHub(ctx context.Context, o HubOptions) (*Hub, error) {
	h, err := newHub(o)
	if err != nil {
		return nil, fmt.Errorf("start OCM hub on %s: %w", o.Cluster.Name, err)
	}
	if err := h.start(ctx); err != nil {
		return nil, fmt.Errorf("start OCM hub on %s: %w", o.Cluster.Name, err)
	}
	return h, nil
}

func newHub(o HubOptions) (*Hub, error) {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	c, err := connect(o.Cluster, o.Logf)
	return &Hub{HubOptions: o, client: c}, err
}

func (h *Hub) start(ctx context.Context) error {
	// tls.crt and tls.key are the names that the webhooks' server looks for.
	if err := h.Cluster.CA().WriteServer(h.file("webhooks"), "tls", "127.0.0.1"); err != nil {
		return err
	}
	m, err := render(ctx, h.Cluster, "hub", "--webhook-url="+webhookURL, "--webhook-ca="+filepath.Join(h.Cluster.Dir, "pki", "ca.crt"))
	if err != nil {
		return err
	}
	if err := m.apply(ctx, h.Cluster, bootstrapObjects()...); err != nil {
		return err
	}
	h.Logf("%s: OCM's CRDs and roles are in", h.Cluster.Name)
	g, gctx := errgroup.WithContext(ctx)
	// The webhooks before all else: an agent gives its ManagedCluster up when it is refused
	// while its certificate is signed.
	g.Go(func() error {
		if err := h.run(gctx, h.webhookPart()); err != nil {
			return err
		}
		return h.Cluster.Apply(gctx, m.webhooks...)
	})
	for _, p := range h.controllerParts() {
		g.Go(func() error { return h.run(gctx, p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return h.defaultSet(ctx)
}

// run starts one process as its service account and waits until it is healthy.
func (h *Hub) run(ctx context.Context, p part) error {
	kubeconfig, err := accountFile(ctx, h.Cluster, hubNamespace, p.account)
	if err != nil {
		return err
	}
	return run(ctx, h.Cluster, h.Logf, process{
		name: "ocm-" + p.name, args: append(p.args, "--kubeconfig="+kubeconfig), health: p.health,
	})
}

// defaultSet waits for the last thing that a hub makes by itself, the
// ManagedClusterSet that every cluster joins.
func (h *Hub) defaultSet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p, _ := h.Cluster.Procs.Find(h.Cluster.Name + "-ocm-registration")
	return wait(ctx, h.Logf, "ManagedClusterSet default on "+h.Cluster.Name, p, func(ctx context.Context) error {
		return h.client.Get(ctx, client.ObjectKey{Name: "default"}, &clusterv1beta2.ManagedClusterSet{})
	})
}

// Stop ends all processes of the hub in order; what it has stored stays. Its
// webhooks are taken out of the apiserver, where they would refuse everything.
func (h *Hub) Stop(ctx context.Context) error {
	m, err := render(ctx, h.Cluster, "hub", "--webhook-ca="+filepath.Join(h.Cluster.Dir, "pki", "ca.crt"))
	if err != nil {
		return fmt.Errorf("stop OCM hub on %s: %w", h.Cluster.Name, err)
	}
	var errs []error
	for _, w := range m.webhooks {
		errs = append(errs, client.IgnoreNotFound(h.client.Delete(ctx, w)))
	}
	for _, p := range append(h.controllerParts(), h.webhookPart()) {
		if running, ok := h.Cluster.Procs.Find(h.Cluster.Name + "-ocm-" + p.name); ok {
			errs = append(errs, running.Stop(stopGrace))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop OCM hub on %s: %w", h.Cluster.Name, err)
	}
	return nil
}

func (h *Hub) file(name string) string { return filepath.Join(h.Cluster.Dir, "ocm", name) }

// process is one of OCM's on a cluster.
type process struct {
	name   string // after "<cluster>-"
	args   []string
	health string
}

// run starts a process in the cluster's network and waits until it is healthy.
func run(ctx context.Context, c *kube.ControlPlane, logf Logf, p process) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// Each makes a certificate for its health endpoint in the directory for temporary files, always under the same name.
	tmp := filepath.Join(c.Dir, "ocm", "tmp-"+p.name)
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	name := c.Name + "-" + p.name
	running, err := c.Procs.Start(ctx, proc.Spec{
		Name: name, Path: c.Binaries.Path(program), Args: p.args, NetNS: c.NetNS, Cwd: tmp, Env: []string{"TMPDIR=" + tmp},
	})
	if err != nil {
		return err
	}
	if err := wait(ctx, logf, name, running, kube.Healthy(c.NetNS, p.health)); err != nil {
		return err
	}
	logf("%s is ready", name)
	return nil
}

// accountFile writes a kubeconfig with a token of a service account.
func accountFile(ctx context.Context, c *kube.ControlPlane, namespace, account string) (string, error) {
	kubeconfig, err := c.TokenConfig(ctx, namespace, account)
	if err != nil {
		return "", err
	}
	return c.WriteConfig("ocm-"+account, kubeconfig)
}
