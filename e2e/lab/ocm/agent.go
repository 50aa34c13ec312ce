// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ocm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
)

// AgentOptions says how a cluster joins.
type AgentOptions struct {
	// Cluster is the control plane that joins, under its own name. Its Binaries must
	// have binaries.OCM's.
	Cluster *kube.ControlPlane
	// Bootstrap is the kubeconfig that the agent first speaks to the hub with, see
	// Hub.Bootstrap.
	Bootstrap []byte
	// Logf takes lines of progress; nil drops them.
	Logf Logf
}

const (
	agentName    = "ocm-agent"
	agentAccount = "klusterlet-work-sa"
	agentListen  = "127.0.0.1:8443"
)

// StartAgent runs OCM's agent in a cluster: registration and work in one process.
// It returns when the agent runs; whether it has joined is the hub's to say, see
// Hub.Joined. An agent that has joined before takes its place again with the
// certificate that it was given then.
func StartAgent(ctx context.Context, o AgentOptions) error {
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := o.start(ctx); err != nil {
		return fmt.Errorf("start OCM agent of %s: %w", o.Cluster.Name, err)
	}
	return nil
}

func (o AgentOptions) start(ctx context.Context) error {
	m, err := render(ctx, o.Cluster, "agent")
	if err != nil {
		return err
	}
	if err := m.apply(ctx, o.Cluster, namespace(agentNamespace), namespace(addonNamespace), aggregateRole()); err != nil {
		return err
	}
	id, err := o.id(ctx)
	if err != nil {
		return err
	}
	kubeconfig, err := accountFile(ctx, o.Cluster, agentNamespace, agentAccount)
	if err != nil {
		return err
	}
	bootstrap, err := o.Cluster.WriteConfig("ocm-bootstrap", o.Bootstrap)
	if err != nil {
		return err
	}
	identity := identityDir(o.Cluster)
	if err := os.MkdirAll(identity, 0o700); err != nil {
		return err
	}
	return run(ctx, o.Cluster, o.Logf, process{
		name: agentName, health: "https://" + agentListen + "/healthz",
		args: []string{
			"registration-operator", "agent",
			"--kubeconfig=" + kubeconfig,
			"--namespace=" + agentNamespace,
			"--listen=" + agentListen,
			"--disable-leader-election",
			"--spoke-cluster-name=" + o.Cluster.Name,
			"--agent-id=" + string(id),
			"--bootstrap-kubeconfig=" + bootstrap,
			"--hub-kubeconfig-dir=" + identity,
			"--workload-source-driver=kube",
			"--workload-source-config=" + filepath.Join(identity, "kubeconfig"),
			// How soon the hub learns what became of a ManifestWork; OCM's default is 10 s too.
			"--status-sync-interval=10s",
		},
	})
}

// id is the agent's own and stays the same: with another one it would ask for
// another certificate. OCM's operator takes the UID of the object that it installs
// the agent for, which nothing makes here.
func (o AgentOptions) id(ctx context.Context) (types.UID, error) {
	c, err := connect(o.Cluster, o.Logf)
	if err != nil {
		return "", err
	}
	own := &corev1.Namespace{}
	if err := c.Get(ctx, client.ObjectKey{Name: agentNamespace}, own); err != nil {
		return "", fmt.Errorf("read namespace %s: %w", agentNamespace, err)
	}
	return own.UID, nil
}

// StopAgent ends a cluster's agent in order; one that does not run is fine.
func StopAgent(c *kube.ControlPlane) error {
	if p, ok := c.Procs.Find(c.Name + "-" + agentName); ok {
		return p.Stop(stopGrace)
	}
	return nil
}

// identitySecret is where an agent keeps its certificate; it copies it from there into its directory.
const identitySecret = "hub-kubeconfig-secret"

// ResetAgent ends a cluster's agent and takes its identity on the hub away: the next one asks to join as for the first time.
func ResetAgent(ctx context.Context, c *kube.ControlPlane) error {
	if err := resetAgent(ctx, c); err != nil {
		return fmt.Errorf("reset OCM agent of %s: %w", c.Name, err)
	}
	return nil
}

func resetAgent(ctx context.Context, c *kube.ControlPlane) error {
	if err := StopAgent(c); err != nil {
		return err
	}
	admin, err := connect(c, func(string, ...any) {})
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: agentNamespace, Name: identitySecret}}
	if err := admin.Delete(ctx, secret); client.IgnoreNotFound(err) != nil {
		return err
	}
	return os.RemoveAll(identityDir(c))
}

// identityDir has the agent's kubeconfig and certificate on the hub.
func identityDir(c *kube.ControlPlane) string { return filepath.Join(c.Dir, "ocm", "hub") }

// aggregateRole is a role that OCM's operator makes and its manifests only bind:
// what add-ons let the work agent do.
func aggregateRole() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1",
		"kind":       "ClusterRole",
		"metadata":   map[string]any{"name": "open-cluster-management:klusterlet-work:aggregate"},
		"aggregationRule": map[string]any{"clusterRoleSelectors": []any{
			map[string]any{"matchLabels": map[string]any{"open-cluster-management.io/aggregate-to-work": "true"}},
		}},
	}}
}
