// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cni is what the CNI plugin and the node's agent say to each other: one JSON request and
// one JSON response per connection of a unix socket that only root may open.
//
//	container runtime ─▶ tombolo-cni ─Request─▶ agent ─Response─▶ tombolo-cni ─▶ (the delegate plugin) ─▶ runtime
//
// The runtime runs the plugin as root with every capability, which entering a pod's network namespace takes; the agent has
// few (docs/architecture.md). So the agent decides, and the plugin makes the pod's interface:
//
//	ADD ─▶ what interface (link.PodLink) ─▶ link.AddPod in the plugin ─▶ PLUG ─▶ port in the integration bridge, result
package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
)

// Commands of the CNI specification that the agent answers, and CommandPlug, which the plugin calls when it has made the
// interface that ADD asked for.
const (
	CommandAdd    = "ADD"
	CommandDel    = "DEL"
	CommandCheck  = "CHECK"
	CommandGC     = "GC"
	CommandStatus = "STATUS"
	CommandPlug   = "PLUG"
)

// callTimeout bounds a whole call. The agent's own waits are shorter.
const callTimeout = time.Minute

// Request is one call of the container runtime.
type Request struct {
	// Command is one of the Command constants.
	Command string `json:"command"`
	// ContainerID of the sandbox, its network namespace, and the interface's name in it.
	ContainerID string `json:"containerID,omitempty"`
	NetNS       string `json:"netNS,omitempty"`
	IfName      string `json:"ifName,omitempty"`
	// PodNamespace, PodName and PodUID of the sandbox's pod (K8S_POD_… of CNI_ARGS).
	PodNamespace string `json:"podNamespace,omitempty"`
	PodName      string `json:"podName,omitempty"`
	PodUID       string `json:"podUID,omitempty"`
	// ValidAttachments are all that GC must leave.
	ValidAttachments []Attachment `json:"validAttachments,omitempty"`
}

// Attachment is an interface of a sandbox.
type Attachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// LeftSuffix is what the name of the file has behind that of the plugin's program that says that the node's agent has left for good, and has taken
// down all interfaces: then DEL needs no agent.
const LeftSuffix = ".left"

// Response is the agent's answer.
type Response struct {
	// Delegate is true when the delegate plugin is to be called: the pod is in no Vpc.
	Delegate bool `json:"delegate,omitempty"`
	// Link is the interface that the plugin has to make (ADD) or to look at (CHECK); nil when there is nothing to do.
	Link *link.PodLink `json:"link,omitempty"`
	// Result of PLUG: what the pod has now.
	Result *types100.Result `json:"result,omitempty"`
	// Error says what went wrong; empty when nothing did.
	Error string `json:"error,omitempty"`
}

// Call asks the agent at socket.
func Call(ctx context.Context, socket string, request Request) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return Response{}, fmt.Errorf("reach tombolo-agent: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return Response{}, fmt.Errorf("reach tombolo-agent: %w", err)
		}
	}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return Response{}, fmt.Errorf("ask tombolo-agent: %w", err)
	}
	var response Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil {
		return Response{}, fmt.Errorf("read answer of tombolo-agent: %w", err)
	}
	return response, nil
}
