// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
)

// addOnName is Tombolo's name among OCM's add-ons.
const addOnName = "tombolo"

// AddOnKind is OCM's add-on of one cluster. Only its metadata is looked at.
var AddOnKind = schema.GroupVersionKind{Group: "addon.open-cluster-management.io", Version: "v1beta1", Kind: "ManagedClusterAddOn"}

// ServesAddOns says whether the API server knows OCM's add-ons.
func ServesAddOns(mapper meta.RESTMapper) (bool, error) {
	_, err := mapper.RESTMapping(AddOnKind.GroupKind(), AddOnKind.Version)
	if meta.IsNoMatchError(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for OCM's add-ons: %w", err)
	}
	return true, nil
}

// OurAddOn is true for Tombolo's add-on of any cluster.
func OurAddOn(object client.Object) bool { return object.GetName() == addOnName }

func (r *Reader) readClusters(ctx context.Context, state *State) error {
	var list clusterv1.ManagedClusterList
	if err := r.list(ctx, &list); err != nil {
		return err
	}
	disabled, err := r.disabledAddOns(ctx)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, router := range state.Snapshot.Routers {
		told[router.Namespace] = true
	}
	for i := range list.Items {
		cluster := &list.Items[i]
		gateway := state.Gateways[federation.Key(cluster.Name+"/"+cluster.Name)]
		c := federation.Cluster{Name: cluster.Name, Labels: cluster.Labels, Accepted: cluster.Spec.HubAcceptsClient,
			Endpoints: cluster.Annotations[networkv1alpha1.AnnotationEndpoints]}
		c.Leaving = cluster.DeletionTimestamp != nil || disabled[cluster.Name] || saysLeaving(gateway) != nil
		c.Gone = Gone(cluster, gateway, told[cluster.Name])
		c.Left, c.Detached = Left(gateway), cluster.DeletionTimestamp != nil
		state.Snapshot.Clusters = append(state.Snapshot.Clusters, c)
	}
	return nil
}

// disabledAddOns are the clusters whose add-on is being deleted.
func (r *Reader) disabledAddOns(ctx context.Context) (map[string]bool, error) {
	disabled := map[string]bool{}
	if !r.AddOns {
		return disabled, nil
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(AddOnKind.GroupVersion().WithKind(AddOnKind.Kind + "List"))
	if err := r.list(ctx, &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if addOn := &list.Items[i]; OurAddOn(addOn) && addOn.DeletionTimestamp != nil {
			disabled[addOn.Namespace] = true
		}
	}
	return disabled, nil
}

// saysLeaving is the condition by which a cluster's agent says that it leaves; nil when it says nothing of the kind.
func saysLeaving(gateway *spokev1alpha1.InterconnectGateway) *metav1.Condition {
	if gateway == nil {
		return nil
	}
	c := meta.FindStatusCondition(gateway.Status.Conditions, spokev1alpha1.ConditionLeaving)
	if c == nil || c.Status != metav1.ConditionTrue {
		return nil
	}
	return c
}

// Left is true when the cluster's agent has said that nothing of Tombolo is left there.
func Left(gateway *spokev1alpha1.InterconnectGateway) bool {
	c := saysLeaving(gateway)
	return c != nil && c.Reason == spokev1alpha1.ReasonLeft
}

// Gone is true for a cluster under deletion that need not be waited for: somebody says so, or its agent has never said anything, and then
// there is nothing of Tombolo in it. told is true when it has been told of a Vpc.
func Gone(cluster *clusterv1.ManagedCluster, gateway *spokev1alpha1.InterconnectGateway, told bool) bool {
	switch {
	case cluster.DeletionTimestamp == nil:
		return false
	case cluster.Annotations[networkv1alpha1.AnnotationGone] == "true":
		return true
	case gateway == nil:
		return !told
	}
	return len(gateway.Status.Conditions) == 0 && gateway.Status.ClusterID == "" // an agent says first who it is
}

// Held lists what pools hold for a cluster alone.
func (r *Reader) Held(ctx context.Context, cluster string) ([]string, error) {
	var pools networkv1alpha1.IPPoolList
	if err := r.list(ctx, &pools); err != nil {
		return nil, err
	}
	var held []string
	for i := range pools.Items {
		for _, a := range pools.Items[i].Status.Allocations {
			if parts := strings.SplitN(a.Owner, "/", 4); len(parts) == 4 && parts[3] == cluster {
				held = append(held, a.Value)
			}
		}
	}
	return held, nil
}
