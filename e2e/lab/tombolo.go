// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/kube"
	"github.com/tombolo-io/tombolo/e2e/lab/proc"
)

// MetricsPort is where the agent of a node serves metrics, on the node's own address.
const MetricsPort = 9517

// tomboloTimeout bounds the return of pods that were ended.
const tomboloTimeout = 2 * time.Minute

// Container is a running container of Tombolo's.
type Container struct {
	// Cluster, Node and Pod that it runs in.
	Cluster, Node, Pod string
	// Component of Tombolo: hub, controller or node.
	Component string
	// PID on this machine.
	PID int
}

// Containers gives all running containers of Tombolo in a cluster.
func (l *Lab) Containers(ctx context.Context, cluster string) ([]Container, error) {
	c, err := l.Cluster(cluster)
	if err != nil {
		return nil, err
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return nil, err
	}
	var all []Container
	for _, pod := range pods {
		found, err := c.containersOf(pod)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (c *Cluster) containersOf(pod corev1.Pod) ([]Container, error) {
	if pod.Spec.NodeName == "" {
		return nil, nil
	}
	n, err := c.Node(pod.Spec.NodeName)
	if err != nil {
		return nil, err
	}
	pids, err := n.PodProcesses(string(pod.UID))
	if err != nil {
		return nil, err
	}
	var all []Container
	for _, pid := range pids {
		component := pod.Labels["app.kubernetes.io/component"]
		if component == "" {
			component = "hub"
		}
		all = append(all, Container{Cluster: c.Name, Node: n.Name, Pod: pod.Name, Component: component, PID: pid})
	}
	return all, nil
}

// pods are Tombolo's own in a cluster.
func (c *Cluster) pods(ctx context.Context) ([]corev1.Pod, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Pods(charts.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=tombolo"})
	if err != nil {
		return nil, fmt.Errorf("list pods of Tombolo in %s: %w", c.Name, err)
	}
	return list.Items, nil
}

func (c *Cluster) client() (kubernetes.Interface, error) {
	config, err := c.REST()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// KillAgents ends the agents of all spokes without a word, or those that are wanted; the kubelets start them again. It
// gives how many they were.
func (l *Lab) KillAgents(ctx context.Context, wanted func(Container) bool) (int, error) {
	killed := 0
	for _, c := range l.Spokes {
		containers, err := l.Containers(ctx, c.Name)
		if err != nil {
			return killed, err
		}
		for _, container := range containers {
			if wanted != nil && !wanted(container) {
				continue
			}
			if err := syscall.Kill(container.PID, syscall.SIGKILL); err != nil {
				return killed, fmt.Errorf("kill %s of %s: %w", container.Pod, c.Name, err)
			}
			killed++
		}
	}
	return killed, nil
}

// AgentsReady waits until the agents of all spokes are ready.
func (l *Lab) AgentsReady(ctx context.Context) error {
	for _, c := range l.Spokes {
		if err := c.tomboloReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StopHub takes the hub away: its apiserver, and the node that Tombolo's hub runs on.
func (l *Lab) StopHub(ctx context.Context) error {
	errs := []error{l.Hub.Kill(kube.APIServer)}
	for _, n := range l.Hub.Nodes {
		errs = append(errs, n.Stop(ctx))
	}
	return errors.Join(errs...)
}

// StartHub brings back what StopHub took away.
func (l *Lab) StartHub(ctx context.Context) error {
	if err := l.Hub.Start(ctx, kube.APIServer); err != nil {
		return err
	}
	for _, n := range l.Hub.Nodes {
		if err := l.StartNode(ctx, l.Hub.Name, n.Name); err != nil {
			return err
		}
	}
	return l.Hub.tomboloReady(ctx)
}

// tomboloReady waits until every pod that the chart wants is ready, and that by more than hearsay: what the apiserver
// says of a container that was killed just now is out of date.
func (c *Cluster) tomboloReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tomboloTimeout)
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	err = proc.Wait(ctx, "Tombolo's pods in "+c.Name, nil, func(ctx context.Context) error {
		if err := rolledOut(ctx, client); err != nil {
			return err
		}
		pods, err := c.pods(ctx)
		if err != nil {
			return err
		}
		for _, pod := range pods {
			if err := c.runs(pod); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, c.complaints(context.WithoutCancel(ctx)))
	}
	return nil
}

// runs tells whether a pod is ready, and its container the one that its status speaks of.
func (c *Cluster) runs(pod corev1.Pod) error {
	containers, err := c.containersOf(pod)
	if err != nil {
		return err
	}
	if len(containers) == 0 || len(pod.Status.ContainerStatuses) == 0 || !pod.Status.ContainerStatuses[0].Ready {
		return fmt.Errorf("pod %s is not ready: %d processes", pod.Name, len(containers))
	}
	_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
	for _, container := range containers {
		cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", container.PID))
		if err != nil {
			return err
		}
		if !strings.Contains(string(cgroups), id) {
			return fmt.Errorf("pod %s: its status is of a container that has ended", pod.Name)
		}
	}
	return nil
}

// rolledOut tells whether the workloads of Tombolo have all of their pods, of their present template.
func rolledOut(ctx context.Context, client kubernetes.Interface) error {
	deployments, err := client.AppsV1().Deployments(charts.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range deployments.Items {
		if want := *d.Spec.Replicas; d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas != want || d.Status.ReadyReplicas != want || d.Status.Replicas != want {
			return fmt.Errorf("deployment %s has %+v", d.Name, d.Status)
		}
	}
	sets, err := client.AppsV1().DaemonSets(charts.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range sets.Items {
		if !setReady(d) {
			return fmt.Errorf("daemon set %s has %+v", d.Name, d.Status)
		}
	}
	return nil
}

func setReady(d appsv1.DaemonSet) bool {
	want := d.Status.DesiredNumberScheduled
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedNumberScheduled == want && d.Status.NumberReady == want
}

// complaints says what stands against Tombolo's pods, as an error, or nil.
func (c *Cluster) complaints(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, err := c.client()
	if err != nil {
		return err
	}
	pods, err := c.pods(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, pod := range pods {
		if len(pod.Status.ContainerStatuses) > 0 && pod.Status.ContainerStatuses[0].Ready {
			continue
		}
		errs = append(errs, fmt.Errorf("pod %s on node %s of %s: %s %+v", pod.Name, pod.Spec.NodeName, c.Name, pod.Status.Phase, pod.Status.ContainerStatuses))
		if log, err := client.CoreV1().Pods(charts.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(20))}).DoRaw(ctx); err == nil {
			errs = append(errs, fmt.Errorf("its log ends with:\n%s", log))
		}
	}
	events, err := client.CoreV1().Events(charts.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,reason!=MissingClusterDNS"})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, e := range events.Items[max(0, len(events.Items)-10):] {
		errs = append(errs, fmt.Errorf("%s %s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	return errors.Join(errs...)
}
