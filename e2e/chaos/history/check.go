// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/chaos/witness"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// converged says what is not yet as people want it: on the hub, in the copies and in OVN. It is worked out from the wish
// alone, by other code than the planner's.
func converged(ctx context.Context, w *world.World, seen *witness.Witness, wanted *Wanted) error {
	if err := express(ctx, w.Hub.Admin, wanted); err != nil {
		return err
	}
	routers, err := checkHub(ctx, w, wanted)
	if err != nil {
		return err
	}
	var errs []error
	for _, spoke := range w.Spokes {
		errs = append(errs, checkSpoke(ctx, spoke, seen.Databases[spoke.Name], routers[spoke.Name]))
	}
	return errors.Join(append(errs, checkPools(ctx, w.Hub, wanted))...)
}

// checkHub compares what the hub says to its clusters, and returns it by cluster and name.
func checkHub(ctx context.Context, w *world.World, wanted *Wanted) (map[string]map[string]*spokev1alpha1.LocalRouter, error) {
	var vpcs networkv1alpha1.VpcList
	var list spokev1alpha1.LocalRouterList
	if err := errors.Join(w.Hub.Admin.List(ctx, &vpcs), w.Hub.Admin.List(ctx, &list)); err != nil {
		return nil, err
	}
	uids := map[string]string{}
	for _, v := range vpcs.Items {
		uids[v.Name] = string(v.UID)
	}
	want := wanted.routers()
	found := map[string]map[string]*spokev1alpha1.LocalRouter{}
	var errs []error
	for i := range list.Items {
		r := &list.Items[i]
		if found[r.Namespace] == nil {
			found[r.Namespace] = map[string]*spokev1alpha1.LocalRouter{}
		}
		found[r.Namespace][r.Name] = r
		vpc := r.Spec.Vpc.Name
		text, ok := want[r.Namespace+"/"+vpc]
		delete(want, r.Namespace+"/"+vpc)
		switch {
		case !ok || r.DeletionTimestamp != nil:
			errs = append(errs, fmt.Errorf("LocalRouter %s/%s is still on the hub", r.Namespace, r.Name))
		case r.Spec.VpcUID != uids[vpc]:
			errs = append(errs, fmt.Errorf("LocalRouter %s/%s is of Vpc UID %s, want %s", r.Namespace, r.Name, r.Spec.VpcUID, uids[vpc]))
		case describe(&r.Spec) != text:
			errs = append(errs, fmt.Errorf("LocalRouter %s/%s is %s, want %s", r.Namespace, r.Name, describe(&r.Spec), text))
		}
	}
	for key := range want {
		errs = append(errs, fmt.Errorf("LocalRouter %s is not on the hub", key))
	}
	return found, errors.Join(errs...)
}

// routers describes each router that there should be, by cluster and Vpc.
func (w *Wanted) routers() map[string]string {
	all := map[string]string{}
	for vpc, clusters := range w.Vpcs {
		for _, cluster := range clusters {
			var parts []string
			for n, s := range w.Subnets[vpc] {
				if s.Cluster == cluster {
					parts = append(parts, "subnet "+subnetName(vpc, n))
				}
			}
			reach := func(other string) {
				for _, c := range w.Vpcs[other] {
					if c != cluster {
						parts = append(parts, "remote "+other+" in "+c)
					} else if other != vpc {
						parts = append(parts, "peer "+other)
					}
				}
			}
			reach(vpc)
			for p := range w.Peerings {
				if p[0] == vpc {
					reach(p[1])
				} else if p[1] == vpc {
					reach(p[0])
				}
			}
			slices.Sort(parts)
			all[cluster+"/"+vpc] = strings.Join(parts, ", ")
		}
	}
	return all
}

func describe(spec *spokev1alpha1.LocalRouterSpec) string {
	var parts []string
	for _, s := range spec.Subnets {
		parts = append(parts, "subnet "+s.Name)
	}
	for _, r := range spec.Remotes {
		parts = append(parts, "remote "+r.Vpc.Name+" in "+r.Cluster)
	}
	for _, p := range spec.Peers {
		parts = append(parts, "peer "+p.Vpc.Name)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// checkSpoke compares copies with what the hub says, and OVN with the copies.
func checkSpoke(ctx context.Context, spoke *world.Spoke, database *witness.Northbound, hub map[string]*spokev1alpha1.LocalRouter) error {
	var copies spokev1alpha1.LocalRouterList
	if err := spoke.Admin.List(ctx, &copies, client.InNamespace(charts.Namespace)); err != nil {
		return err
	}
	var errs []error
	missing := maps.Clone(hub)
	owners := database.Routers()
	for i := range copies.Items {
		c := &copies.Items[i]
		r := missing[c.Name]
		delete(missing, c.Name)
		switch {
		case r == nil || c.DeletionTimestamp != nil:
			errs = append(errs, fmt.Errorf("%s still has its copy %s", spoke.Name, c.Name))
		case c.Annotations[spokev1alpha1.AnnotationHubUID] != string(r.UID) || c.Annotations[spokev1alpha1.AnnotationHubGeneration] != strconv.FormatInt(r.Generation, 10):
			errs = append(errs, fmt.Errorf("the copy %s in %s is of generation %s, want %d", c.Name, spoke.Name, c.Annotations[spokev1alpha1.AnnotationHubGeneration], r.Generation))
		case !equality.Semantic.DeepEqual(c.Spec, r.Spec):
			errs = append(errs, fmt.Errorf("the copy %s in %s says something else than the hub", c.Name, spoke.Name))
		case owners[c.Spec.VpcUID] != 1:
			errs = append(errs, fmt.Errorf("OVN of %s has %d routers of %s", spoke.Name, owners[c.Spec.VpcUID], c.Name))
		}
		delete(owners, c.Spec.VpcUID)
	}
	for name := range missing {
		errs = append(errs, fmt.Errorf("%s has no copy %s", spoke.Name, name))
	}
	for owner := range owners {
		errs = append(errs, fmt.Errorf("OVN of %s still has a router of Vpc UID %s", spoke.Name, owner))
	}
	return errors.Join(errs...)
}

// checkPools: pools hold what Vpcs and subnets have, and nothing else.
func checkPools(ctx context.Context, hub *world.Server, wanted *Wanted) error {
	var pools networkv1alpha1.IPPoolList
	if err := hub.Admin.List(ctx, &pools); err != nil {
		return err
	}
	var subnets int
	for _, of := range wanted.Subnets {
		for _, s := range of {
			if s.Pool {
				subnets++
			}
		}
	}
	want := map[string]int{"vnis": len(wanted.Vpcs), "subnets": subnets, "links": 0}
	for vpc, clusters := range wanted.Vpcs {
		want["links"] += len(clusters)
		for p := range wanted.Peerings {
			if p[0] != vpc {
				continue
			}
			for _, c := range clusters { // two routers of one cluster have a link between them
				if slices.Contains(wanted.Vpcs[p[1]], c) {
					want["links"]++
				}
			}
		}
	}
	var errs []error
	for _, p := range pools.Items {
		// A link stays its Vpc's as long as there is the Vpc: it may come back to the cluster.
		if n := len(p.Status.Allocations); n < want[p.Name] || n > want[p.Name] && (p.Name != "links" || len(wanted.Vpcs) == 0) {
			errs = append(errs, fmt.Errorf("pool %s has handed out %d, want %d: %v", p.Name, len(p.Status.Allocations), want[p.Name], p.Status.Allocations))
		}
	}
	return errors.Join(errs...)
}
