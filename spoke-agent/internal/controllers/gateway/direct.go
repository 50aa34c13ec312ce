// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	"github.com/tombolo-io/tombolo/spoke-agent/internal/link"
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
	if in.Labelled {
		pods, known := r.Neighbours.Pods()
		if !known {
			return errNotKnown
		}
		for _, pod := range pods {
			in.Hosted = append(in.Hosted, gateway.Hosted(pod))
		}
	}
	if !r.DirectPath {
		return nil
	}
	plugged, err := r.plugged()
	if err != nil {
		return err
	}
	r.ports = map[string]string{}
	for _, pod := range plugged {
		r.ports[pod.HostEnd] = pod.Port
	}
	if len(plugged) == 0 {
		return nil
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
		if err != nil || bound == nil || bound.SubnetKey() != a.Subnet || naming.VpcKey(bound.Router.Spec.Vpc) != a.Vpc || !fits(a, bound.Subnet) {
			continue // OVN is left to say what of it may pass
		}
		attached[a.Port] = a
	}
	return attached, nil
}

// fits is true for an interface as a pod of the subnet may have it.
func fits(a attachment.Attachment, subnet *spokev1alpha1.RouterSubnet) bool {
	cidr, err := netip.ParsePrefix(subnet.CIDR)
	mac, macErr := net.ParseMAC(a.MAC)
	return err == nil && macErr == nil && len(mac) == 6 && mac[0]&1 == 0 && a.Gateway.Is4() && cidr.Contains(a.Address.Addr())
}

// send makes a node that is no gateway send for its pods: the same maps and programs, without gateway ports. What it had as a
// gateway goes.
func (r *Reconciler) send(ctx context.Context, in gateway.Inputs, p gateway.Plan) error {
	for name, err := range p.Errors {
		log.FromContext(ctx).Error(err, "Pods of this Vpc do not send by themselves", "router", name)
	}
	if err := r.hold(ctx, in.Routers, p.Ports); err != nil {
		return err
	}
	if err := r.setDirect(ctx, p.Fastpath, p.SlowPath); err != nil {
		return err
	}
	return r.retreat(ctx, in, p.Echoes, func(router string) bool {
		_, unclear := p.Errors[router]
		return unclear || slices.ContainsFunc(p.Ports, func(port gateway.Port) bool { return port.Router == router })
	})
}

// setDirect is setPaths, and what others are told of it: that the programs know a pod no more before they forget it, and that they
// know it afterwards.
func (r *Reconciler) setDirect(ctx context.Context, config fastpath.Config, slow link.SlowPath) error {
	r.tryWithdraw(ctx, config)
	if err := r.setPaths(ctx, config, slow); err != nil {
		return err
	}
	r.confirm(ctx, config)
	return nil
}

// tryWithdraw is withdraw where an apiserver that is away must keep no program from being set, or removed.
func (r *Reconciler) tryWithdraw(ctx context.Context, config fastpath.Config) {
	if err := r.withdraw(ctx, config); err != nil {
		log.FromContext(ctx).Error(err, "Gateways may go on to send here")
	}
}

// withdraw takes back what the programs will not know any more.
func (r *Reconciler) withdraw(ctx context.Context, config fastpath.Config) error {
	return r.markPods(ctx, config, func(have, want string) (string, bool) { return "", have != "" && have != want })
}

// confirm says what the programs know. A node that sends no more takes its address back last: without it the gateways take
// nothing from it.
func (r *Reconciler) confirm(ctx context.Context, config fastpath.Config) {
	address := config.Underlay.Address
	if !r.DirectPath {
		address = netip.Addr{}
	}
	err := errors.Join(r.announceNode(ctx, address),
		r.markPods(ctx, config, func(have, want string) (string, bool) { return want, want != "" && have != want }))
	if err != nil {
		log.FromContext(ctx).Error(err, "Gateways do not know yet what they may send here")
	}
}

// markPods says on pods of this node whether the programs of config know them, where change says so of what a pod has and should
// have.
func (r *Reconciler) markPods(ctx context.Context, config fastpath.Config, change func(have, want string) (string, bool)) error {
	known := map[string]bool{}
	for _, pod := range config.Pods {
		known[r.ports[pod.Interface]] = true
	}
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods); err != nil {
		return fmt.Errorf("list pods of the node: %w", err)
	}
	var errs []error
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Spec.NodeName != r.Node {
			continue
		}
		want := ""
		if known[naming.PodPort(pod.UID)] {
			want = config.Underlay.Address.String()
		}
		value, changes := change(pod.Annotations[local.AnnotationDirectPath], want)
		if changes {
			errs = append(errs, r.markPod(ctx, pod, value))
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) markPod(ctx context.Context, pod *corev1.Pod, value string) error {
	before := pod.DeepCopy()
	if value == "" {
		delete(pod.Annotations, local.AnnotationDirectPath)
	} else {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, local.AnnotationDirectPath, value)
	}
	if err := r.client.Patch(ctx, pod, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("mark pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
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
