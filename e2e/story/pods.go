// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

// Pod is a running pod in a Subnet.
type Pod struct {
	Cluster   *Cluster
	Namespace string
	Name      string
	// Address in its Vpc.
	Address netip.Addr
}

// PodRequest says where a pod is wanted.
type PodRequest struct {
	Namespace, Name string
	// Subnet that the pod joins by annotation; empty: the namespace decides.
	Subnet string
	// Node to run on; empty: the scheduler decides.
	Node string
}

// StartPod creates a pod and waits until it runs. The address is the one that the apiserver shows.
func (c *Cluster) StartPod(ctx context.Context, r PodRequest) (*Pod, error) {
	pod := podFor(r)
	if err := c.Create(ctx, pod); err != nil {
		return nil, fmt.Errorf("create pod %s/%s on %s: %w", r.Namespace, r.Name, c.Name, err)
	}
	what := fmt.Sprintf("pod %s/%s of %s to run", r.Namespace, r.Name, c.Name)
	err := Eventually(ctx, what, func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			return fmt.Errorf("phase %s, address %q, network %q, containers %v", pod.Status.Phase, pod.Status.PodIP,
				pod.Annotations[networkv1alpha1.AnnotationNetwork], c.lastEvents(ctx, pod))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return nil, fmt.Errorf("read address of pod %s/%s: %w", r.Namespace, r.Name, err)
	}
	return &Pod{Cluster: c, Namespace: r.Namespace, Name: r.Name, Address: address}, nil
}

func podFor(r PodRequest) *corev1.Pod {
	annotations := map[string]string{}
	if r.Subnet != "" {
		annotations[networkv1alpha1.AnnotationSubnet] = r.Subnet
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName:                      r.Node,
			TerminationGracePeriodSeconds: new(int64(0)),
			AutomountServiceAccountToken:  new(false),
			Containers: []corev1.Container{{
				Name: "podtool", Image: "tombolo.local/podtool:1", ImagePullPolicy: corev1.PullIfNotPresent,
				SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_RAW"}}},
			}},
		},
	}
}

func (c *Cluster) lastEvents(ctx context.Context, pod *corev1.Pod) []string {
	events, err := c.clientset.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod.Name})
	if err != nil {
		return nil
	}
	var messages []string
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning {
			messages = append(messages, e.Reason+": "+e.Message)
		}
	}
	return messages[max(0, len(messages)-2):]
}

// Delete deletes the pod and waits until it is gone.
func (p *Pod) Delete(ctx context.Context) error {
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}}
	if err := p.Cluster.Client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return p.Cluster.Gone(ctx, object)
}

// Ping sends n echo requests at an interval and returns what came back; no reply is a result, not an error.
func (p *Pod) Ping(ctx context.Context, to netip.Addr, n int, interval time.Duration) (probe.PingReport, error) {
	out, err := p.Cluster.Exec(ctx, p.Namespace, p.Name, "/podtool", "ping", "-json",
		"-c", fmt.Sprint(n), "-i", interval.String(), "-W", "1s", to.String())
	var result probe.PingReport
	if decodeErr := json.Unmarshal([]byte(out), &result); decodeErr != nil {
		return result, fmt.Errorf("ping %s from %s: %w (%q)", to, p.Name, err, out)
	}
	return result, nil
}

// TCP sends n random bytes to the echo server of a pod and compares what comes back; it returns podtool's line.
func (p *Pod) TCP(ctx context.Context, to netip.Addr, n int) (string, error) {
	return p.Cluster.Exec(ctx, p.Namespace, p.Name, "/podtool", "tcp", "-bytes", fmt.Sprint(n), netip.AddrPortFrom(to, 8080).String())
}

// MustReach fails unless every echo request is answered, with the TTL when one is given.
func (p *Pod) MustReach(ctx context.Context, to *Pod, ttl int) (probe.PingReport, error) {
	result, err := p.Ping(ctx, to.Address, 5, 20*time.Millisecond)
	if err != nil {
		return result, err
	}
	if result.Received != result.Sent {
		return result, fmt.Errorf("%s reached %s (%s) with %d of %d packets", p.Name, to.Name, to.Address, result.Received, result.Sent)
	}
	if ttl != 0 && result.TTL != ttl {
		return result, fmt.Errorf("%s reached %s with ttl=%d, want %d", p.Name, to.Name, result.TTL, ttl)
	}
	return result, nil
}

// MustNotReach fails when any of ten echo requests over half a second is answered.
func (p *Pod) MustNotReach(ctx context.Context, to netip.Addr) error {
	result, err := p.Ping(ctx, to, 10, 50*time.Millisecond)
	if err != nil {
		return err
	}
	if result.Sent != 10 || result.Received != 0 {
		return fmt.Errorf("%s must not reach %s: sent %d, received %d", p.Name, to, result.Sent, result.Received)
	}
	return nil
}
