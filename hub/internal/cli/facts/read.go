// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// pageSize is how many objects one request asks for.
const pageSize = 500

// Depth says how much is read.
type Depth int

const (
	// Brief is what a status needs.
	Brief Depth = iota
	// Full is what a diagnosis needs: pods, nodes, events, CRDs and the agent's identity too.
	Full
)

// NoTombolo is the error of a cluster that has nothing of Tombolo.
type NoTombolo struct{ Context, Server string }

func (e *NoTombolo) Error() string {
	return fmt.Sprintf("context %q (%s) has nothing of Tombolo: the kinds of network.tombolo.io (a hub) and spoke.tombolo.io (a cluster) are not installed there: "+
		"choose another with --context, or install a chart (docs/install.md)", e.Context, e.Server)
}

// reading fills facts from many goroutines.
type reading struct {
	client client.Reader
	mu     sync.Mutex
	facts  *Facts
}

// Read looks at the cluster. It fails when the cluster does not answer, or has nothing of Tombolo.
func Read(ctx context.Context, c *Connection, depth Depth) (*Facts, error) {
	f := &Facts{Context: c.Context, Server: c.Config.Host}
	server, at, err := c.serverTime(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach API server %s: %w", c.Config.Host, err)
	}
	f.ServerVersion, f.Now, f.ServerTime = server.GitVersion, time.Now(), at
	if f.Hub, err = installed(c.Client, networkv1alpha1.GroupVersion.WithKind("Vpc")); err != nil {
		return nil, err
	}
	spoke, err := installed(c.Client, spokev1alpha1.GroupVersion.WithKind("LocalRouter"))
	if err != nil {
		return nil, err
	}
	if !f.Hub && !spoke {
		return nil, &NoTombolo{Context: c.Context, Server: c.Config.Host}
	}
	r := &reading{client: c.Client, facts: f}
	r.both(ctx, depth)
	f.Cluster = spoke && (!f.Hub || f.Deployment(AgentDeployment) != nil || f.Own() != nil)
	if f.Hub {
		r.hub(ctx)
	}
	if f.Cluster && depth == Full {
		r.cluster(ctx)
	}
	slices.SortFunc(f.Unread, func(a, b Unread) int { return strings.Compare(a.What, b.What) })
	return f, ctx.Err()
}

func installed(c client.Client, kind schema.GroupVersionKind) (bool, error) {
	_, err := c.RESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find kinds: %w", err)
	}
	return true, nil
}

// both reads what there is on either side.
func (r *reading) both(ctx context.Context, depth Depth) {
	f, system := r.facts, client.InNamespace(Namespace)
	reads := []func(){
		func() { list(ctx, r, "localrouters", &spokev1alpha1.LocalRouterList{}, &f.Routers) },
		func() {
			list(ctx, r, "interconnectgateways", &spokev1alpha1.InterconnectGatewayList{}, &f.Gateways)
		},
		func() {
			list(ctx, r, "deployments in "+Namespace, &appsv1.DeploymentList{}, &f.Deployments, system)
		},
		func() {
			list(ctx, r, "leases in "+Namespace, &coordinationv1.LeaseList{}, &f.Leases, system)
		},
	}
	if depth == Full {
		reads = append(reads,
			func() {
				list(ctx, r, "daemonsets in "+Namespace, &appsv1.DaemonSetList{}, &f.DaemonSets, system)
			},
			func() { list(ctx, r, "pods in "+Namespace, &corev1.PodList{}, &f.Pods, system) },
			func() {
				list(ctx, r, "events", &corev1.EventList{}, &f.Events, client.MatchingFields{"type": corev1.EventTypeWarning})
			},
			func() { r.crds(ctx) },
		)
	}
	together(reads...)
}

// hub reads what people wrote, and the fleet.
func (r *reading) hub(ctx context.Context) {
	f := r.facts
	var leases, beats []coordinationv1.Lease
	together(
		func() { list(ctx, r, "fleets", &networkv1alpha1.FleetList{}, &f.Fleets) },
		func() { list(ctx, r, "ippools", &networkv1alpha1.IPPoolList{}, &f.Pools) },
		func() { list(ctx, r, "ipaddresses", &networkv1alpha1.IPAddressList{}, &f.Addresses) },
		func() { list(ctx, r, "vpcs", &networkv1alpha1.VpcList{}, &f.Vpcs) },
		func() { list(ctx, r, "subnets", &networkv1alpha1.SubnetList{}, &f.Subnets) },
		func() { list(ctx, r, "vpcpeerings", &networkv1alpha1.VpcPeeringList{}, &f.Peerings) },
		func() { list(ctx, r, "managedclusters", &clusterv1.ManagedClusterList{}, &f.ManagedClusters) },
		func() { list(ctx, r, "placements", &clusterv1beta1.PlacementList{}, &f.Placements) },
		func() { list(ctx, r, "placementdecisions", &clusterv1beta1.PlacementDecisionList{}, &f.Decisions) },
		func() {
			list(ctx, r, "managedclusteraddons", &addonv1alpha1.ManagedClusterAddOnList{}, &f.AddOns)
		},
		func() { r.managementAddOn(ctx) },
		func() {
			list(ctx, r, "leases of clusters", &coordinationv1.LeaseList{}, &leases, client.MatchingFields{"metadata.name": ClusterLease})
		},
		func() {
			list(ctx, r, "leases of agents", &coordinationv1.LeaseList{}, &beats, client.MatchingFields{"metadata.name": AddOn})
		},
	)
	f.AddOns = slices.DeleteFunc(f.AddOns, func(a addonv1alpha1.ManagedClusterAddOn) bool { return a.Name != AddOn })
	f.Leases = append(f.Leases, slices.DeleteFunc(append(leases, beats...), func(l coordinationv1.Lease) bool { return l.Namespace == Namespace })...)
}

// cluster reads what only a cluster with an agent has.
func (r *reading) cluster(ctx context.Context) {
	f := r.facts
	together(
		func() { list(ctx, r, "nodes", &corev1.NodeList{}, &f.Nodes) },
		func() { list(ctx, r, "namespaces", &corev1.NamespaceList{}, &f.Namespaces) },
		func() { r.identity(ctx) },
	)
	r.boundPods(ctx)
}

func together(reads ...func()) {
	var wait sync.WaitGroup
	for _, read := range reads {
		wait.Go(read)
	}
	wait.Wait()
}

// list reads all objects of a kind, page by page. A kind that is not installed has none.
func list[O any](ctx context.Context, r *reading, what string, empty client.ObjectList, into *[]O, options ...client.ListOption) {
	var found []O
	err := pages(ctx, r.client, empty, func(page client.ObjectList) error {
		return meta.EachListItem(page, func(item runtime.Object) error {
			found = append(found, *any(item).(*O))
			return nil
		})
	}, options...)
	if meta.IsNoMatchError(err) {
		return
	}
	r.unread(what, err)
	*into = found
}

// pages calls each with each page of a list.
func pages(ctx context.Context, c client.Reader, empty client.ObjectList, each func(client.ObjectList) error, options ...client.ListOption) error {
	next := ""
	for {
		page := empty.DeepCopyObject().(client.ObjectList)
		if err := c.List(ctx, page, append(options, client.Limit(pageSize), client.Continue(next))...); err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}

func (r *reading) unread(what string, err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts.Unread = append(r.facts.Unread, Unread{What: what, Why: err.Error()})
}

func (r *reading) crds(ctx context.Context) {
	for _, name := range CRDNames() {
		var crd apiextensionsv1.CustomResourceDefinition
		err := r.client.Get(ctx, client.ObjectKey{Name: name}, &crd)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			r.unread("customresourcedefinitions", err)
			return
		}
		r.facts.CRDs = append(r.facts.CRDs, crd)
	}
}

func (r *reading) managementAddOn(ctx context.Context) {
	var addOn addonv1alpha1.ClusterManagementAddOn
	err := r.client.Get(ctx, client.ObjectKey{Name: AddOn}, &addOn)
	switch {
	case err == nil:
		r.facts.ManagementAddOn = &addOn
	case !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err):
		r.unread("clustermanagementaddons", err)
	}
}

// identity tells of the agent's Secret what may be told.
func (r *reading) identity(ctx context.Context) {
	var secret corev1.Secret
	err := r.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: HubSecret}, &secret)
	switch {
	case err == nil:
		r.facts.Identity = IdentityOf(&secret)
	case !apierrors.IsNotFound(err):
		r.unread("secrets in "+Namespace, err)
	}
}

// IdentityOf is what can be told of a Secret with a client certificate without telling it.
func IdentityOf(secret *corev1.Secret) *Identity {
	identity := &Identity{Keys: slices.Sorted(maps.Keys(secret.Data)), Cluster: string(secret.Data["cluster-name"])}
	block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
	if block == nil {
		identity.Problem = "there is no certificate under " + corev1.TLSCertKey
		return identity
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		identity.Problem = "the certificate can't be read: " + err.Error()
		return identity
	}
	identity.Subject, identity.NotBefore, identity.NotAfter = certificate.Subject.CommonName, certificate.NotBefore, certificate.NotAfter
	return identity
}
