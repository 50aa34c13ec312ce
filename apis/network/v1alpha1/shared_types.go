// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// CIDR is a canonical IPv4 prefix such as 10.0.0.0/16 (RFC 4632): no host bits set.
//
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="!self.contains(':')",messageExpression="\"'\" + self + \"' is an IPv6 CIDR, which is not supported yet: use an IPv4 CIDR such as 10.0.0.0/16\""
// +kubebuilder:validation:XValidation:rule="self.contains(':') || isCIDR(self)",messageExpression="\"'\" + self + \"' is not a CIDR: write address/length such as 10.0.0.0/16\""
// +kubebuilder:validation:XValidation:rule="self.contains(':') || !isCIDR(self) || string(cidr(self).masked()) == self",messageExpression="\"'%s' is not canonical: write '%s'\".format([self, string(cidr(self).masked())])"
type CIDR string

// IPv4 is one IPv4 address such as 10.0.0.1.
//
// +kubebuilder:validation:MaxLength=39
// +kubebuilder:validation:XValidation:rule="!self.contains(':')",messageExpression="\"'\" + self + \"' is an IPv6 address, which is not supported yet: use an IPv4 address such as 10.0.0.1\""
// +kubebuilder:validation:XValidation:rule="self.contains(':') || isIP(self)",messageExpression="\"'\" + self + \"' is not an IPv4 address: write four numbers such as 10.0.0.1\""
type IPv4 string

// IPRange is one IPv4 address, or a first and a last one joined by "..": 10.0.0.2..10.0.0.9 (as in Kube-OVN's excludeIps).
//
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="self.split('..').size() <= 2 && self.split('..').all(a, isIP(a) && !a.contains(':'))",messageExpression="\"'\" + self + \"' is not an IPv4 address or range: write 10.0.0.2 or 10.0.0.2..10.0.0.9\""
type IPRange string

// ClusterName is the name of a cluster in the fleet: that of its OCM ManagedCluster, and of its namespace on the hub.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type ClusterName string

// NamespaceName is the name of a namespace, which is a tenant.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type NamespaceName string

const (
	// Finalizer on Vpc, Subnet and VpcPeering: the object stays until no cluster realizes it any more.
	Finalizer = "network.tombolo.io/realized"

	// AnnotationSubnet on a pod names the Subnet (of the pod's own namespace, or "namespace/name") that it joins.
	// Without it a pod joins the default Subnet of the Vpc that its namespace is bound to.
	AnnotationSubnet = "tombolo.io/subnet"

	// AnnotationVpc on a Namespace of a cluster is that namespace's consent to be bound by another tenant's Vpc
	// ("namespace/name"): without it, Vpc.spec.namespaces binds only the Vpc's own namespace.
	AnnotationVpc = "tombolo.io/vpc"

	// AnnotationNetwork on a pod is written by the spoke agent: what the pod's interface is, as JSON.
	AnnotationNetwork = "tombolo.io/network"

	// LabelEncryption on an OCM ManagedCluster says how its gateways exchange packets with other clusters: "WireGuard"
	// encrypted or not at all, "None" (and no label) as they are unless the other cluster wants otherwise. Any other value
	// is taken for "WireGuard": a typing error opens nothing.
	LabelEncryption = "tombolo.io/encryption"

	// LabelNodeToNode on an OCM ManagedCluster, with the value "true", says that its nodes and those of other clusters that
	// say it too reach each other on the underlay: then pods' packets go from node to node, past the gateways. Any other
	// value, and no label, says that only gateways reach other clusters: a typing error costs speed and no packet.
	LabelNodeToNode = "tombolo.io/node-to-node"

	// AnnotationEndpoints on an OCM ManagedCluster says where the addresses of its gateways and nodes are: IPv4 addresses and CIDRs, joined by
	// commas. The hub believes the cluster no other address. Without it the cluster may have any address that no other cluster has.
	AnnotationEndpoints = "tombolo.io/endpoints"

	// AnnotationGone on an OCM ManagedCluster that is being deleted, with the value "true", says that the cluster will never answer again:
	// nothing of it is waited for, and what it held is free. Any other value says nothing.
	AnnotationGone = "tombolo.io/gone"

	// DrainFinalizer on an OCM ManagedCluster holds it until nobody has a way to the cluster and its agent has said that nothing of Tombolo
	// is left there.
	DrainFinalizer = "network.tombolo.io/drain"
	// AddressFinalizer holds an ElasticIP until its address was given back.
	AddressFinalizer = "network.tombolo.io/address"
)
