// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tombolo-io/tombolo/apis/informer"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/addonlease"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/options"
)

// Requests per second to this cluster's apiserver, on the average and at once. The apiserver's own priority and
// fairness decides above that; client-go's default of 20 would make a hundred new pods wait for five seconds.
const (
	queriesPerSecond = 200
	queriesAtOnce    = 400
)

// NewCluster is the manager of `tombolo-agent controller`.
func NewCluster(config *rest.Config, o options.Controller, log logr.Logger) (ctrl.Manager, error) {
	m, err := newManager(config, o.Common, log, func(c *ctrl.Options) {
		c.LeaderElection = o.LeaderElect
		c.LeaderElectionID = "tombolo-agent-controller"
		c.LeaderElectionNamespace = local.Namespace
		c.LeaderElectionReleaseOnCancel = true // the process ends with the manager
		c.Cache.ByObject[&corev1.Pod{}] = cache.ByObject{Transform: stripPod}
		c.Cache.ByObject[&corev1.Secret{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{local.Namespace: {}}, Field: fields.OneTermEqualSelector("metadata.name", o.HubSecret),
		}
		c.Cache.ByObject[&coordinationv1.Lease{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{local.Namespace: {}}, Field: fields.OneTermEqualSelector("metadata.name", addonlease.Name),
		}
	})
	if err != nil {
		return nil, err
	}
	return m, AddCluster(m, o)
}

// NewNode is the manager of `tombolo-agent node`. It watches only the pods of its node.
func NewNode(config *rest.Config, o options.Node, log logr.Logger) (ctrl.Manager, error) {
	m, err := newManager(config, o.Common, log, func(c *ctrl.Options) {
		c.Cache.ByObject[&corev1.Pod{}] = cache.ByObject{Transform: stripPod, Field: fields.OneTermEqualSelector("spec.nodeName", o.NodeName)}
		c.Cache.ByObject[&corev1.Node{}] = cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", o.NodeName)}
	})
	if err != nil {
		return nil, err
	}
	return m, AddNode(m, o)
}

func newManager(config *rest.Config, o options.Common, log logr.Logger, modify func(*ctrl.Options)) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = queriesPerSecond, queriesAtOnce
	mine := cache.ByObject{Namespaces: map[string]cache.Config{local.Namespace: {}}}
	leaving := cache.ByObject{Namespaces: map[string]cache.Config{local.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", leave.ConfigMapName)}}}
	managerOptions := ctrl.Options{
		Scheme: scheme, Logger: log, HealthProbeBindAddress: o.HealthProbeBindAddress,
		Metrics:    server.Options{BindAddress: o.MetricsBindAddress},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)}, // a process has one manager; one that tests has several
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			NewInformer:      informer.New,
			ByObject: map[client.Object]cache.ByObject{
				&spokev1alpha1.LocalRouter{}: mine, &spokev1alpha1.InterconnectGateway{}: mine, &corev1.ConfigMap{}: leaving,
			},
		},
	}
	modify(&managerOptions)
	m, err := ctrl.NewManager(config, managerOptions)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	if err := m.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("add health check: %w", err)
	}
	if err := m.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("add ready check: %w", err)
	}
	return m, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, spokev1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	return scheme, nil
}

// NewClient is a client of this cluster that caches nothing, for `tombolo-agent leave`.
func NewClient(config *rest.Config) (client.Client, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return c, nil
}

// stripPod keeps of a pod what binding it to a subnet needs: most of the agent's memory would be the rest.
func stripPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Annotations: pod.Annotations, DeletionTimestamp: pod.DeletionTimestamp, CreationTimestamp: pod.CreationTimestamp,
		},
		Spec:   corev1.PodSpec{NodeName: pod.Spec.NodeName, HostNetwork: pod.Spec.HostNetwork},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, PodIP: pod.Status.PodIP},
	}, nil
}
