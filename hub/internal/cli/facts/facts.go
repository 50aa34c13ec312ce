// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package facts looks at a cluster once: everything that a report, a check or an archive is made of. It decides nothing,
// and what it may not read it says so: no permission is no failure.
package facts

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// Names that charts, hub and agents use.
const (
	// Namespace of Tombolo on the hub and in each cluster.
	Namespace = "tombolo-system"
	// AddOn is the name of the OCM add-on, of the lease in a cluster by which OCM's agent there tells its health, and of the lease that Tombolo's
	// agent renews in the cluster's namespace on the hub.
	AddOn = "tombolo"
	// ClusterLease is the lease of OCM's agent, in the cluster's namespace on the hub.
	ClusterLease = "managed-cluster-lease"
	// HubDeployment is the hub, and the name of its leader's lease.
	HubDeployment = "tombolo-hub"
	// AgentDeployment is the agent that speaks for a cluster, and the name of its leader's lease.
	AgentDeployment = "tombolo-agent-controller"
	// AgentDaemonSet is the agent of each node.
	AgentDaemonSet = "tombolo-agent-node"
	// HubSecret has the agent's identity on the hub.
	HubSecret = "tombolo-hub-kubeconfig"
	// AnnotationJoinedBy on a ManagedCluster says how it came in; JoinedByToken is `kubectl tombolo join`.
	AnnotationJoinedBy = "tombolo.io/joined-by"
	// JoinedByToken marks a cluster without OCM's agents.
	JoinedByToken = "token"
	// AnnotationGone on a ManagedCluster, with the value "true", says that the cluster will never come back.
	AnnotationGone = "tombolo.io/gone"
	// DrainFinalizer on a ManagedCluster is the hub's: the cluster is not drained yet.
	DrainFinalizer = "network.tombolo.io/drain"
	// LabelGateway on a Node, with the value "true", makes it a gateway.
	LabelGateway = "tombolo.io/gateway"
	// AnnotationGatewayEndpoint on a Node is its address on the underlay, as its agent announces it.
	AnnotationGatewayEndpoint = "tombolo.io/gateway-endpoint"
	// LabelOwn on the copy of an InterconnectGateway says that it is this cluster's own.
	LabelOwn = "spoke.tombolo.io/own-cluster"
)

// Facts are what one look found.
type Facts struct {
	// Context of the kubeconfig, and the address of the API server.
	Context, Server string
	// Hub is true when the kinds that people write are installed here; Cluster when an agent works here. A hub may be both.
	Hub, Cluster bool
	// Now is the clock of this machine, ServerTime that of the API server at the same moment.
	Now, ServerTime time.Time
	// ServerVersion is Kubernetes' version.
	ServerVersion string

	// CRDs of Tombolo that are installed.
	CRDs []apiextensionsv1.CustomResourceDefinition

	// Fleets is the hub's own Fleet.
	Fleets []networkv1alpha1.Fleet
	// What people write on the hub.
	Pools []networkv1alpha1.IPPool
	// Addresses that are handed out singly.
	Addresses []networkv1alpha1.IPAddress
	Vpcs      []networkv1alpha1.Vpc
	Subnets   []networkv1alpha1.Subnet
	Peerings  []networkv1alpha1.VpcPeering

	// What the hub tells clusters (on the hub), or the copies of it (in a cluster).
	Routers  []spokev1alpha1.LocalRouter
	Gateways []spokev1alpha1.InterconnectGateway

	// The fleet, on the hub.
	ManagedClusters []clusterv1.ManagedCluster
	Placements      []clusterv1beta1.Placement
	Decisions       []clusterv1beta1.PlacementDecision
	AddOns          []addonv1alpha1.ManagedClusterAddOn
	// ManagementAddOn is nil when the add-on is not enabled.
	ManagementAddOn *addonv1alpha1.ClusterManagementAddOn

	// Namespace tombolo-system, and leases of clusters' agents on the hub.
	Deployments []appsv1.Deployment
	DaemonSets  []appsv1.DaemonSet
	Pods        []corev1.Pod
	Leases      []coordinationv1.Lease
	Events      []corev1.Event

	// A cluster's nodes, the agent's identity, and pods of Vpcs.
	Nodes      []corev1.Node
	Identity   *Identity
	BoundPods  []corev1.Pod
	Namespaces []corev1.Namespace

	// Unread is what could not be read, and why.
	Unread []Unread
}

// Identity is what can be told of the agent's Secret without telling it.
type Identity struct {
	// Keys of the Secret.
	Keys []string `json:"keys"`
	// Cluster that the Secret names.
	Cluster string `json:"cluster,omitempty"`
	// Subject of the certificate: the user that the agent is on the hub.
	Subject string `json:"subject,omitempty"`
	// NotBefore is when the certificate begins.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// NotAfter is when the certificate ends.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// Problem is why the certificate can't be read.
	Problem string `json:"problem,omitempty"`
}

// Unread is a kind of objects that could not be read.
type Unread struct {
	// What it is, in the plural: "leases in tombolo-system".
	What string `json:"what"`
	// Why not.
	Why string `json:"why"`
}

// Frozen is the condition that says what the hub holds back; nil when it holds back nothing.
func (f *Facts) Frozen() *metav1.Condition {
	for i := range f.Fleets {
		c := meta.FindStatusCondition(f.Fleets[i].Status.Conditions, networkv1alpha1.ConditionFrozen)
		if c != nil && c.Status == metav1.ConditionTrue {
			return c
		}
	}
	return nil
}

// Deployment finds one of tombolo-system by name.
func (f *Facts) Deployment(name string) *appsv1.Deployment {
	for i := range f.Deployments {
		if f.Deployments[i].Name == name {
			return &f.Deployments[i]
		}
	}
	return nil
}

// DaemonSet finds one of tombolo-system by name.
func (f *Facts) DaemonSet(name string) *appsv1.DaemonSet {
	for i := range f.DaemonSets {
		if f.DaemonSets[i].Name == name {
			return &f.DaemonSets[i]
		}
	}
	return nil
}

// Lease finds a lease.
func (f *Facts) Lease(namespace, name string) *coordinationv1.Lease {
	for i := range f.Leases {
		if f.Leases[i].Namespace == namespace && f.Leases[i].Name == name {
			return &f.Leases[i]
		}
	}
	return nil
}

// Gateway is what the hub knows of a cluster's gateways: on the hub the object in the cluster's namespace, in a cluster the copy.
func (f *Facts) Gateway(cluster string) *spokev1alpha1.InterconnectGateway {
	for i := range f.Gateways {
		g := &f.Gateways[i]
		if g.Spec.Cluster == cluster && (f.Hub && g.Namespace == cluster || !f.Hub) {
			return g
		}
	}
	return nil
}

// Own is a cluster's own gateways, by its copies.
func (f *Facts) Own() *spokev1alpha1.InterconnectGateway {
	for i := range f.Gateways {
		if f.Gateways[i].Labels[LabelOwn] == "true" && f.Gateways[i].Namespace == Namespace {
			return &f.Gateways[i]
		}
	}
	return nil
}

// AddOn is Tombolo's add-on for a cluster; nil when the cluster has none.
func (f *Facts) AddOn(cluster string) *addonv1alpha1.ManagedClusterAddOn {
	for i := range f.AddOns {
		if f.AddOns[i].Namespace == cluster && f.AddOns[i].Name == AddOn {
			return &f.AddOns[i]
		}
	}
	return nil
}

// Heard is when the hub last heard of a cluster: the lease of OCM's agent, that of Tombolo's, or the newest status that Tombolo's has written.
// Zero when it never did.
func (f *Facts) Heard(cluster string) time.Time {
	var heard time.Time
	if lease := f.Lease(cluster, ClusterLease); lease != nil && lease.Spec.RenewTime != nil {
		heard = lease.Spec.RenewTime.Time
	}
	if lease := f.Lease(cluster, AddOn); lease != nil && lease.Spec.RenewTime != nil {
		heard = latest(heard, lease.ManagedFields, "") // by the clock of the hub's API server
	}
	if gateway := f.Gateway(cluster); gateway != nil {
		heard = later(heard, gateway.ManagedFields)
	}
	for i := range f.Routers {
		if f.Routers[i].Namespace == cluster {
			heard = later(heard, f.Routers[i].ManagedFields)
		}
	}
	return heard
}

// later is the newest time at which a status was written, if that is after t.
func later(t time.Time, written []metav1.ManagedFieldsEntry) time.Time {
	return latest(t, written, "status")
}

func latest(t time.Time, written []metav1.ManagedFieldsEntry, subresource string) time.Time {
	for _, fields := range written {
		if fields.Subresource == subresource && fields.Time != nil && fields.Time.After(t) {
			t = fields.Time.Time
		}
	}
	return t
}

// ByToken is true for a cluster that was joined by `kubectl tombolo join`: OCM's agents are not there, and OCM hears nothing of it.
func ByToken(cluster *clusterv1.ManagedCluster) bool {
	return cluster.Annotations[AnnotationJoinedBy] == JoinedByToken
}

// Clock is the API server's clock, as far as it is known: that by which leases and certificates are judged.
func (f *Facts) Clock() time.Time {
	if f.ServerTime.IsZero() {
		return f.Now
	}
	return f.ServerTime
}
