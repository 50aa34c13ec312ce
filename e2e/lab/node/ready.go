// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tombolo-io/tombolo/e2e/lab/netns"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// healthzPort of the kubelet, on loopback of the node.
const healthzPort = 10248

// healthy asks the kubelet itself, as kubelets are asked everywhere.
func (n *Node) healthy(ctx context.Context) error {
	transport := &http.Transport{DialContext: netns.DialContext(n.NetNS), DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/healthz", healthzPort), nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("kubelet's healthz says %s", response.Status)
	}
	return nil
}

// WaitReady waits until the cluster's apiserver shows the Node as Ready. It asks
// with the kubelet's own identity from the node's own network.
func (n *Node) WaitReady(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", n.file("kubelet.kubeconfig"))
	if err != nil {
		return fmt.Errorf("wait for node %s: %w", n.Name, err)
	}
	config.Dial = netns.DialContext(n.NetNS)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("wait for node %s: %w", n.Name, err)
	}
	kubelet, ok := n.Process("kubelet")
	if !ok {
		return fmt.Errorf("wait for node %s: its kubelet does not run; %s", n.Name, n.Dir.LastWords(n.process("kubelet")))
	}
	return proc.Wait(ctx, "node "+n.Name, kubelet, func(ctx context.Context) error {
		object, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range object.Status.Conditions {
			if c.Type != corev1.NodeReady {
				continue
			}
			if c.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("not Ready: %s: %s", c.Reason, c.Message)
		}
		return fmt.Errorf("no condition Ready yet")
	})
}
