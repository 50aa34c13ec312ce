// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/attachment"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/binding"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/cni"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

const (
	// defaultPatience is shorter than any runtime's own, so that the pod's event carries our reason.
	defaultPatience = 20 * time.Second
	// look is how often the watches' caches are looked at.
	lookInterval = 20 * time.Millisecond
)

// errNotYet wraps reasons to look again.
var errNotYet = errors.New("not yet")

// await looks until the pod is either known to be in no Vpc (nil) or has its annotation. A pod that asks for a Vpc and
// can't join it (yet) never falls back to the cluster's own network.
func (s *Server) await(ctx context.Context, request cni.Request) (*corev1.Pod, attachment.Attachment, error) {
	var pod *corev1.Pod
	var a attachment.Attachment
	var last error
	err := wait.PollUntilContextTimeout(ctx, lookInterval, cmp.Or(s.Patience, defaultPatience), true, func(ctx context.Context) (bool, error) {
		pod, a, last = s.look(ctx, request)
		var bindingError *binding.Error
		if errors.Is(last, errNotYet) || errors.As(last, &bindingError) {
			return false, nil
		}
		return true, last
	})
	if wait.Interrupted(err) {
		return nil, a, fmt.Errorf("attach pod %s/%s: %w", request.PodNamespace, request.PodName, last)
	}
	return pod, a, err
}

// look says what the watches know of the request's pod now. No pod and no error means that it is in no Vpc.
func (s *Server) look(ctx context.Context, request cni.Request) (*corev1.Pod, attachment.Attachment, error) {
	pod, bound, err := s.bind(ctx, request)
	if err != nil || bound == nil {
		return nil, attachment.Attachment{}, err
	}
	value, ok := pod.Annotations[networkv1alpha1.AnnotationNetwork]
	if !ok {
		return nil, attachment.Attachment{}, fmt.Errorf("OVN has given it no address in Subnet %s (%s) %w: look at the Programmed condition of LocalRouter %s/%s; if it is True, the Subnet may be full",
			bound.SubnetKey(), bound.Subnet.CIDR, errNotYet, local.Namespace, bound.Router.Name)
	}
	a, err := attachment.Parse(value)
	if err != nil {
		return nil, a, fmt.Errorf("%w: %w", errNotYet, err)
	}
	// Whoever may edit pods may edit the annotation: it must be this pod's, in the Subnet that it is bound to.
	if a.Port != naming.PodPort(pod.UID) || a.Subnet != bound.SubnetKey() {
		return nil, a, fmt.Errorf("its annotation %s is of port %s in Subnet %s and not of port %s in Subnet %s: %w",
			networkv1alpha1.AnnotationNetwork, a.Port, a.Subnet, naming.PodPort(pod.UID), bound.SubnetKey(), errNotYet)
	}
	return pod, a, nil
}

// isPod is true when the runtime's UID is the pod's. Of a static pod the runtime knows the UID that the kubelet made from its
// file, and the apiserver the one of its mirror, which carries the former in an annotation.
func isPod(pod *corev1.Pod, uid string) bool {
	return string(pod.UID) == uid || pod.Annotations[corev1.MirrorPodAnnotationKey] == uid
}

// bind finds the pod and the subnet that it joins; nil means none.
func (s *Server) bind(ctx context.Context, request cni.Request) (*corev1.Pod, *binding.Binding, error) {
	if request.PodName == "" {
		return nil, nil, nil // no pod of Kubernetes
	}
	pod := &corev1.Pod{}
	err := s.Reader.Get(ctx, types.NamespacedName{Namespace: request.PodNamespace, Name: request.PodName}, pod)
	if client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("get pod: %w", err)
	}
	if err != nil || request.PodUID != "" && !isPod(pod, request.PodUID) {
		return nil, nil, fmt.Errorf("the agent has %w seen pod %s/%s with UID %s: is it still there?", errNotYet, request.PodNamespace, request.PodName, request.PodUID)
	}
	namespace := &corev1.Namespace{}
	if err := s.Reader.Get(ctx, types.NamespacedName{Name: pod.Namespace}, namespace); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return nil, nil, fmt.Errorf("get Namespace: %w", err)
		}
		return nil, nil, fmt.Errorf("the agent has %w seen Namespace %s", errNotYet, pod.Namespace)
	}
	var routers spokev1alpha1.LocalRouterList
	if err := s.Reader.List(ctx, &routers, client.InNamespace(local.Namespace)); err != nil {
		return nil, nil, fmt.Errorf("list LocalRouters: %w", err)
	}
	bound, err := binding.NewIndex(routers.Items).Resolve(pod, namespace)
	return pod, bound, err
}
