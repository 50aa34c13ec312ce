// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package server is the process of the hub: its connection to the API server, its cache, its leader's lease, its
// probes, and all controllers on top.
package server

import (
	"fmt"
	"net/http"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tombolo-io/tombolo/apis/informer"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/hub/internal/addon"
	"github.com/tombolo-io/tombolo/hub/internal/controllers"
	"github.com/tombolo-io/tombolo/hub/internal/distribute"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/options"
)

// New makes the hub, ready to start.
func New(config *rest.Config, o options.Options, log logr.Logger) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = o.KubeAPIQPS, o.KubeAPIBurst
	config.UserAgent = "tombolo-hub"
	config.Wrap(metrics.CountBytes)
	mgr, err := manager.New(config, manager.Options{
		Scheme:                        scheme,
		Logger:                        log,
		Cache:                         cacheOptions(),
		Client:                        client.Options{Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(true)}},
		NewClient:                     newClient,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsBindAddress},
		HealthProbeBindAddress:        o.HealthProbeBindAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              "tombolo-hub",
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // main ends when the manager does
	})
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	if err := probes(mgr); err != nil {
		return nil, err
	}
	if o.AddOn {
		if err := addon.Add(mgr); err != nil {
			return nil, fmt.Errorf("add the add-on: %w", err)
		}
	}
	return mgr, controllers.Add(mgr)
}

// Config connects to the cluster of the kubeconfig, or to the one that the pod runs in.
func Config(o options.Options) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q (empty: that of the pod): %w", o.Kubeconfig, err)
	}
	return config, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for group, add := range map[string]func(*runtime.Scheme) error{
		"core":                corev1.AddToScheme,
		"rbac":                rbacv1.AddToScheme,
		"certificates":        certificatesv1.AddToScheme,
		"coordination":        coordinationv1.AddToScheme,
		"OCM cluster/v1":      clusterv1.Install,
		"OCM cluster/v1beta1": clusterv1beta1.Install,
		"network.tombolo.io":  networkv1alpha1.AddToScheme,
		"spoke.tombolo.io":    spokev1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds of %s: %w", group, err)
		}
	}
	return scheme, nil
}

// cacheOptions keep out of memory what is never read: who wrote which field, bindings that are not ours, requests for
// certificates of other kinds, service accounts that invite nobody, and leases of others; and what is not the hub's: in a cluster that is a member of a fleet, its
// own or another's, the copies of the agent.
func cacheOptions() cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(distribute.OurLabels)}
	distributed := cache.ByObject{Field: fields.OneTermNotEqualSelector("metadata.namespace", charts.Namespace)}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		NewInformer:      informer.New,
		ByObject: map[client.Object]cache.ByObject{
			&spokev1alpha1.LocalRouter{}:                distributed,
			&spokev1alpha1.InterconnectGateway{}:        distributed,
			&rbacv1.RoleBinding{}:                       ours,
			&rbacv1.ClusterRoleBinding{}:                ours,
			&certificatesv1.CertificateSigningRequest{}: {Field: fields.OneTermEqualSelector("spec.signerName", spokev1alpha1.AgentSigner)},
			&corev1.ServiceAccount{}:                    {Namespaces: map[string]cache.Config{invitation.Namespace: {}}},
			&coordinationv1.Lease{}:                     {Field: fields.OneTermEqualSelector("metadata.name", spokev1alpha1.LeaseName)},
		},
	}
}

func newClient(config *rest.Config, opts client.Options) (client.Client, error) {
	c, err := client.New(config, opts)
	if err != nil {
		return nil, err
	}
	return metrics.Count(c), nil
}

// probes: alive is who answers, ready is who has seen the whole hub, leader or not.
func probes(mgr manager.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health probe: %w", err)
	}
	synced := func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return fmt.Errorf("cache is not filled yet")
		}
		return nil
	}
	if err := mgr.AddReadyzCheck("cache", synced); err != nil {
		return fmt.Errorf("add readiness probe: %w", err)
	}
	return nil
}
