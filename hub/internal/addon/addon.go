// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package addon is Tombolo as an add-on of Open Cluster Management: where a ManagedClusterAddOn `tombolo` is, the agent's
// chart goes to that cluster in a ManifestWork, and the requests of that cluster's OCM agent for Tombolo's identity are
// approved. OCM's addon-framework does the work; what is rendered and what is approved is decided here, by pure functions.
package addon

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	workv1 "open-cluster-management.io/api/work/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/tombolo-io/tombolo/charts"
)

// Names that the add-on has everywhere: on the hub, in the agent's certificate, on the cluster.
const (
	// Name of the ClusterManagementAddOn and of each ManagedClusterAddOn. The agent's Secret is <Name>-hub-kubeconfig.
	Name = "tombolo"
	// AgentName is the last part of the agent's user name.
	AgentName = "tombolo-agent"
	// Namespace of the agent on its cluster.
	Namespace = charts.Namespace
)

// lookAgain is how soon OCM's API is looked for again while the hub cluster does not serve it.
const lookAgain = 5 * time.Second

// Add lets the manager's leader run the add-on as soon as the hub cluster serves OCM's API for add-ons.
func Add(mgr manager.Manager) error {
	chart, err := Load()
	if err != nil {
		return err
	}
	config := rest.CopyConfig(mgr.GetConfig())
	served, err := discovery.NewDiscoveryClientForConfigAndClient(config, mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("make discovery client: %w", err)
	}
	return mgr.Add(&runner{config: config, served: served, chart: chart, live: mgr.GetAPIReader(), log: mgr.GetLogger().WithName("addon")})
}

// runner is what the leader runs.
type runner struct {
	config *rest.Config
	served discovery.ServerResourcesInterface
	chart  *Chart
	live   client.Reader
	log    logr.Logger
}

// Start waits for the API and runs until the context ends.
func (r *runner) Start(ctx context.Context) error {
	if err := r.await(ctx); err != nil {
		return nil //nolint:nilerr // the context has ended, which is no failure
	}
	r.log.Info("the add-on is on", "addon", Name, "chart", r.chart.Version())
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("start the add-on: %w", err)
	}
	<-ctx.Done()
	return nil
}

// await returns when the hub cluster serves what the add-on is made of. Open Cluster Management may come after Tombolo.
func (r *runner) await(ctx context.Context) error {
	last := ""
	return wait.PollUntilContextCancel(ctx, lookAgain, true, func(context.Context) (bool, error) {
		missing := r.missing()
		if missing != "" && missing != last {
			r.log.Info("the add-on waits; clusters can join by kubectl tombolo join meanwhile", "for", missing)
		}
		last = missing
		return missing == "", nil
	})
}

// missing says what the hub cluster does not serve.
func (r *runner) missing() string {
	for _, version := range []string{addonv1beta1.GroupVersion.String(), workv1.GroupVersion.String()} {
		_, err := r.served.ServerResourcesForGroupVersion(version)
		if apierrors.IsNotFound(err) {
			return "API " + version + ", which Open Cluster Management 1.2 and newer has"
		}
		if err != nil {
			return fmt.Sprintf("an answer about API %s: %v", version, err)
		}
	}
	return ""
}
