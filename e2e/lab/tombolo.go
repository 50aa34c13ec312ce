// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/node"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// Names of Tombolo's processes, which are those of their service accounts; an agent's has the cluster, or cluster and node, before it.
const (
	hubProcess        = "tombolo-hub"
	controllerProcess = "tombolo-agent-controller"
	nodeProcess       = "tombolo-agent-node"
)

// gatewayLabel marks the nodes that carry traffic to other clusters.
const gatewayLabel = "tombolo.io/gateway"

// tomboloTimeout bounds the start of one process of Tombolo.
const tomboloTimeout = time.Minute

// Where Tombolo's processes serve metrics and health: on the loopback of their
// own namespace. `lab forward` brings them out.
const (
	metricsAddress = "127.0.0.1:8080"
	healthAddress  = "127.0.0.1:8081"
)

// Capabilities of Tombolo's processes, the same as in the charts: the agent of a
// node has these (docs/architecture.md says for what), the others none.
var (
	nodeCapabilities = []string{"BPF", "NET_ADMIN", "NET_RAW", "PERFMON"}
	noCapabilities   = []string{}
)

// StartTombolo starts the hub, and the agents of all spokes. Spokes without
// nodes have no OVN and so no agent.
func (l *Lab) StartTombolo(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.StartHub(ctx) })
	for _, c := range l.Spokes {
		if c.Central != nil {
			g.Go(func() error { return l.StartAgentController(ctx, c.Name) })
		}
		for _, n := range c.Nodes {
			g.Go(func() error { return l.StartAgentNode(ctx, c.Name, n.Name) })
		}
	}
	return g.Wait()
}

// StartHub runs tombolo-hub as its service account in the hub's namespace.
func (l *Lab) StartHub(ctx context.Context) error {
	kubeconfig, err := tokenFile(ctx, l.Hub, "tombolo-hub")
	if err != nil {
		return err
	}
	return l.start(ctx, proc.Spec{
		Name: hubProcess,
		Path: l.Binaries.Path("tombolo-hub"),
		Args: []string{
			"--kubeconfig=" + kubeconfig,
			"--metrics-bind-address=" + metricsAddress,
			"--health-probe-bind-address=" + healthAddress,
			// There is one of each: after a crash the next need not wait for its lease.
			"--leader-elect=false",
		},
		NetNS:        l.Hub.NetNS,
		Capabilities: noCapabilities,
	}, readyz(l.Hub.NetNS), l.Procs.Start)
}

// StartAgentController runs the cluster's agent in the role controller: on the
// hub with the client certificate that OCM's add-on registration would issue, in
// its own cluster as its service account.
func (l *Lab) StartAgentController(ctx context.Context, cluster string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	kubeconfig, err := tokenFile(ctx, c, controllerProcess)
	if err != nil {
		return err
	}
	hubKubeconfig, err := l.addonFile(c)
	if err != nil {
		return err
	}
	var reserved []string
	for _, prefix := range c.place.reserved() {
		reserved = append(reserved, prefix.String())
	}
	return l.start(ctx, proc.Spec{
		Name: c.Name + "-" + controllerProcess,
		Path: l.Binaries.Path("tombolo-agent"),
		Args: []string{
			"controller",
			"--cluster-name=" + c.Name,
			"--hub-kubeconfig=" + hubKubeconfig,
			"--kubeconfig=" + kubeconfig,
			"--nb=" + c.Central.NB(),
			"--reserved-cidrs=" + strings.Join(reserved, ","),
			"--metrics-bind-address=" + metricsAddress,
			"--health-probe-bind-address=" + healthAddress,
			"--leader-elect=false",
		},
		NetNS:        c.NetNS,
		Capabilities: noCapabilities,
	}, readyz(c.NetNS), l.Procs.Start)
}

// StartAgentNode runs the cluster's agent in the role node in a node's box, with more flags if there are any.
func (l *Lab) StartAgentNode(ctx context.Context, cluster, name string, flags ...string) error {
	c, err := l.Cluster(cluster)
	if err != nil {
		return err
	}
	n, err := c.Node(name)
	if err != nil {
		return err
	}
	kubeconfig, err := tokenFile(ctx, c, nodeProcess)
	if err != nil {
		return err
	}
	return l.start(ctx, proc.Spec{
		Name: c.Name + "-" + n.Name + "-" + nodeProcess,
		Path: l.Binaries.Path("tombolo-agent"),
		Args: append([]string{
			"node",
			"--node-name=" + n.Name,
			"--kubeconfig=" + kubeconfig,
			"--ovs=" + n.OVS.DB(),
			"--integration-bridge=br-int",
			"--endpoint-interface=" + node.WANIf,
			"--cni-socket=" + n.CNISocket(),
			"--bpffs=/sys/fs/bpf",
			"--state-dir=" + n.TomboloState(),
			"--metrics-bind-address=" + metricsAddress,
			"--health-probe-bind-address=" + healthAddress,
		}, flags...),
		Capabilities: nodeCapabilities,
	}, readyz(n.NetNS), n.StartProcess)
}

// StopHub ends tombolo-hub in order; one that does not run is fine.
func (l *Lab) StopHub() error { return l.stop(hubProcess) }

// StopAgentController ends a cluster's agent of the role controller in order.
func (l *Lab) StopAgentController(cluster string) error {
	return l.stop(cluster + "-" + controllerProcess)
}

// StopAgentNode ends a node's agent in order.
func (l *Lab) StopAgentNode(cluster, node string) error {
	return l.stop(cluster + "-" + node + "-" + nodeProcess)
}

func (l *Lab) stop(name string) error {
	if p, ok := l.Procs.Find(name); ok {
		return p.Stop(10 * time.Second)
	}
	return nil
}

func (l *Lab) start(ctx context.Context, spec proc.Spec, ready func(context.Context) error,
	start func(context.Context, proc.Spec) (*proc.Process, error)) error {
	ctx, cancel := context.WithTimeout(ctx, tomboloTimeout)
	defer cancel()
	p, err := start(ctx, spec)
	if err != nil {
		return err
	}
	if err := proc.Wait(ctx, spec.Name, p, ready); err != nil {
		return err
	}
	l.logf("%s is ready", spec.Name)
	return nil
}

func readyz(namespace string) func(context.Context) error {
	return kube.Healthy(namespace, "http://"+healthAddress+"/readyz")
}

// tokenFile gives the kubeconfig of one of Tombolo's service accounts in its own cluster.
func tokenFile(ctx context.Context, c *Cluster, account string) (string, error) {
	kubeconfig, err := c.TokenConfig(ctx, systemNamespace, account)
	if err != nil {
		return "", err
	}
	return c.WriteConfig(account, kubeconfig)
}

// addonFile gives the kubeconfig that OCM's registration agent keeps for an
// add-on: subject and groups are those of its csr registration.
func (l *Lab) addonFile(c *Cluster) (string, error) {
	addon := "system:open-cluster-management:cluster:" + c.Name + ":addon:tombolo"
	kubeconfig, err := l.Hub.ClientConfig(addon+":agent:tombolo-agent", []string{
		addon, "system:open-cluster-management:addon:tombolo",
	})
	if err != nil {
		return "", fmt.Errorf("make hub identity of %s: %w", c.Name, err)
	}
	return c.WriteConfig("hub", kubeconfig)
}
