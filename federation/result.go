// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Key names an object: "namespace/name", or "name" for kinds of cluster scope.
type Key string

// Result is the whole decision. Map keys are those of the objects on the hub.
type Result struct {
	// Pools are the new ledgers. They must be stored before anything else of the Result is.
	Pools map[Key]networkv1alpha1.IPPoolStatus

	// Routers and Gateways are what each cluster is told: name, namespace (the cluster), labels, finalizer and spec.
	Routers  map[Key]*spokev1alpha1.LocalRouter
	Gateways map[Key]*spokev1alpha1.InterconnectGateway

	// Deletions are distributed objects that must go, each with the evidence for it. What is in neither
	// Routers nor Deletions stays as it is: an object is never deleted because it was not seen.
	Deletions []Deletion

	// Statuses of what people wrote. Conditions carry no transition time: that is the writer's.
	Vpcs     map[Key]networkv1alpha1.VpcStatus
	Subnets  map[Key]networkv1alpha1.SubnetStatus
	Peerings map[Key]networkv1alpha1.VpcPeeringStatus

	// Released are objects under deletion that no cluster realizes any more: their finalizer may go.
	Released []ObjectRef

	// Removal is what the plan would take away when it is too much to go without a question, and what of it was confirmed; nil when there is neither.
	Removal *Removal
	// Doubt is why this hub may not be the one that the clusters know; nil when it is. Nothing of the Result may be written then.
	Doubt *Doubt
}

// Changes are the keys of a Result whose value differs from the Result before: new, other or gone (then the key is in
// Changes and not in the Result). Each list is sorted. Deletions and Released are short: look at them each time.
type Changes struct {
	Pools    []Key
	Routers  []Key
	Gateways []Key
	Vpcs     []Key
	Subnets  []Key
	Peerings []Key
}

// Deletion is a distributed object that must go.
type Deletion struct {
	// Kind is LocalRouter or InterconnectGateway.
	Kind string
	// Key of the object on the hub.
	Key Key
	// Because is the evidence, for the log and the event: "Vpc shop/vpc-1 is being deleted".
	Because string
}

// ObjectRef refers to an object that a person wrote.
type ObjectRef struct {
	// Kind is Vpc, Subnet or VpcPeering.
	Kind string
	// Key of the object.
	Key Key
}

// condition is the one way to make a condition here.
func condition(typ string, ok bool, reason, message string, generation int64) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: typ, Status: status, Reason: reason, Message: message, ObservedGeneration: generation}
}
