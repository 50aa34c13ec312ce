// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package plugin is the CNI plugin: it passes the runtime's call to the agent of the node and makes the interface that the agent
// names, or, for pods that are in no Vpc, passes it to the delegate plugin of its configuration.
//
//	{"type": "tombolo-cni", "socket": "/run/tombolo/cni.sock", "delegate": {"type": "bridge", …}}
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

// defaultSocket is where the agent listens unless told otherwise.
const defaultSocket = "/run/tombolo/cni.sock"

// Versions of the CNI specification that the plugin speaks.
var Versions = version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")

// config is the plugin's own part of the network configuration.
type config struct {
	types.PluginConf
	// Socket of the agent.
	Socket string `json:"socket"`
	// Delegate is the configuration of the plugin for pods that are in no Vpc.
	Delegate map[string]any `json:"delegate"`
}

// Funcs are the plugin's commands.
func Funcs() skel.CNIFuncs {
	return skel.CNIFuncs{
		Add:    add,
		Del:    del,
		Check:  check,
		GC:     func(args *skel.CmdArgs) error { return plain(args, cni.CommandGC, invoke.DelegateGC) },
		Status: func(args *skel.CmdArgs) error { return plain(args, cni.CommandStatus, invoke.DelegateStatus) },
	}
}

// add plugs the pod, or lets the delegate do it.
func add(args *skel.CmdArgs) error {
	c, response, err := ask(args, cni.CommandAdd)
	if err != nil {
		return err
	}
	if response.Link != nil {
		if err := link.AddPod(*response.Link); err != nil {
			return types.NewError(types.ErrInternal, err.Error(), "")
		}
		if _, response, err = ask(args, cni.CommandPlug); err != nil {
			return err
		}
		return types.PrintResult(response.Result, c.CNIVersion)
	}
	name, delegate, err := c.delegate(args.StdinData)
	if err != nil {
		return err
	}
	if name == "" {
		return types.NewError(types.ErrInvalidNetworkConfig, "the pod is in no Vpc, and the CNI configuration has no delegate",
			`give the configuration of the cluster's own network under "delegate", or annotate the pod with tombolo.io/subnet`)
	}
	result, err := invoke.DelegateAdd(context.Background(), name, delegate, nil)
	if err != nil {
		return err
	}
	return types.PrintResult(result, c.CNIVersion)
}

// check looks at the interface that the agent names.
func check(args *skel.CmdArgs) error {
	c, response, err := ask(args, cni.CommandCheck)
	if err != nil || response.Link == nil {
		return delegateIf(args, c, response, err, invoke.DelegateCheck)
	}
	if err := link.CheckPod(*response.Link); err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	return nil
}

// del unplugs the pod. Where the agent has left, the runtime may still call for pods that were plugged before, by the configuration of then: what
// the agent took down is not there any more, which is no failure.
func del(args *skel.CmdArgs) error {
	err := plain(args, cni.CommandDel, invoke.DelegateDel)
	if e, ok := errors.AsType[*types.Error](err); !ok || e.Code != types.ErrTryAgainLater || !left(os.Executable) {
		return err
	}
	var c config
	if err := json.Unmarshal(args.StdinData, &c); err != nil {
		return types.NewError(types.ErrDecodingFailure, "parse network configuration", err.Error())
	}
	host := naming.PodHostEnd(args.ContainerID, args.IfName)
	if err := errors.Join(link.Remove(host), link.Remove(naming.PodSwitchEnd(host))); err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	return delegateIf(args, c, cni.Response{Delegate: true}, nil, invoke.DelegateDel)
}

// left is true when the agent has said, beside the plugin's program, that it is gone for good.
func left(executable func() (string, error)) bool {
	self, err := executable()
	if err != nil {
		return false
	}
	_, err = os.Stat(self + cni.LeftSuffix)
	return err == nil
}

// plain is a command that the agent does alone.
func plain(args *skel.CmdArgs, command string, delegated delegateFunc) error {
	c, response, err := ask(args, command)
	return delegateIf(args, c, response, err, delegated)
}

// delegateFunc is one of package invoke's.
type delegateFunc func(context.Context, string, []byte, invoke.Exec) error

// delegateIf calls the delegate when the agent said so.
func delegateIf(args *skel.CmdArgs, c config, response cni.Response, err error, delegated delegateFunc) error {
	if err != nil || !response.Delegate {
		return err
	}
	name, delegate, err := c.delegate(args.StdinData)
	if err != nil || name == "" { // what no delegate added needs none to go
		return err
	}
	return delegated(context.Background(), name, delegate, nil)
}

// ask reads the configuration and calls the agent.
func ask(args *skel.CmdArgs, command string) (config, cni.Response, error) {
	c := config{Socket: defaultSocket}
	if err := json.Unmarshal(args.StdinData, &c); err != nil {
		return c, cni.Response{}, types.NewError(types.ErrDecodingFailure, "parse network configuration", err.Error())
	}
	var pod struct {
		types.CommonArgs
		K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID types.UnmarshallableString //nolint:revive // the names of CNI_ARGS
	}
	pod.IgnoreUnknown = true
	if err := types.LoadArgs(args.Args, &pod); err != nil {
		return c, cni.Response{}, types.NewError(types.ErrInvalidEnvironmentVariables, "parse CNI_ARGS", err.Error())
	}
	request := cni.Request{
		Command: command, ContainerID: args.ContainerID, NetNS: args.Netns, IfName: args.IfName,
		PodNamespace: string(pod.K8S_POD_NAMESPACE), PodName: string(pod.K8S_POD_NAME), PodUID: string(pod.K8S_POD_UID),
	}
	for _, a := range c.ValidAttachments {
		request.ValidAttachments = append(request.ValidAttachments, cni.Attachment{ContainerID: a.ContainerID, IfName: a.IfName})
	}
	response, err := cni.Call(context.Background(), c.Socket, request)
	if err != nil {
		return c, response, types.NewError(types.ErrTryAgainLater, fmt.Sprintf("tombolo-agent does not answer at %s", c.Socket),
			fmt.Sprintf("%v: is the agent of this node running (tombolo-agent node), with this --cni-socket?", err))
	}
	if response.Error != "" {
		return c, response, types.NewError(types.ErrInternal, response.Error, "")
	}
	return c, response, nil
}

// delegate is the delegate's type and whole configuration; the type is empty when there is no delegate. What the
// runtime adds to ours on the way (name, version, results, valid attachments) is the delegate's too.
func (c config) delegate(stdin []byte) (string, []byte, error) {
	if c.Delegate == nil {
		return "", nil, nil
	}
	name, ok := c.Delegate["type"].(string)
	if !ok || name == "" {
		return "", nil, types.NewError(types.ErrInvalidNetworkConfig, "delegate has no type", `give the delegate plugin's name, as in {"type": "bridge"}`)
	}
	var ours map[string]any
	if err := json.Unmarshal(stdin, &ours); err != nil {
		return "", nil, errors.Join(errors.New("parse network configuration"), err)
	}
	for _, key := range []string{"cniVersion", "name"} {
		if c.Delegate[key] == nil {
			c.Delegate[key] = ours[key]
		}
	}
	for _, key := range []string{"prevResult", "runtimeConfig", "cni.dev/valid-attachments", "cni.dev/attachments"} {
		if value, ok := ours[key]; ok {
			c.Delegate[key] = value
		}
	}
	raw, err := json.Marshal(c.Delegate)
	if err != nil {
		return "", nil, fmt.Errorf("marshal delegate's configuration: %w", err)
	}
	return name, raw, nil
}
