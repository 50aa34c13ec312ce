// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// newFleet empties the hub and makes a fleet of these clusters, with a pool of VNIs and one of links.
func newFleet(t testing.TB, clusters ...string) {
	t.Helper()
	clean(t)
	create(t, &networkv1alpha1.IPPool{ObjectMeta: name("", "vnis"), Spec: networkv1alpha1.IPPoolSpec{
		Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 100, Last: 199},
	}})
	create(t, &networkv1alpha1.IPPool{ObjectMeta: name("", "links"), Spec: networkv1alpha1.IPPoolSpec{
		Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/16"},
	}})
	makeNamespace(t, "shop")
	for _, cluster := range clusters {
		makeNamespace(t, cluster)
		joinCluster(t, cluster)
	}
}

func joinCluster(t testing.TB, cluster string) {
	t.Helper()
	create(t, &clusterv1.ManagedCluster{
		ObjectMeta: metav1.ObjectMeta{Name: cluster, Labels: map[string]string{"region": cluster}},
		Spec:       clusterv1.ManagedClusterSpec{HubAcceptsClient: true},
	})
}

// clean removes what an earlier test has left. No garbage collector runs here, and no hub.
func clean(t testing.TB) {
	t.Helper()
	eventually(t, "the hub is empty", func() error {
		left := 0
		for _, list := range []client.ObjectList{
			&networkv1alpha1.VpcPeeringList{}, &networkv1alpha1.SubnetList{}, &networkv1alpha1.VpcList{}, &networkv1alpha1.IPPoolList{}, &networkv1alpha1.FleetList{},
			&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{},
			&clusterv1beta1.PlacementList{}, &clusterv1beta1.PlacementDecisionList{}, &clusterv1.ManagedClusterList{}, &rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{},
			&coordinationv1.LeaseList{},
		} {
			n, err := removeAll(t, list)
			if err != nil {
				return err
			}
			left += n
		}
		if left > 0 {
			return fmt.Errorf("%d objects are left", left)
		}
		return nil
	})
}

func removeAll(t testing.TB, list client.ObjectList) (int, error) {
	t.Helper()
	var options []client.ListOption
	switch list.(type) {
	case *rbacv1.RoleBindingList, *rbacv1.ClusterRoleBindingList:
		options = append(options, client.MatchingLabels{"app.kubernetes.io/managed-by": "tombolo-hub"})
	case *coordinationv1.LeaseList: // the agents', which nobody collects here when their owner is gone
		options = append(options, client.MatchingFields{"metadata.name": spokev1alpha1.LeaseName})
	}
	if err := admin.List(t.Context(), list, options...); err != nil {
		return 0, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return 0, err
	}
	for _, item := range items {
		object := item.(client.Object)
		if len(object.GetFinalizers()) > 0 {
			object.SetFinalizers(nil)
			if err := client.IgnoreNotFound(admin.Update(t.Context(), object)); err != nil {
				return 0, err
			}
		}
		if err := client.IgnoreNotFound(admin.Delete(t.Context(), object)); err != nil {
			return 0, err
		}
	}
	return len(items), nil
}

func name(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func create(t testing.TB, object client.Object) {
	t.Helper()
	if err := admin.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T %s: %v", object, object.GetName(), err)
	}
}

func makeNamespace(t testing.TB, namespace string) {
	t.Helper()
	err := admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: name("", namespace)})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("create namespace %s: %v", namespace, err)
	}
}

func vpc(vpcName string, clusters ...networkv1alpha1.ClusterName) *networkv1alpha1.Vpc {
	return &networkv1alpha1.Vpc{ObjectMeta: name("shop", vpcName), Spec: networkv1alpha1.VpcSpec{
		Clusters: networkv1alpha1.ClusterSelection{Names: clusters},
	}}
}

func subnet(subnetName, vpc string, cluster networkv1alpha1.ClusterName, cidr networkv1alpha1.CIDR) *networkv1alpha1.Subnet {
	return &networkv1alpha1.Subnet{ObjectMeta: name("shop", subnetName), Spec: networkv1alpha1.SubnetSpec{
		Vpc: vpc, Cluster: cluster, CIDRBlock: cidr,
	}}
}

func peering(peeringName, vpc, peer string) *networkv1alpha1.VpcPeering {
	return &networkv1alpha1.VpcPeering{ObjectMeta: name("shop", peeringName), Spec: networkv1alpha1.VpcPeeringSpec{
		Vpc: vpc, PeerVpc: networkv1alpha1.VpcReference{Name: peer},
	}}
}

// get reads an object of the hub as it is now.
func get[O client.Object](t testing.TB, object O, namespace, name string) (O, error) {
	t.Helper()
	err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object)
	return object, err
}

// router waits until the router of shop's Vpc in the cluster satisfies check.
func router(t testing.TB, cluster, vpc, reason string, check func(*spokev1alpha1.LocalRouter) error) *spokev1alpha1.LocalRouter {
	t.Helper()
	var found *spokev1alpha1.LocalRouter
	eventually(t, reason, func() error {
		r, err := get(t, &spokev1alpha1.LocalRouter{}, cluster, "shop."+vpc)
		if err != nil {
			return err
		}
		found = r
		return check(r)
	})
	return found
}

// condition says what is wrong when a condition is not as wanted.
func condition(conditions []metav1.Condition, typ string, want metav1.ConditionStatus, reason string) error {
	c := meta.FindStatusCondition(conditions, typ)
	if c == nil || c.Status != want || reason != "" && c.Reason != reason {
		return fmt.Errorf("condition %s is %+v, want %s %s", typ, c, want, reason)
	}
	return nil
}

// peers are the Vpcs in other clusters that a router knows, without its own.
func peers(router *spokev1alpha1.LocalRouter) []string {
	var names []string
	for _, remote := range router.Spec.Remotes {
		if remote.Vpc.Name != router.Spec.Vpc.Name {
			names = append(names, remote.Vpc.Name+"@"+remote.Cluster)
		}
	}
	slices.Sort(names)
	return names
}
