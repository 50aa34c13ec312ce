// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package leave asks for the leave of a cluster, from the hub (docs/decisions/0012). Pure functions say what will be deleted, what
// will be lost, and how far it has come; the command asks, deletes one object, and looks on.
package leave

import (
	"fmt"
	"slices"
	"time"

	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/cli/diagnose"
	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// alive is how lately a cluster must have been heard not to be gone.
const alive = 2 * time.Minute

// Target is the object whose deletion makes a cluster leave.
type Target string

const (
	// TargetAddOn is the ManagedClusterAddOn: the cluster stays in OCM's fleet.
	TargetAddOn Target = "ManagedClusterAddOn"
	// TargetCluster is the ManagedCluster: the cluster leaves the fleet altogether.
	TargetCluster Target = "ManagedCluster"
)

// wish is what the person asked for.
type wish struct {
	name         string
	gone, detach bool
}

// choose says which object is to be deleted.
func choose(f *facts.Facts, w wish) (Target, error) {
	managed := find(f, w.name)
	if managed == nil {
		return "", fmt.Errorf("cluster %q is not in the fleet: kubectl tombolo status shows which are", w.name)
	}
	addOn := f.AddOn(w.name)
	byToken := facts.ByToken(managed)
	switch {
	case w.detach || managed.DeletionTimestamp != nil:
		return TargetCluster, nil
	case w.gone && !byToken:
		return "", fmt.Errorf("cluster %q is Open Cluster Management's: a cluster that is gone for good leaves its fleet, and with it all that other add-ons "+
			"have there: say --detach too if that is meant", w.name)
	case addOn != nil:
		if by := installedBy(f, w.name); by != "" && addOn.DeletionTimestamp == nil {
			return "", fmt.Errorf("cluster %q is chosen by Placement %s of ClusterManagementAddOn %s: the add-on would be installed again at once: "+
				"change the Placement, or the cluster's labels, so that it is not chosen any more, which makes it leave", w.name, by, facts.AddOn)
		}
		return TargetAddOn, nil
	case byToken:
		return TargetCluster, nil
	}
	return "", fmt.Errorf("cluster %q was joined by Open Cluster Management and has no add-on %s: there is only its ManagedCluster to delete, "+
		"and with it all that other add-ons have there: say --detach if that is meant", w.name, facts.AddOn)
}

func find(f *facts.Facts, name string) *clusterv1.ManagedCluster {
	for i := range f.ManagedClusters {
		if f.ManagedClusters[i].Name == name {
			return &f.ManagedClusters[i]
		}
	}
	return nil
}

// installedBy is the Placement by which OCM installs the add-on there; empty when a person did.
func installedBy(f *facts.Facts, cluster string) string {
	if f.ManagementAddOn == nil || f.ManagementAddOn.Spec.InstallStrategy.Type != addonv1alpha1.AddonInstallStrategyPlacements {
		return ""
	}
	for _, p := range f.ManagementAddOn.Spec.InstallStrategy.Placements {
		if slices.Contains(diagnose.Decided(f.Decisions, p.Namespace, p.Name), cluster) {
			return p.Namespace + "/" + p.Name
		}
	}
	return ""
}

// notGone is why a cluster that is said to be gone is not; empty when it may be.
func notGone(f *facts.Facts, name string) string {
	heard := f.Heard(name)
	if ago := f.Clock().Sub(heard); !heard.IsZero() && ago < alive {
		return fmt.Sprintf("it was heard %s ago", max(0, ago).Round(time.Second))
	}
	for i := range f.Gateways {
		for _, tunnel := range f.Gateways[i].Status.Tunnels {
			if tunnel.Cluster == name && tunnel.Reachable {
				return fmt.Sprintf("its gateway nodes answer those of cluster %s", f.Gateways[i].Spec.Cluster)
			}
		}
	}
	return ""
}

// Loss is what nobody will have any more when a cluster has left.
type Loss struct {
	// Vpcs that lose their part in the cluster; Ending are those of them that are nowhere else.
	Vpcs, Ending []string
	// Subnets that have a CIDR there.
	Subnets []string
	// Peerings with an end there.
	Peerings []string
}

// Losses of a cluster's leave.
func Losses(f *facts.Facts, cluster string) Loss {
	var loss Loss
	there := map[string]bool{}
	for i := range f.Vpcs {
		vpc := &f.Vpcs[i]
		name := vpc.Namespace + "/" + vpc.Name
		in := slices.ContainsFunc(vpc.Status.Clusters, func(c networkv1alpha1.VpcCluster) bool { return string(c.Name) == cluster })
		if !in {
			continue
		}
		there[name] = true
		loss.Vpcs = append(loss.Vpcs, name)
		if len(vpc.Status.Clusters) == 1 {
			loss.Ending = append(loss.Ending, name)
		}
	}
	for i := range f.Subnets {
		subnet := &f.Subnets[i]
		for _, c := range subnet.Status.Clusters {
			if string(c.Name) == cluster {
				loss.Subnets = append(loss.Subnets, fmt.Sprintf("%s/%s (%s)", subnet.Namespace, subnet.Name, c.CIDR))
			}
		}
	}
	for i := range f.Peerings {
		p := &f.Peerings[i]
		peer := p.Namespace
		if p.Spec.PeerVpc.Namespace != "" {
			peer = string(p.Spec.PeerVpc.Namespace)
		}
		if there[p.Namespace+"/"+p.Spec.Vpc] || there[peer+"/"+p.Spec.PeerVpc.Name] {
			loss.Peerings = append(loss.Peerings, p.Namespace+"/"+p.Name)
		}
	}
	for _, names := range [][]string{loss.Vpcs, loss.Ending, loss.Subnets, loss.Peerings} {
		slices.Sort(names)
	}
	return loss
}

// Progress is how far a leave has come.
type Progress struct {
	// Begun is false while the hub has not answered.
	Begun bool
	// Membership that the hub says.
	Membership spokev1alpha1.Membership
	// Confirm are the clusters that may still have routes to it.
	Confirm []string
	// Routers that are left in the cluster itself.
	Routers int
	// Frozen is why the hub writes nothing, or removes nothing, until somebody confirms it; empty when it is not frozen.
	Frozen string
	// Drained is true when nobody has a route there; Left when the object is gone that was deleted.
	Drained, Left bool
}

// ProgressOf a cluster that leaves by the deletion of target.
func ProgressOf(f *facts.Facts, cluster string, target Target) Progress {
	managed, addOn := find(f, cluster), f.AddOn(cluster)
	p := Progress{Left: managed == nil || target == TargetAddOn && addOn == nil}
	if gateway := f.Gateway(cluster); gateway != nil {
		p.Membership = gateway.Spec.Membership
	}
	if c := f.Frozen(); c != nil {
		p.Frozen = c.Reason
	}
	for i := range f.Routers {
		router := &f.Routers[i]
		switch {
		case router.Namespace == facts.Namespace: // a copy, in a hub that is a cluster too
		case router.Namespace == cluster:
			p.Routers++
		case mayRoute(router, cluster) && !slices.Contains(p.Confirm, router.Namespace):
			p.Confirm = append(p.Confirm, router.Namespace)
		}
	}
	slices.Sort(p.Confirm)
	p.Begun = p.Left || p.Membership == spokev1alpha1.MembershipDraining || p.Membership == spokev1alpha1.MembershipDrained
	p.Drained = p.Left || p.Membership == spokev1alpha1.MembershipDrained
	return p
}

// mayRoute is true while a router is told of the cluster, or has not realized yet what it was told last.
func mayRoute(router *spokev1alpha1.LocalRouter, cluster string) bool {
	return router.Status.ObservedGeneration < router.Generation ||
		slices.ContainsFunc(router.Spec.Remotes, func(r spokev1alpha1.Remote) bool { return r.Cluster == cluster })
}

// String is one line for a person who waits.
func (p Progress) String() string {
	switch {
	case p.Left:
		return "it has left"
	case p.Frozen == networkv1alpha1.ReasonMassRemoval:
		return p.step() + "; the hub holds back a large removal, which this may be part of, until somebody confirms it: look at kubectl tombolo confirm"
	case p.Frozen != "":
		return p.step() + "; the hub is frozen (" + p.Frozen + ") and nothing goes on until somebody confirms that it is right: look at kubectl tombolo confirm"
	}
	return p.step()
}

// step is how far it has come.
func (p Progress) step() string {
	switch {
	case p.Drained:
		return "Drained: no other cluster has a route to it; its agent cleans up"
	case !p.Begun:
		return "waiting for the hub to begin"
	case len(p.Confirm) > 0:
		return fmt.Sprintf("Draining: still to confirm that they have no route to it: %v", p.Confirm)
	}
	return fmt.Sprintf("Draining: every other cluster has confirmed, %d of its own routers are still there", p.Routers)
}
