// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/story"
)

// shopLabel is what the Placement of this test asks clusters for.
const shopLabel = "shop"

// shopPlacement is OCM's. Without the tolerations OCM would take a cluster out that it only can't see for a while.
const shopPlacement = `
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: shops, namespace: placed}
spec:
  clusterSets: [default]
  predicates:
    - requiredClusterSelector: {labelSelector: {matchLabels: {shop: open}}}
  tolerations:
    - {key: cluster.open-cluster-management.io/unreachable, operator: Exists}
    - {key: cluster.open-cluster-management.io/unavailable, operator: Exists}
`

// TestPlacementMovesAVpc: the Vpc is where OCM decides, in each cluster that it adds and no longer in one that it
// takes out. Where OCM has decided nothing, everything stays.
func TestPlacementMovesAVpc(t *testing.T) {
	n := newTenant(t, "placed")
	for _, cluster := range []string{"east", "west"} {
		t.Cleanup(func() { n.labelCluster(cluster, shopLabel, "null") })
	}
	n.labelCluster("east", shopLabel, `"open"`)
	n.apply(`
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: default, namespace: placed}
spec: {clusterSet: default}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Vpc
metadata: {name: shop, namespace: placed}
spec: {clusters: {placement: shops}}
---
apiVersion: network.tombolo.io/v1alpha1
kind: Subnet
metadata: {name: shop, namespace: placed}
spec: {vpc: shop, fromPool: {name: subnets, prefixLength: 25}}
`)
	n.apply(shopPlacement)
	one, two := n.pod("east", "pod-one", "shop"), n.pod("east", "pod-two", "shop")
	n.reach(one, two, 64)
	n.routersIn("east")

	n.labelCluster("west", shopLabel, `"open"`)
	n.routersIn("east", "west")
	west := n.pod("west", "pod-west", "shop")
	n.eventuallyReach(one, west)

	n.withoutDecision(one, west)

	n.labelCluster("west", shopLabel, `"closed"`)
	n.routersIn("east")
	n.notReach(one, west.Address)
	n.reach(one, two, 64)
}

// withoutDecision takes the Placement away and brings it back, under traffic: neither is a reason to change anything.
func (n *tenant) withoutDecision(from, to *story.Pod) {
	n.Helper()
	before := n.routers(n.ctx)
	flow := n.ping(from, to, 6*time.Second)
	placement := &clusterv1beta1.Placement{}
	placement.Namespace, placement.Name = n.name, "shops"
	n.must(fleet.Hub.Delete(n.ctx, placement))
	n.accepted(false)
	n.apply(shopPlacement)
	n.accepted(true)
	n.lossless(flow, "without a decision")
	if diff := cmp.Diff(before, n.routers(n.ctx)); diff != "" {
		n.Errorf("without a decision LocalRouters were made anew (-before +after):\n%s", diff)
	}
}

// accepted waits until the hub says of the Vpc that it can, or can't, be.
func (n *tenant) accepted(want bool) {
	n.Helper()
	n.must(story.Eventually(n.ctx, fmt.Sprintf("Vpc shop to be accepted: %t", want), func(ctx context.Context) error {
		vpc := &networkv1alpha1.Vpc{}
		if err := fleet.Hub.Get(ctx, types.NamespacedName{Namespace: n.name, Name: "shop"}, vpc); err != nil {
			return err
		}
		if meta.IsStatusConditionTrue(vpc.Status.Conditions, networkv1alpha1.ConditionAccepted) != want {
			return fmt.Errorf("conditions are %+v", vpc.Status.Conditions)
		}
		return nil
	}))
}

// routersIn waits until the tenant's Vpc has a LocalRouter in these clusters and in no other.
func (n *tenant) routersIn(want ...string) {
	n.Helper()
	n.must(story.Eventually(n.ctx, fmt.Sprintf("LocalRouters in %v", want), func(ctx context.Context) error {
		if got := slices.Sorted(maps.Keys(n.routers(ctx))); !slices.Equal(got, want) {
			return errors.New("they are in " + fmt.Sprint(got))
		}
		return nil
	}))
}

// routers are the UIDs of the tenant's LocalRouters on the hub, by cluster.
func (n *tenant) routers(ctx context.Context) map[string]types.UID {
	n.Helper()
	var list spokev1alpha1.LocalRouterList
	n.must(fleet.Hub.List(ctx, &list, client.MatchingLabels{spokev1alpha1.LabelVpcNamespace: n.name}))
	uids := map[string]types.UID{}
	for _, router := range list.Items {
		uids[router.Namespace] = router.UID
	}
	return uids
}
