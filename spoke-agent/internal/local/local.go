// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package local says what the agents keep in their own cluster, and under which names: the copies of
// the hub's objects, who holds them while they are being deleted, and what a node says of itself.
//
// The copies are all that the agents work from. A copy's finalizers are the list of who still
// realizes it: the router controller (OVN) and each gateway node, or node with pods (interfaces and maps).
package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	// Namespace of the copies, and of the agents.
	Namespace = "tombolo-system"

	// LabelOwn on the copy of an InterconnectGateway says that it is this cluster's own; the others are the directory.
	LabelOwn = "spoke.tombolo.io/own-cluster"

	// RouterFinalizer on a copy: OVN has rows of it.
	RouterFinalizer = "spoke.tombolo.io/router"
	// gatewayFinalizerPrefix on a copy: a gateway node, or one with pods of it, has interfaces or maps of it.
	gatewayFinalizerPrefix = "spoke.tombolo.io/gateway-"

	// LabelGateway on a Node, with the value "true", makes it a gateway node.
	LabelGateway = "tombolo.io/gateway"
	// AnnotationGatewayEndpoint on a Node is written by its agent: its address on the underlay between clusters.
	AnnotationGatewayEndpoint = "tombolo.io/gateway-endpoint"
	// AnnotationGatewayPublicKey is written there too: the public half of the node's key.
	AnnotationGatewayPublicKey = "tombolo.io/gateway-public-key"
	// AnnotationGatewayWireGuardPort is written there too: the UDP port that the node's WireGuard listens on.
	AnnotationGatewayWireGuardPort = "tombolo.io/gateway-wireguard-port"
	// AnnotationNodeEndpoint on a Node is written by its agent, gateway or not, when pods there send by themselves: its address on
	// the underlay between clusters. What is for its pods may be sent there.
	AnnotationNodeEndpoint = "tombolo.io/node-endpoint"
	// AnnotationDirectPath on a pod is written by the agent of its node when the programs there know the pod: the address of the
	// node on the underlay. Gateways send what is for the pod there, and for pods without it into OVN.
	AnnotationDirectPath = "tombolo.io/direct-path"
	// AnnotationAgent on a Node is written by its agent as long as something of Tombolo may be on the node: the version of the agent.
	AnnotationAgent = "tombolo.io/agent"
	// AnnotationRotateKey on a gateway Node is written by people: any text that was not there before makes the node
	// replace its key.
	AnnotationRotateKey = "tombolo.io/rotate-key"
)

// maxQualifiedName is the longest name part of a finalizer (Kubernetes qualified name).
const maxQualifiedName = 63

// GatewayFinalizer is the finalizer of a node. A node name that does not fit is cut and told apart by a hash.
func GatewayFinalizer(node string) string {
	name := "gateway-" + node
	if len(name) > maxQualifiedName {
		sum := sha256.Sum256([]byte(node))
		name = strings.TrimRight(name[:maxQualifiedName-9], "-.") + "-" + hex.EncodeToString(sum[:4])
	}
	return "spoke.tombolo.io/" + name
}

// IsGatewayFinalizer is true for the finalizer of any node.
func IsGatewayFinalizer(finalizer string) bool {
	return strings.HasPrefix(finalizer, gatewayFinalizerPrefix)
}

// HubUID is the UID of the hub's object that obj is the copy of; empty when it is no copy.
func HubUID(obj client.Object) string {
	return obj.GetAnnotations()[spokev1alpha1.AnnotationHubUID]
}

// HubGeneration is the generation of the hub's object that obj is the copy of. An object that is no copy answers
// with its own, so that a LocalRouter made by hand reports progress too.
func HubGeneration(obj client.Object) int64 {
	if g, err := strconv.ParseInt(obj.GetAnnotations()[spokev1alpha1.AnnotationHubGeneration], 10, 64); err == nil {
		return g
	}
	return obj.GetGeneration()
}

// Hold adds finalizer to obj, unless it has it. Others add theirs at the same time, so a conflict is normal: look again.
func Hold(ctx context.Context, c client.Client, obj client.Object, finalizer string) error {
	before := obj.DeepCopyObject().(client.Object)
	if !controllerutil.AddFinalizer(obj, finalizer) {
		return nil
	}
	return c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// Release removes the finalizers for which gone is true. An obj that is not there any more is released.
func Release(ctx context.Context, c client.Client, obj client.Object, gone func(finalizer string) bool) error {
	if !slices.ContainsFunc(obj.GetFinalizers(), gone) {
		return nil
	}
	before := obj.DeepCopyObject().(client.Object)
	obj.SetFinalizers(slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), gone))
	return client.IgnoreNotFound(c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}
