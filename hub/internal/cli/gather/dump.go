// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// Labels of the pods that have something to dump: the chart's.
const (
	labelComponent = "app.kubernetes.io/component"
	componentNode  = "node"
)

// dumps runs the agent's own commands in a node's pod, where it was asked for. The image has no shell, and needs none.
func (c *collector) dumps(ctx context.Context, pod *corev1.Pod) error {
	if pod.Labels[labelComponent] != componentNode || pod.Status.Phase != corev1.PodRunning || len(pod.Spec.Containers) == 0 {
		return nil
	}
	var commands [][]string
	if c.maps {
		commands = append(commands, []string{"dump"})
	}
	if c.flows > 0 {
		commands = append(commands, []string{"flows", "--drops", "--duration=" + c.flows.String()})
	}
	for _, command := range commands {
		c.progress(command[0] + " of " + pod.Name)
		out, err := c.exec(ctx, pod, append([]string{"/usr/bin/tombolo-agent"}, command...))
		if err != nil {
			c.unread(command[0]+" of "+pod.Name, err) // what has come is kept
		}
		if out == "" {
			continue
		}
		if err := c.archive.add(c.file("dumps/"+pod.Spec.NodeName+"."+command[0]+".txt"), out); err != nil {
			return err
		}
	}
	return nil
}

// exec runs a command in the pod's first container.
func (c *collector) exec(ctx context.Context, pod *corev1.Pod, command []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, streamTimeout+c.flows)
	defer cancel()
	request := c.pods.RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: pod.Spec.Containers[0].Name, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	config := c.connection.Config
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
	if err != nil {
		return "", err
	}
	socket, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		return "", err
	}
	executor, err := remotecommand.NewFallbackExecutor(socket, spdy, func(error) bool { return true })
	if err != nil {
		return "", err
	}
	out, complaints := &limited{limit: c.bytes}, &limited{limit: 4 << 10}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: complaints})
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaints.String())
	}
	return out.String(), err
}

// limited keeps the first bytes that are written to it.
type limited struct {
	bytes.Buffer
	limit int
}

func (l *limited) Write(data []byte) (int, error) {
	if room := l.limit - l.Len(); room > 0 {
		l.Buffer.Write(data[:min(room, len(data))])
	}
	return len(data), nil
}

// maxFlows is the longest that flows are recorded.
const maxFlows = time.Minute
