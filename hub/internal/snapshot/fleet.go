// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/evidence"
)

// addOnName is Tombolo's name among OCM's add-ons.
const addOnName = "tombolo"

// AddOnKind is OCM's add-on of one cluster. Only its metadata is looked at.
var AddOnKind = schema.GroupVersionKind{Group: "addon.open-cluster-management.io", Version: "v1beta1", Kind: "ManagedClusterAddOn"}

// ServesAddOns says whether the API server knows OCM's add-ons.
func ServesAddOns(server discovery.ServerResourcesInterface) (bool, error) {
	list, err := server.ServerResourcesForGroupVersion(AddOnKind.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for OCM's add-ons: %w", err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == AddOnKind.Kind }), nil
}

// OurAddOn is true for Tombolo's add-on of any cluster.
func OurAddOn(object client.Object) bool { return object.GetName() == addOnName }

func (r *Reader) readClusters(ctx context.Context, state *State) error {
	var list clusterv1.ManagedClusterList
	if err := r.list(ctx, &list); err != nil {
		return err
	}
	r.before, r.answers = r.answers, map[types.UID]bool{}
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
		if c.Detached, err = r.asked(ctx, evidence.ManagedClusters, cluster); err != nil {
			return err
		}
		c.Leaving = c.Detached || disabled[cluster.Name] || saysLeaving(gateway) != nil
		c.Gone, c.Left = Gone(cluster, gateway, told[cluster.Name]), Left(gateway)
		state.Snapshot.Clusters = append(state.Snapshot.Clusters, c)
	}
	return nil
}

// asked is true for an object whose deletion somebody asked for. The answer stays the same as long as the object is there, and is
// looked for once.
func (r *Reader) asked(ctx context.Context, crd string, object client.Object) (bool, error) {
	if object.GetDeletionTimestamp() == nil {
		return false, nil
	}
	if answer, found := r.before[object.GetUID()]; found {
		r.answers[object.GetUID()] = answer
		return answer, nil
	}
	answer, err := evidence.Asked(ctx, r.Live, crd, object)
	if err != nil {
		return false, err
	}
	r.answers[object.GetUID()] = answer
	if !answer {
		log.FromContext(ctx).Info("The CRD is being deleted, and its objects with it: no cluster leaves by that", "crd", crd, "object", KeyOf(object))
	}
	return answer, nil
}

// disabledAddOns are the clusters whose add-on is being deleted.
func (r *Reader) disabledAddOns(ctx context.Context) (disabled map[string]bool, err error) {
	disabled = map[string]bool{}
	if r.AddOns == nil || !r.AddOns() {
		return disabled, nil
	}
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(AddOnKind.GroupVersion().WithKind(AddOnKind.Kind + "List"))
	if err = r.list(ctx, &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		addOn := &list.Items[i]
		if !OurAddOn(addOn) || addOn.DeletionTimestamp == nil {
			continue
		}
		if disabled[addOn.Namespace], err = r.asked(ctx, evidence.AddOns, addOn); err != nil {
			return nil, err
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
