// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package snapshot looks at the hub. It is the only code of the hub that lists objects.
//
// It reads from the informers' cache, with two exceptions to what a cache gives: reads wait for what this process has
// written (controller-runtime's read-your-writes consistency), and ledgers are never older than this process has seen, nor are
// the owners that they name.
// The objects are those of the cache itself: whoever wants to change one makes a copy.
package snapshot

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/ledger"
)

// State is what one look at the hub found: the planner's Snapshot, and the same objects by key for those who write.
type State struct {
	Snapshot federation.Snapshot

	// Fleet is the hub's own; nil when there is none.
	Fleet *networkv1alpha1.Fleet

	Pools    map[federation.Key]*networkv1alpha1.IPPool
	Vpcs     map[federation.Key]*networkv1alpha1.Vpc
	Subnets  map[federation.Key]*networkv1alpha1.Subnet
	Peerings map[federation.Key]*networkv1alpha1.VpcPeering
	Routers  map[federation.Key]*spokev1alpha1.LocalRouter
	Gateways map[federation.Key]*spokev1alpha1.InterconnectGateway

	// Namespaces that objects can be created in: they exist and are not being deleted.
	Namespaces map[string]bool
}

// Reader looks at the hub. One Read at a time.
type Reader struct {
	Client  client.Reader
	Ledgers *ledger.Store
	// Live reads from the API server itself.
	Live client.Reader
	// AddOns is true while OCM's add-ons can be read. Without it there are none.
	AddOns func() bool

	// decided is what each Placement had chosen when its decisions were last seen whole.
	decided map[string][]string
	// answers of asked, by UID, and those of the look before.
	answers, before map[types.UID]bool
	// gone are the owners that ledgers still name and that are known to be gone, live those that were looked up and there, and last is what the
	// look before has shown.
	gone, live map[types.UID]bool
	last       *State
}

// Read looks at everything that the planner may look at.
func (r *Reader) Read(ctx context.Context) (*State, error) {
	state := &State{}
	state.Snapshot.HubVersion = version.Version
	for _, read := range []func(context.Context, *State) error{
		r.readPlacements, r.readNamespaces, r.readWritten, r.readDistributed, r.readClusters,
	} {
		if err := read(ctx, state); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// readPlacements joins the decisions of each Placement: OCM splits them into several objects of up to 100 clusters.
// While they are not whole, those that were last seen whole stand; before any were, the Placement has decided nothing.
func (r *Reader) readPlacements(ctx context.Context, state *State) error {
	var placements clusterv1beta1.PlacementList
	if err := r.list(ctx, &placements); err != nil {
		return err
	}
	var decisions clusterv1beta1.PlacementDecisionList
	if err := r.list(ctx, &decisions); err != nil {
		return err
	}
	chosen := map[string]map[string]bool{}
	for i := range decisions.Items {
		decision := &decisions.Items[i]
		placement, ok := decision.Labels[clusterv1beta1.PlacementLabel]
		if !ok {
			continue
		}
		key := decision.Namespace + "/" + placement
		if chosen[key] == nil {
			chosen[key] = map[string]bool{}
		}
		for _, d := range decision.Status.Decisions {
			chosen[key][d.ClusterName] = true
		}
	}
	decided := make(map[string][]string, len(placements.Items))
	for i := range placements.Items {
		placement := &placements.Items[i]
		key := placement.Namespace + "/" + placement.Name
		if whole(placement, chosen[key]) {
			decided[key] = slices.Sorted(maps.Keys(chosen[key]))
		} else if before, found := r.decided[key]; found {
			decided[key] = before
		}
	}
	r.decided, state.Snapshot.Placements = decided, decided
	return nil
}

// whole tells whether the decisions of a Placement say all that was decided. OCM creates each object empty, fills it,
// and counts in the Placement's status when all are filled. An empty object would read as "no cluster", which is
// evidence to delete on. Who decides in OCM's place is not held to count.
func whole(p *clusterv1beta1.Placement, chosen map[string]bool) bool {
	if _, byOther := p.Annotations[clusterv1beta1.PlacementDisableAnnotation]; byOther {
		return chosen != nil
	}
	counted := meta.FindStatusCondition(p.Status.Conditions, clusterv1beta1.PlacementConditionSatisfied) != nil
	return counted && int(p.Status.NumberOfSelectedClusters) == len(chosen)
}

func (r *Reader) readNamespaces(ctx context.Context, state *State) error {
	list := metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.list(ctx, &list); err != nil {
		return err
	}
	state.Namespaces = make(map[string]bool, len(list.Items))
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			state.Namespaces[list.Items[i].Name] = true
		}
	}
	return nil
}

func (r *Reader) readWritten(ctx context.Context, state *State) error {
	var (
		fleets   networkv1alpha1.FleetList
		pools    networkv1alpha1.IPPoolList
		vpcs     networkv1alpha1.VpcList
		subnets  networkv1alpha1.SubnetList
		peerings networkv1alpha1.VpcPeeringList
	)
	var addresses networkv1alpha1.IPAddressList
	for _, list := range []client.ObjectList{&fleets, &pools, &vpcs, &subnets, &peerings, &addresses} {
		if err := r.list(ctx, list); err != nil {
			return err
		}
	}
	for i := range fleets.Items {
		if fleets.Items[i].Name == networkv1alpha1.FleetName {
			state.Fleet = &fleets.Items[i]
		}
	}
	newest, err := r.Ledgers.Newest(ctx, pointers(pools.Items))
	if err != nil {
		return err
	}
	state.Snapshot.Pools, state.Pools = newest, byKey(newest)
	state.Snapshot.Vpcs = pointers(vpcs.Items)
	state.Vpcs = byKey(state.Snapshot.Vpcs)
	state.Snapshot.Subnets = pointers(subnets.Items)
	state.Subnets = byKey(state.Snapshot.Subnets)
	state.Snapshot.Peerings = pointers(peerings.Items)
	state.Peerings = byKey(state.Snapshot.Peerings)
	state.Snapshot.Addresses = pointers(addresses.Items)
	return r.readOwners(ctx, state)
}

func (r *Reader) readDistributed(ctx context.Context, state *State) error {
	var (
		routers  spokev1alpha1.LocalRouterList
		gateways spokev1alpha1.InterconnectGatewayList
	)
	for _, list := range []client.ObjectList{&routers, &gateways} {
		if err := r.list(ctx, list); err != nil {
			return err
		}
	}
	state.Snapshot.Routers = pointers(routers.Items)
	state.Routers = byKey(state.Snapshot.Routers)
	state.Snapshot.Gateways = pointers(gateways.Items)
	state.Gateways = byKey(state.Snapshot.Gateways)
	return nil
}

// InCluster lists what was distributed to one cluster.
func (r *Reader) InCluster(ctx context.Context, cluster string) ([]client.Object, error) {
	var (
		routers  spokev1alpha1.LocalRouterList
		gateways spokev1alpha1.InterconnectGatewayList
		objects  []client.Object
	)
	for _, list := range []client.ObjectList{&routers, &gateways} {
		if err := r.list(ctx, list, client.InNamespace(cluster)); err != nil {
			return nil, err
		}
	}
	for i := range routers.Items {
		objects = append(objects, &routers.Items[i])
	}
	for i := range gateways.Items {
		objects = append(objects, &gateways.Items[i])
	}
	return objects, nil
}

func (r *Reader) list(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := r.Client.List(ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil {
		return fmt.Errorf("list %T: %w", list, err)
	}
	return nil
}

// KeyOf is the key of an object in federation's maps.
func KeyOf(object client.Object) federation.Key {
	if object.GetNamespace() == "" {
		return federation.Key(object.GetName())
	}
	return federation.Key(object.GetNamespace() + "/" + object.GetName())
}

func byKey[O client.Object](objects []O) map[federation.Key]O {
	m := make(map[federation.Key]O, len(objects))
	for _, object := range objects {
		m[KeyOf(object)] = object
	}
	return m
}

func pointers[T any](items []T) []*T {
	p := make([]*T, len(items))
	for i := range items {
		p[i] = &items[i]
	}
	return p
}
