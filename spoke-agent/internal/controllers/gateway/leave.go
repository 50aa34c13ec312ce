// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/tunnelprobe"
)

// marks are all that the agent writes on its Node.
var marks = []string{
	local.AnnotationAgent, local.AnnotationNodeEndpoint, local.AnnotationGatewayEndpoint, local.AnnotationGatewayPublicKey,
	local.AnnotationGatewayWireGuardPort,
}

// mark says on the Node that something of Tombolo may be there, before anything is. Without it nobody waits for the node when Tombolo leaves.
func (r *Reconciler) mark(ctx context.Context, node *corev1.Node) error {
	if node.Annotations[local.AnnotationAgent] == version.Version {
		return nil
	}
	before := node.DeepCopy()
	if node.Annotations == nil {
		node.Annotations = map[string]string{}
	}
	node.Annotations[local.AnnotationAgent] = version.Version
	if err := r.client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("mark Node %s: %w", r.Node, err)
	}
	return nil
}

// leave takes down all that is on the node, once, and then rests. Pods of Vpcs that still run lose their network.
func (r *Reconciler) leave(ctx context.Context, s leave.State) error {
	if slices.Contains(s.Nodes, r.Node) {
		return nil
	}
	if err := r.clear(ctx); err != nil {
		return errors.Join(err, leave.NodeProblem(ctx, r.client, r.Node, err))
	}
	log.FromContext(ctx).Info("Nothing of Tombolo is left on this node")
	return leave.NodeDone(ctx, r.client, r.Node)
}

// clear takes down everything: first what lets new pods in, then what carries packets, then interfaces and the private key, and last what
// says that anything was there. Each step does nothing when it was done before.
func (r *Reconciler) clear(ctx context.Context) error {
	if r.Uninstall != nil {
		if err := r.Uninstall(ctx); err != nil {
			return err
		}
	}
	if err := r.withdraw(ctx, fastpath.Config{}); err != nil {
		return fmt.Errorf("take back what pods of this node are said to send by: %w", err)
	}
	if err := errors.Join(r.Prober.Set(nil), r.Echoes.Set(tunnelprobe.Config{})); err != nil {
		return fmt.Errorf("end probes: %w", err)
	}
	r.metrics.describe(nil)
	r.metrics.describeEchoes(nil)
	if err := r.Links.RemoveSlowPath(); err != nil { // before its guards
		return err
	}
	if err := r.clearPrograms(ctx); err != nil {
		return err
	}
	if err := r.clearLinks(ctx); err != nil {
		return err
	}
	if err := r.Tunnel.Remove(naming.Tunnel); err != nil {
		return err
	}
	if r.ForgetKeys != nil {
		if err := r.ForgetKeys(); err != nil {
			return err
		}
	}
	r.Keys.Reset()
	return r.unmark(ctx)
}

// clearPrograms removes programs, maps and their pins. Who can't look says so, but where there can be none.
func (r *Reconciler) clearPrograms(ctx context.Context) error {
	had, err := r.hasPrograms(nil)
	if err != nil {
		return err
	}
	programs, err := r.Fastpath.Get(ctx)
	if err != nil && !had && noneCanBe(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for programs and maps: %w", err)
	}
	if err := programs.Remove(); err != nil {
		return fmt.Errorf("remove fast path: %w", err)
	}
	r.Fastpath.Reset()
	r.metrics.describePods(0)
	return nil
}

// noneCanBe is true for what keeps programs from being on a node, of this agent or of one before it: a kernel without the hooks, and a path
// where nothing can be pinned. A capability that is missing, pins of another build and all that is not known keep only this agent from looking.
func noneCanBe(err error) bool {
	return errors.Is(err, fastpath.ErrKernelTooOld) || errors.Is(err, fastpath.ErrNoBPFFS)
}

// clearLinks takes our ports out of Open vSwitch, and removes our interfaces with their other ends in bridge and pods. Without interfaces,
// an Open vSwitch that is not there is none of our business.
func (r *Reconciler) clearLinks(ctx context.Context) error {
	ends, err := r.gatewayEnds()
	if err != nil {
		return err
	}
	for _, prefix := range []string{naming.PodHostEndPrefix, naming.PodSwitchEndPrefix} {
		pods, err := r.Links.List(prefix)
		if err != nil {
			return fmt.Errorf("list pods' interfaces: %w", err)
		}
		ends = append(ends, pods...)
	}
	vswitch, err := r.Vswitch.Get(ctx)
	if err != nil {
		if len(ends) > 0 {
			return err
		}
		return nil
	}
	ports, err := vswitch.Ports(ctx)
	if err != nil {
		return err
	}
	for _, port := range ports {
		if err := vswitch.DelPort(ctx, r.Bridge, port.Interface); err != nil {
			return err
		}
	}
	for _, end := range ends {
		if err := r.Links.Remove(end); err != nil {
			return err
		}
	}
	return nil
}

// unmark takes off the Node what the agent has written there.
func (r *Reconciler) unmark(ctx context.Context) error {
	node := &corev1.Node{}
	if err := r.client.Get(ctx, types.NamespacedName{Name: r.Node}, node); err != nil {
		return fmt.Errorf("get Node %s: %w", r.Node, err)
	}
	before := node.DeepCopy()
	for _, name := range marks {
		delete(node.Annotations, name)
	}
	if len(before.Annotations) == len(node.Annotations) {
		return nil
	}
	if err := r.client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("unmark Node %s: %w", r.Node, err)
	}
	return nil
}
