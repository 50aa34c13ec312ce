// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package uninstall

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// maxNamed is how many objects of a kind a refusal names.
const maxNamed = 5

// inventory is what the hub cluster has of Tombolo that a finalizer may hold.
type inventory struct {
	peerings  []networkv1alpha1.VpcPeering
	subnets   []networkv1alpha1.Subnet
	vpcs      []networkv1alpha1.Vpc
	addresses []networkv1alpha1.ElasticIP
	routers   []spokev1alpha1.LocalRouter
	gateways  []spokev1alpha1.InterconnectGateway
	clusters  []clusterv1.ManagedCluster
}

// standing says what needs the hub, each with the cure; nothing when it can go.
func (i *inventory) standing() []string {
	var all []string
	say := func(what string, names []string, cure string) {
		if len(names) == 0 {
			return
		}
		slices.Sort(names)
		text := strings.Join(names[:min(len(names), maxNamed)], ", ")
		if len(names) > maxNamed {
			text += fmt.Sprintf(" and %d more", len(names)-maxNamed)
		}
		all = append(all, fmt.Sprintf("%s %s: %s", what, text, cure))
	}
	say("VpcPeerings", keys(i.peerings), "delete them")
	say("Subnets", keys(i.subnets), "delete them")
	say("Vpcs", keys(i.vpcs), "delete them")
	say("ElasticIPs", keys(i.addresses), "delete them")
	say("clusters with an agent", i.members(), "let each leave by helm uninstall tombolo-spoke-agent there, or by kubectl tombolo leave NAME; of one that is lost say kubectl tombolo leave NAME --gone")
	say("LocalRouters", keys(i.routers), "the hub withdraws them when the above has gone: wait, and try again")
	return all
}

// members are the clusters whose agents have said something, and not that they have left.
func (i *inventory) members() []string {
	var names []string
	for _, g := range i.gateways {
		said := len(g.Status.Conditions) > 0 || g.Status.ClusterID != ""
		c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionLeaving)
		if left := c != nil && c.Status == "True" && c.Reason == spokev1alpha1.ReasonLeft; said && !left {
			names = append(names, g.Namespace)
		}
	}
	return names
}

func keys[T any, O interface {
	*T
	client.Object
}](items []T) []string {
	var names []string
	for i := range items {
		names = append(names, client.ObjectKeyFromObject(O(&items[i])).String())
	}
	return names
}

// held are the objects that have a finalizer of Tombolo.
func (i *inventory) held() []client.Object {
	var all []client.Object
	all = append(all, holding(i.peerings)...)
	all = append(all, holding(i.subnets)...)
	all = append(all, holding(i.vpcs)...)
	all = append(all, holding(i.addresses)...)
	all = append(all, holding(i.routers)...)
	all = append(all, holding(i.gateways)...)
	return append(all, holding(i.clusters)...)
}

func holding[T any, O interface {
	*T
	client.Object
}](items []T) []client.Object {
	var held []client.Object
	for i := range items {
		if object := O(&items[i]); slices.ContainsFunc(object.GetFinalizers(), ours) {
			held = append(held, object)
		}
	}
	return held
}

func ours(finalizer string) bool {
	return finalizer == networkv1alpha1.Finalizer || finalizer == networkv1alpha1.AddressFinalizer || finalizer == networkv1alpha1.DrainFinalizer || finalizer == spokev1alpha1.Finalizer
}
