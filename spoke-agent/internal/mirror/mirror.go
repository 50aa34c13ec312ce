// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mirror keeps this cluster's copies of what the hub tells it, and tells the hub what became
// of them. It is the only part of the agent that talks to the hub.
//
//	hub: LocalRouters of namespace <cluster>    ──spec──▶  copies in tombolo-system of this cluster
//	     InterconnectGateways of all namespaces ◀─status─
//
// The hub may be away, at the start or later, for any time: nothing in the cluster waits for it.
// A copy is only ever removed by the tombstone (deletionTimestamp) of the object that it is the copy
// of, found by UID; that an object is not there is never an argument. An older generation never
// replaces a newer one that says something else.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/tombolo-io/tombolo/apis/informer"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
)

// kubeconfigPoll is how often the hub's kubeconfig is read: the add-on's registration may write it late, or anew.
const kubeconfigPoll = 5 * time.Second

// Requests per second to the hub's apiserver, on the average and at once. The apiserver's own priority and fairness decides
// above that; with client-go's default of 5 a cluster of a hundred Vpcs would need twenty seconds to report them.
const (
	hubQueriesPerSecond = 50
	hubQueriesAtOnce    = 100
)

// Mirror runs beside the spoke's manager and never stops it.
type Mirror struct {
	// Cluster is the name of this cluster: its namespace on the hub.
	Cluster string
	// Spoke is this cluster.
	Spoke cluster.Cluster
	// HubKubeconfig is the path of the hub's kubeconfig. It need not be there yet.
	HubKubeconfig string
	// Changed gives a value when the kubeconfig has changed. Without it, or its values, the file is looked at every few seconds.
	Changed <-chan struct{}
	// Herald tells people what keeps the mirror from its work.
	Herald *herald.Herald
	// ReservedCIDRs are the cluster's own ranges that no Node tells: services, nodes.
	ReservedCIDRs []string
	// Leave says whether the cluster leaves the fleet.
	Leave *leave.Reader
	// Works is an error while the agent does not follow its own cluster: then the hub is not told that it does. Without it the hub is told
	// nothing of the kind.
	Works func() error
	// Log of the mirror.
	Log logr.Logger
}

// NeedLeaderElection makes one agent per cluster speak for it.
func (m *Mirror) NeedLeaderElection() bool { return true }

// Start mirrors until ctx ends. Whatever happens to the hub is no error of the cluster's.
func (m *Mirror) Start(ctx context.Context) error {
	offerMetrics()
	conn := &connection{log: m.Log}
	for ctx.Err() == nil {
		now, err := fingerprint(m.HubKubeconfig)
		if err != nil {
			conn.set(err)
		} else {
			err = m.session(ctx, conn, now)
			if errors.Is(err, errChanged) {
				continue
			}
			if err != nil && ctx.Err() == nil {
				conn.set(err)
			}
		}
		select {
		case <-ctx.Done():
		case <-m.Changed:
		case <-time.After(kubeconfigPoll):
		}
	}
	return nil
}

// errChanged ends a session whose kubeconfig is another one now.
var errChanged = errors.New("the hub's kubeconfig has changed")

// session mirrors with one kubeconfig, until that changes.
func (m *Mirror) session(ctx context.Context, conn *connection, kubeconfig string) error {
	config, err := hubConfig(m.HubKubeconfig)
	if err != nil {
		return err
	}
	conn.watch(config)
	hub, err := newHub(config, m.Spoke, m.Cluster, conn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go m.cancelWhenChanged(ctx, cancel, kubeconfig)
	err = m.run(ctx, hub, conn)
	if cause := context.Cause(ctx); errors.Is(cause, errChanged) {
		return cause
	}
	return err
}

// hubConfig is how the hub is reached.
func hubConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("parse --hub-kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = hubQueriesPerSecond, hubQueriesAtOnce
	return config, nil
}

// cancelWhenChanged cancels when the kubeconfig has other content. One that can't be read is no change.
func (m *Mirror) cancelWhenChanged(ctx context.Context, cancel context.CancelCauseFunc, old string) {
	ticker := time.NewTicker(kubeconfigPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-m.Changed:
		}
		if now, err := fingerprint(m.HubKubeconfig); err == nil && now != old {
			cancel(errChanged)
			return
		}
	}
}

// newHub is the hub as far as this cluster may see it. The kinds are known, so no discovery is needed and a hub that
// is away delays nothing.
func newHub(config *rest.Config, spoke cluster.Cluster, name string, conn *connection) (cluster.Cluster, error) {
	hub, err := cluster.New(config, func(o *cluster.Options) {
		o.Scheme = spoke.GetScheme()
		o.Logger = conn.log
		o.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return staticMapper(), nil }
		o.Cache.NewInformer = informer.New
		o.Cache.ByObject = map[client.Object]cache.ByObject{
			&spokev1alpha1.LocalRouter{}:         {Namespaces: map[string]cache.Config{name: {}}},
			&spokev1alpha1.InterconnectGateway{}: {Transform: withoutOthers(name)},
		}
		o.Cache.DefaultTransform = cache.TransformStripManagedFields()
		o.Cache.DefaultWatchErrorHandler = func(_ context.Context, r *toolscache.Reflector, err error) {
			if conn.up() && !errors.Is(err, context.Canceled) {
				conn.log.Info("The hub refuses a watch", "kind", r.TypeDescription(), "error", err.Error())
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("make hub client: %w", err)
	}
	return hub, nil
}

func staticMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{spokev1alpha1.GroupVersion})
	leases := coordinationv1.SchemeGroupVersion
	mapper.AddSpecific(leases.WithKind("Lease"), leases.WithResource("leases"), leases.WithResource("lease"), meta.RESTScopeNamespace)
	for kind, plural := range map[string]string{"LocalRouter": "localrouters", "InterconnectGateway": "interconnectgateways"} {
		gv := spokev1alpha1.GroupVersion
		for _, kind := range []string{kind, kind + "List"} { // a cache of one namespace asks for the list's kind
			mapper.AddSpecific(gv.WithKind(kind), gv.WithResource(plural), gv.WithResource(plural[:len(plural)-1]), meta.RESTScopeNamespace)
		}
	}
	return mapper
}
