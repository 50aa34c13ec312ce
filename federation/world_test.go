// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// world is a hub's storage and its clusters: what people write, what the hub stores of a Result, and what clusters
// realize of it. Objects are copied before they change, as an informer's are.
type world struct {
	clusters   map[string]Cluster
	placements map[string][]string
	pools      map[Key]*networkv1alpha1.IPPool
	vpcs       map[Key]*networkv1alpha1.Vpc
	subnets    map[Key]*networkv1alpha1.Subnet
	peerings   map[Key]*networkv1alpha1.VpcPeering
	routers    map[Key]*spokev1alpha1.LocalRouter
	gateways   map[Key]*spokev1alpha1.InterconnectGateway
	hub        Hub
	brake      Brake
	last       Result
	addresses  map[Key]*networkv1alpha1.IPAddress
	agents     map[string]*agent
	version    int
	clock      int64
}

func newWorld() *world {
	return &world{
		clusters: map[string]Cluster{}, placements: map[string][]string{},
		pools: map[Key]*networkv1alpha1.IPPool{}, vpcs: map[Key]*networkv1alpha1.Vpc{},
		subnets: map[Key]*networkv1alpha1.Subnet{}, peerings: map[Key]*networkv1alpha1.VpcPeering{},
		routers: map[Key]*spokev1alpha1.LocalRouter{}, gateways: map[Key]*spokev1alpha1.InterconnectGateway{},
		addresses: map[Key]*networkv1alpha1.IPAddress{}, agents: map[string]*agent{},
	}
}

// snapshot lists everything, in the order that maps have: any.
func (w *world) snapshot() Snapshot {
	return Snapshot{
		HubVersion: "0.2.0", Hub: w.hub, Brake: w.brake,
		Clusters: slices.Collect(maps.Values(w.clusters)), Placements: maps.Clone(w.placements),
		Pools: slices.Collect(maps.Values(w.pools)), Vpcs: slices.Collect(maps.Values(w.vpcs)),
		Subnets: slices.Collect(maps.Values(w.subnets)), Peerings: slices.Collect(maps.Values(w.peerings)),
		Routers: slices.Collect(maps.Values(w.routers)), Gateways: slices.Collect(maps.Values(w.gateways)),
		Addresses: slices.Collect(maps.Values(w.addresses)),
	}
}

// stamp gives a written object what an API server gives it. A changed spec has a new generation.
func (w *world) stamp(o metav1.Object, known bool, specChanged bool) {
	w.version++
	o.SetResourceVersion(strconv.Itoa(w.version))
	if !known {
		w.clock++
		if o.GetCreationTimestamp().Time.IsZero() {
			o.SetCreationTimestamp(metav1.Unix(1_700_000_000+w.clock, 0))
		}
		o.SetUID(types.UID(fmt.Sprintf("uid-%d", w.version)))
		o.SetGeneration(1)
	} else if specChanged {
		o.SetGeneration(o.GetGeneration() + 1)
	}
}

// write stores an object that a person wrote. The status that it had stays.
func (w *world) write(o metav1.Object) {
	key := keyOf(o)
	switch o := o.(type) {
	case *networkv1alpha1.IPPool:
		old, known := w.pools[key]
		if known {
			o.ObjectMeta, o.Status = old.ObjectMeta, old.Status
		}
		w.stamp(o, known, true)
		w.pools[key] = o
	case *networkv1alpha1.Vpc:
		old, known := w.vpcs[key]
		if known {
			o.ObjectMeta, o.Status = old.ObjectMeta, old.Status
		}
		o.Finalizers = []string{networkv1alpha1.Finalizer}
		w.stamp(o, known, true)
		w.vpcs[key] = o
	case *networkv1alpha1.Subnet:
		old, known := w.subnets[key]
		if known {
			o.ObjectMeta, o.Status = old.ObjectMeta, old.Status
		}
		w.stamp(o, known, true)
		w.subnets[key] = o
	case *networkv1alpha1.VpcPeering:
		old, known := w.peerings[key]
		if known {
			o.ObjectMeta, o.Status = old.ObjectMeta, old.Status
		}
		w.stamp(o, known, true)
		w.peerings[key] = o
	case *networkv1alpha1.IPAddress:
		w.stamp(o, false, false)
		w.addresses[key] = o
	default:
		panic(fmt.Sprintf("write %T", o))
	}
}

// delete asks for an object's deletion: its finalizer holds it.
func (w *world) delete(kind string, key Key) bool {
	now := metav1.Unix(1_800_000_000, 0)
	switch kind {
	case "Vpc":
		return change(w, w.vpcs, key, func(o *networkv1alpha1.Vpc) { o.DeletionTimestamp = &now })
	case "Subnet":
		return change(w, w.subnets, key, func(o *networkv1alpha1.Subnet) { o.DeletionTimestamp = &now })
	case "VpcPeering":
		return change(w, w.peerings, key, func(o *networkv1alpha1.VpcPeering) { o.DeletionTimestamp = &now })
	case "IPPool":
		delete(w.pools, key)
		return true
	case "IPAddress":
		delete(w.addresses, key)
		return true
	case "Cluster":
		delete(w.clusters, string(key))
		return true
	case "Placement":
		delete(w.placements, string(key))
		return true
	}
	return false
}

// copier is an object that can be copied.
type copier[T any] interface {
	*T
	metav1.Object
	DeepCopy() *T
}

// change replaces an object by a changed copy.
func change[T any, P copier[T]](w *world, objects map[Key]P, key Key, how func(P)) bool {
	old, ok := objects[key]
	if !ok {
		return false
	}
	o := P(old.DeepCopy())
	how(o)
	w.stamp(o, true, false)
	objects[key] = o
	return true
}

// store does what the hub does with a Result.
func (w *world) store(r Result) {
	if r.Doubt != nil {
		return
	}
	w.brake.Granted = nil
	if r.Removal != nil {
		w.brake.Granted = r.Removal.Granted
	}
	for key, s := range r.Pools {
		change(w, w.pools, key, func(o *networkv1alpha1.IPPool) { o.Status = s })
	}
	for key, s := range r.Vpcs {
		change(w, w.vpcs, key, func(o *networkv1alpha1.Vpc) { o.Status = s })
	}
	for key, s := range r.Subnets {
		change(w, w.subnets, key, func(o *networkv1alpha1.Subnet) { o.Status = s })
	}
	for key, s := range r.Peerings {
		change(w, w.peerings, key, func(o *networkv1alpha1.VpcPeering) { o.Status = s })
	}
	for key, r := range r.Routers {
		if old, ok := w.routers[key]; !ok {
			o := r.DeepCopy()
			w.stamp(o, false, false)
			w.routers[key] = o
		} else if !sameSpec(&old.Spec, &r.Spec) {
			change(w, w.routers, key, func(o *spokev1alpha1.LocalRouter) {
				r.Spec.DeepCopyInto(&o.Spec)
				o.Generation++
			})
		}
	}
	for key, g := range r.Gateways {
		if old, ok := w.gateways[key]; !ok {
			o := g.DeepCopy()
			w.stamp(o, false, false)
			w.gateways[key] = o
		} else if fmt.Sprint(old.Spec) != fmt.Sprint(g.Spec) {
			change(w, w.gateways, key, func(o *spokev1alpha1.InterconnectGateway) {
				g.Spec.DeepCopyInto(&o.Spec)
				o.Generation++
			})
		}
	}
	w.remove(r)
}

// remove does the deleting part of store.
func (w *world) remove(r Result) {
	now := metav1.Unix(1_800_000_000, 0)
	for _, d := range r.Deletions {
		switch d.Kind {
		case "LocalRouter":
			change(w, w.routers, d.Key, func(o *spokev1alpha1.LocalRouter) { o.DeletionTimestamp = &now })
		case "InterconnectGateway":
			change(w, w.gateways, d.Key, func(o *spokev1alpha1.InterconnectGateway) { o.DeletionTimestamp = &now })
		}
		if cluster, _, _ := strings.Cut(string(d.Key), "/"); w.clusters[cluster].Gone || w.clusters[cluster].Left { // nobody else would
			delete(w.routers, d.Key)
			delete(w.gateways, d.Key)
			delete(w.agents, cluster)
		}
	}
	for _, o := range r.Released {
		switch o.Kind {
		case "Vpc":
			delete(w.vpcs, o.Key)
		case "Subnet":
			delete(w.subnets, o.Key)
		case "VpcPeering":
			delete(w.peerings, o.Key)
		}
	}
}

// realize lets a cluster do all that it was told. Its probes are answered as they would be if the network worked.
func (w *world) realize(cluster string) {
	a := w.agent(cluster)
	a.sync(w)
	for key, o := range inOrder(w.routers) {
		if o.Namespace == cluster && a.apply(w, o) && o.DeletionTimestamp != nil {
			delete(w.routers, key)
			delete(a.seen, key)
		} else if o.Namespace == cluster && o.DeletionTimestamp == nil && a.copies[key].VpcUID == o.Spec.VpcUID {
			change(w, w.routers, key, func(o *spokev1alpha1.LocalRouter) {
				o.Status.ObservedGeneration = o.Generation
				o.Status.Conditions = []metav1.Condition{{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed", ObservedGeneration: o.Generation}}
			})
		}
	}
	for key, o := range inOrder(w.routers) {
		if o.Namespace == cluster {
			change(w, w.routers, key, w.probeAll)
		}
	}
	a.say(w)
	for key, o := range w.gateways {
		switch {
		case o.Namespace == cluster && o.DeletionTimestamp != nil:
			delete(w.gateways, key)
		case o.Namespace == cluster && len(o.Status.Conditions) == 0:
			change(w, w.gateways, key, func(o *spokev1alpha1.InterconnectGateway) {
				o.Status.Conditions = []metav1.Condition{{Type: spokev1alpha1.ConditionProgrammed, Status: metav1.ConditionTrue, Reason: "Programmed"}}
			})
		}
	}
}

// probeAll lets a router probe all routers that it knows.
func (w *world) probeAll(o *spokev1alpha1.LocalRouter) {
	o.Status.Probes = nil
	for _, r := range o.Spec.Remotes {
		w.probe(o, r.Vpc, r.Cluster)
	}
	for _, p := range o.Spec.Peers {
		w.probe(o, p.Vpc, o.Namespace)
	}
}

// probe notes the answer of another router: there is one when that router is realized and knows of this one.
func (w *world) probe(o *spokev1alpha1.LocalRouter, vpc spokev1alpha1.VpcIdentity, cluster string) {
	other := w.routers[joinKey(cluster, vpc.Namespace+"."+vpc.Name)]
	reachable := other != nil && other.Status.ObservedGeneration == other.Generation && (vpc == o.Spec.Vpc || mentions(&other.Spec, joinKey(o.Spec.Vpc.Namespace, o.Spec.Vpc.Name)))
	o.Status.Probes = append(o.Status.Probes, spokev1alpha1.ProbeResult{
		Node: "gateway", Vpc: vpc.Namespace + "/" + vpc.Name, Cluster: cluster, Reachable: reachable,
	})
}
