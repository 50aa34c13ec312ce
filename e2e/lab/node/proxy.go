// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"encoding/json"

	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// proxyHealth is where kube-proxy says that it is well, on loopback of the node.
const proxyHealth = "127.0.0.1:10256"

// proxyConfig is a KubeProxyConfiguration, kubeproxy.config.k8s.io/v1alpha1.
func (n *Node) proxyConfig() ([]byte, error) {
	return json.MarshalIndent(map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               "nftables",
		"bindAddress":        n.MgmtIP.Addr().String(),
		"healthzBindAddress": proxyHealth,
		"metricsBindAddress": "127.0.0.1:10249",
		"hostnameOverride":   n.Name,
		"clientConnection":   map[string]any{"kubeconfig": n.file("kube-proxy.kubeconfig")},
		// The machine's table of connections is nobody's to resize.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0},
		"nftables":  map[string]any{"minSyncPeriod": "100ms"},
	}, "", "  ")
}

// startProxy gives pods and the node itself the cluster's Services.
func (n *Node) startProxy(ctx context.Context) error {
	if n.KubeProxy == "" {
		return nil
	}
	args := []string{"--config=" + n.file("kube-proxy.json")}
	return n.ensure(ctx, "kube-proxy", proc.Spec{Path: n.KubeProxy, Args: args}, kube.Healthy(n.NetNS, "http://"+proxyHealth+"/livez"))
}

// routeServices lets the node itself reach Services: addresses are translated
// only of packets that have a route, and nodes of the lab have no default route.
func (n *Node) routeServices(ctx context.Context) error {
	if n.KubeProxy == "" {
		return nil
	}
	_, err := netns.Exec(ctx, n.NetNS, "ip", "route", "replace", n.ServiceCIDR.String(), "dev", ManagementIf)
	return err
}
