// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"open-cluster-management.io/api/feature"
	workv1 "open-cluster-management.io/api/work/v1"
	addonv1alpha1 "open-cluster-management.io/ocm/pkg/addon/webhook/v1alpha1"
	addonv1beta1 "open-cluster-management.io/ocm/pkg/addon/webhook/v1beta1"
	"open-cluster-management.io/ocm/pkg/features"
	registrationv1 "open-cluster-management.io/ocm/pkg/registration/webhook/v1"
	registrationv1beta2 "open-cluster-management.io/ocm/pkg/registration/webhook/v1beta2"
	"open-cluster-management.io/ocm/pkg/work/webhook/common"
	workwebhook "open-cluster-management.io/ocm/pkg/work/webhook/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// manifestLimit is OCM's default bound of what one ManifestWork may hold, in bytes.
const manifestLimit = 500 * 1024

// webhooksCommand serves all of OCM's webhooks from one port. OCM's own three
// webhook servers each bind port 8000 of every address, whatever they are told, so
// that no two of them can run in one network namespace.
func webhooksCommand() *cobra.Command {
	var kubeconfig, host, certs, health string
	var port int
	command := &cobra.Command{
		Use:  "webhooks",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := newManager(kubeconfig, health, webhook.Options{Host: host, Port: port, CertDir: certs})
			if err != nil {
				return err
			}
			return m.Start(ctrl.SetupSignalHandler())
		},
	}
	command.Flags().StringVar(&kubeconfig, "kubeconfig", "", "file that tells the cluster and the identity")
	command.Flags().StringVar(&host, "host", "127.0.0.1", "address to serve on")
	command.Flags().IntVar(&port, "port", 9443, "port to serve on")
	command.Flags().StringVar(&certs, "cert-dir", "", "directory with tls.crt and tls.key")
	command.Flags().StringVar(&health, "health-probe-bind-address", "127.0.0.1:9444", "where /readyz is served")
	return command
}

func newManager(kubeconfig, health string, server webhook.Options) (manager.Manager, error) {
	ctrl.SetLogger(klog.NewKlogr())
	// Without them the first ManagedCluster is refused, as a gate that it asks for is not known.
	for _, gates := range []func() error{
		func() error { return features.HubMutableFeatureGate.Add(feature.DefaultHubRegistrationFeatureGates) },
		func() error { return features.HubMutableFeatureGate.Add(feature.DefaultHubWorkFeatureGates) },
	} {
		if err := gates(); err != nil {
			return nil, err
		}
	}
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, clusterv1.Install, registrationv1beta2.Install, workv1.Install, addonv1alpha1.Install, addonv1beta1.Install,
	} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 s,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: health,
		WebhookServer:          webhook.NewServer(server),
	})
	if err != nil {
		return nil, err
	}
	common.ManifestValidator.WithLimit(manifestLimit)
	errs := []error{m.AddReadyzCheck("webhooks", healthz.Checker(m.GetWebhookServer().StartedChecker()))}
	for _, w := range []interface{ Init(manager.Manager) error }{
		&registrationv1.ManagedClusterWebhook{}, &registrationv1beta2.ManagedClusterSetBindingWebhook{},
		&workwebhook.ManifestWorkWebhook{},
		&addonv1alpha1.ManagedClusterAddOnWebhook{}, &addonv1beta1.ManagedClusterAddOnWebhook{},
		&addonv1alpha1.ClusterManagementAddOnWebhook{}, &addonv1beta1.ClusterManagementAddOnWebhook{},
	} {
		errs = append(errs, w.Init(m))
	}
	return m, errors.Join(errs...)
}
