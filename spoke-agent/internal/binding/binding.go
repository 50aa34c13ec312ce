// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package binding decides which subnet a pod joins. It is pure: the router controller asks it in
// order to make ports, the CNI server in order to know whether a pod is any of Tombolo's business.
//
//	annotation tombolo.io/subnet on the pod        → that subnet
//	else the namespace is named by a Subnet or Vpc → that subnet, or the Vpc's default one
//	else                                           → none: the pod stays on the cluster's own network
//
// A namespace that a Vpc of another tenant names is bound only when both sides say so: the Vpc lists
// the namespace, and the namespace carries the annotation tombolo.io/vpc with that Vpc.
package binding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/naming"
)

// Binding is the subnet that a pod joins.
type Binding struct {
	Router *spokev1alpha1.LocalRouter
	Subnet *spokev1alpha1.RouterSubnet
}

// SubnetKey is "namespace/name" of the Subnet.
func (b *Binding) SubnetKey() string { return b.Router.Spec.Vpc.Namespace + "/" + b.Subnet.Name }

// Error says why a pod that asks for a Vpc can't join it. It names field, value and cure.
type Error struct {
	// Field of the pod or of its Namespace.
	Field string
	// Value that it has.
	Value string
	// Problem and Cure, each a clause.
	Problem, Cure string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s %q: %s: %s", e.Field, e.Value, e.Problem, e.Cure)
}

// Index finds subnets by name and by bound namespace.
type Index struct {
	subnets    map[string]Binding                      // by SubnetKey
	namespaces map[string][]*spokev1alpha1.LocalRouter // by bound namespace, the oldest router first
}

// NewIndex indexes routers. Those under deletion bind nobody.
func NewIndex(routers []spokev1alpha1.LocalRouter) *Index {
	index := &Index{subnets: map[string]Binding{}, namespaces: map[string][]*spokev1alpha1.LocalRouter{}}
	for i := range routers {
		router := &routers[i]
		if router.DeletionTimestamp != nil {
			continue
		}
		for j := range router.Spec.Subnets {
			b := Binding{Router: router, Subnet: &router.Spec.Subnets[j]}
			index.subnets[b.SubnetKey()] = b
		}
		for _, namespace := range boundNamespaces(router) {
			index.namespaces[namespace] = append(index.namespaces[namespace], router)
		}
	}
	for _, bound := range index.namespaces {
		slices.SortFunc(bound, func(a, b *spokev1alpha1.LocalRouter) int {
			return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
		})
	}
	return index
}

// boundNamespaces are the namespaces that a router's Vpc or one of its subnets names, each once.
func boundNamespaces(router *spokev1alpha1.LocalRouter) []string {
	names := slices.Clone(router.Spec.Namespaces)
	for _, subnet := range router.Spec.Subnets {
		names = append(names, subnet.Namespaces...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Resolve says which subnet pod joins; nil means none. namespace is the pod's.
func (x *Index) Resolve(pod *corev1.Pod, namespace *corev1.Namespace) (*Binding, error) {
	if !Candidate(pod) {
		return nil, nil
	}
	consent := namespace.Annotations[networkv1alpha1.AnnotationVpc]
	if name, ok := pod.Annotations[networkv1alpha1.AnnotationSubnet]; ok {
		return x.byAnnotation(pod.Namespace, name, consent)
	}
	return x.byNamespace(pod.Namespace, consent)
}

// Candidate is false for pods that join no Vpc, whatever anybody says: those of the host's network, those that have
// finished, and those that were started on the cluster's own network before their namespace was bound (an interface
// is plugged when a pod starts, never later).
func Candidate(pod *corev1.Pod) bool {
	_, plugged := pod.Annotations[networkv1alpha1.AnnotationNetwork]
	startedElsewhere := pod.Status.PodIP != "" && !plugged
	return !pod.Spec.HostNetwork && !Finished(pod) && !startedElsewhere
}

// Finished is true for a pod whose containers have ended for good: it needs no address any more.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func (x *Index) byAnnotation(namespace, name, consent string) (*Binding, error) {
	const field = "metadata.annotations[" + networkv1alpha1.AnnotationSubnet + "]"
	key := name
	if !strings.Contains(name, "/") {
		key = namespace + "/" + name
	}
	b, ok := x.subnets[key]
	if !ok {
		return nil, &Error{
			Field: field, Value: name, Problem: "no Subnet " + key + " in this cluster",
			Cure: "name a Subnet of a Vpc that has this cluster among its clusters",
		}
	}
	vpc := b.Router.Spec.Vpc
	if vpc.Namespace == namespace {
		return &b, nil
	}
	if !slices.Contains(boundNamespaces(b.Router), namespace) {
		return nil, &Error{
			Field: field, Value: name, Problem: fmt.Sprintf("Vpc %s is not shared with namespace %s", naming.VpcKey(vpc), namespace),
			Cure: fmt.Sprintf("add %q to spec.namespaces of the Vpc", namespace),
		}
	}
	if consent != naming.VpcKey(vpc) {
		return nil, &Error{
			Field: field, Value: name, Problem: fmt.Sprintf("namespace %s does not consent to Vpc %s of another tenant", namespace, naming.VpcKey(vpc)),
			Cure: fmt.Sprintf("annotate the Namespace with %s=%s", networkv1alpha1.AnnotationVpc, naming.VpcKey(vpc)),
		}
	}
	return &b, nil
}

// byNamespace takes the Vpc that the namespace consents to, else the oldest one of the same tenant. The hub refuses a
// second Vpc for one namespace; while one hands over to the other, the older keeps its pods.
func (x *Index) byNamespace(namespace, consent string) (*Binding, error) {
	bound := x.namespaces[namespace]
	pick := slices.IndexFunc(bound, func(r *spokev1alpha1.LocalRouter) bool { return naming.VpcKey(r.Spec.Vpc) == consent })
	if pick < 0 {
		pick = slices.IndexFunc(bound, func(r *spokev1alpha1.LocalRouter) bool { return r.Spec.Vpc.Namespace == namespace })
	}
	if pick < 0 {
		return nil, nil
	}
	router := bound[pick]
	for i, subnet := range router.Spec.Subnets {
		if slices.Contains(subnet.Namespaces, namespace) {
			return &Binding{Router: router, Subnet: &router.Spec.Subnets[i]}, nil
		}
	}
	for i, subnet := range router.Spec.Subnets {
		if subnet.Default {
			return &Binding{Router: router, Subnet: &router.Spec.Subnets[i]}, nil
		}
	}
	return nil, &Error{
		Field: "metadata.namespace", Value: namespace,
		Problem: fmt.Sprintf("Vpc %s binds the namespace, but none of its Subnets in this cluster is the default one or names it", naming.VpcKey(router.Spec.Vpc)),
		Cure:    fmt.Sprintf("set spec.default on a Subnet of the Vpc, or annotate the pod with %s", networkv1alpha1.AnnotationSubnet),
	}
}
