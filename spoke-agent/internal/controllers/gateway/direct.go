// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/binding"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/fastpath"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

// errNotKnown says that the first list of other nodes, or pods, has not come yet. To act without would cut them off.
var errNotKnown = errors.New("other nodes are not known yet")

// podChanged passes pods of Vpcs that come, go, finish or get another annotation.
func podChanged() predicate.Predicate {
	inVpc := func(o client.Object) bool { _, ok := o.GetAnnotations()[networkv1alpha1.AnnotationNetwork]; return ok }
	return predicate.And(predicate.NewPredicateFuncs(inVpc), predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*corev1.Pod)
		after, same := e.ObjectNew.(*corev1.Pod)
		return !ok || !same || binding.Finished(before) != binding.Finished(after) ||
			before.Annotations[networkv1alpha1.AnnotationNetwork] != after.Annotations[networkv1alpha1.AnnotationNetwork]
	}})
}

// gatherPods reads which pods are plugged here, where other nodes are and, for a gateway, which of them has which pod.
func (r *Reconciler) gatherPods(ctx context.Context, in *gateway.Inputs) error {
	nodes, known := r.Neighbours.Nodes()
	if !known {
		return errNotKnown
	}
	in.Nodes = nodes
	if !r.DirectPath {
		return nil
	}
	if in.Labelled {
		pods, known := r.Neighbours.Pods()
		if !known {
			return errNotKnown
		}
		for _, pod := range pods {
			in.Hosted = append(in.Hosted, gateway.Hosted(pod))
		}
	}
	plugged, err := r.plugged()
	if err != nil || len(plugged) == 0 {
		return err
	}
	attached, err := r.attached(ctx, in.Routers)
	if err != nil {
		return err
	}
	for _, pod := range plugged {
		if a, ok := attached[pod.Port]; ok {
			pod.Attachment = a
			in.Pods = append(in.Pods, pod)
		}
	}
	return nil
}

// plugged are the pods' interfaces that programs may take packets of, with the port that the CNI server has noted as alias. They
// are asked, and not Open vSwitch: what they carry goes on while that is away.
func (r *Reconciler) plugged() ([]gateway.Pod, error) {
	aliases, err := r.Links.Aliases(naming.PodHostEndPrefix)
	if err != nil {
		return nil, fmt.Errorf("list pods' interfaces: %w", err)
	}
	seconds, err := r.Links.List(naming.PodSwitchEndPrefix)
	if err != nil {
		return nil, fmt.Errorf("list pods' interfaces: %w", err)
	}
	var pods []gateway.Pod
	for name, port := range aliases {
		pod := gateway.Pod{HostEnd: name, Attachment: attachment.Attachment{Port: port}}
		if second := naming.PodSwitchEnd(name); slices.Contains(seconds, second) {
			pod.SwitchEnd = second
		}
		pods = append(pods, pod)
	}
	return pods, nil
}

// attached are the attachments of this node's pods, by port. Whoever may edit pods may edit the annotation: it must be this
// pod's, in the Subnet that it is bound to.
func (r *Reconciler) attached(ctx context.Context, routers []spokev1alpha1.LocalRouter) (map[string]attachment.Attachment, error) {
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods); err != nil {
		return nil, fmt.Errorf("list pods of the node: %w", err)
	}
	index, attached := binding.NewIndex(routers), map[string]attachment.Attachment{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		value, ok := pod.Annotations[networkv1alpha1.AnnotationNetwork]
		if !ok || pod.Spec.NodeName != r.Node {
			continue
		}
		a, err := attachment.Parse(value)
		if err != nil || a.Port != naming.PodPort(pod.UID) {
			continue
		}
		namespace := &corev1.Namespace{}
		if err := r.client.Get(ctx, types.NamespacedName{Name: pod.Namespace}, namespace); err != nil {
			if client.IgnoreNotFound(err) != nil {
				return nil, fmt.Errorf("get Namespace: %w", err)
			}
			continue
		}
		bound, err := index.Resolve(pod, namespace)
		if err != nil || bound == nil || bound.SubnetKey() != a.Subnet || naming.VpcKey(bound.Router.Spec.Vpc) != a.Vpc || !inside(bound, a.Address) {
			continue // OVN is left to say what of it may pass
		}
		attached[a.Port] = a
	}
	return attached, nil
}

func inside(b *binding.Binding, address netip.Prefix) bool {
	subnet, err := netip.ParsePrefix(b.Subnet.CIDR)
	return err == nil && subnet.Contains(address.Addr())
}

// send makes a node that is no gateway send for its pods: the same maps and programs, without gateway ports. What it had as a
// gateway goes.
func (r *Reconciler) send(ctx context.Context, routers []spokev1alpha1.LocalRouter, p gateway.Plan) error {
	for name, err := range p.Errors {
		log.FromContext(ctx).Error(err, "Pods of this Vpc do not send by themselves", "router", name)
	}
	if err := r.hold(ctx, routers, p.Ports); err != nil {
		return err
	}
	if err := r.setPaths(ctx, p.Fastpath, p.SlowPath); err != nil {
		return errors.Join(err, r.announceNode(ctx, netip.Addr{}))
	}
	err := r.announceNode(ctx, p.Fastpath.Underlay.Address)
	return errors.Join(err, r.retreat(ctx, routers, func(router string) bool {
		_, unclear := p.Errors[router]
		return unclear || slices.ContainsFunc(p.Ports, func(port gateway.Port) bool { return port.Router == router })
	}))
}

// announceNode tells other nodes, and by the hub other clusters', where to send what is for this node's pods. The programs must be
// there by then. The zero Addr takes it back.
func (r *Reconciler) announceNode(ctx context.Context, address netip.Addr) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.Node}}
	if err := r.client.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
		return fmt.Errorf("get Node %s: %w", r.Node, err)
	}
	before := node.DeepCopy()
	if address.IsValid() {
		metav1.SetMetaDataAnnotation(&node.ObjectMeta, local.AnnotationNodeEndpoint, address.String())
	} else {
		delete(node.Annotations, local.AnnotationNodeEndpoint)
	}
	if before.Annotations[local.AnnotationNodeEndpoint] == node.Annotations[local.AnnotationNodeEndpoint] {
		return nil
	}
	if err := r.client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("announce address %s on Node %s: %w", address, r.Node, err)
	}
	return nil
}

// knownVpcs leaves out what is of Vpcs without a port: one whose interface could not be made has none.
func knownVpcs(config fastpath.Config) fastpath.Config {
	has := func(vni uint32) bool {
		return slices.ContainsFunc(config.Ports, func(p fastpath.Port) bool { return p.VNI == vni })
	}
	config.Pods = slices.DeleteFunc(slices.Clone(config.Pods), func(p fastpath.Pod) bool { return !has(p.VNI) })
	config.Own.Hosts = slices.DeleteFunc(slices.Clone(config.Own.Hosts), func(h fastpath.Host) bool { return !has(h.VNI) })
	return config
}
