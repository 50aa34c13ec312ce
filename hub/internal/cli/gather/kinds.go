// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tombolo-io/tombolo/hub/internal/cli/facts"
)

// kind of objects that a bug report needs.
type kind struct {
	schema.GroupVersionKind
	// system is true for those of namespace tombolo-system only.
	system bool
	// keep says which; nil keeps all.
	keep func(*unstructured.Unstructured) bool
}

// kinds, in the order in which they are written. One that is not installed is passed over.
var kinds = []kind{
	of("network.tombolo.io", "v1alpha1", "Fleet"),
	of("network.tombolo.io", "v1alpha1", "IPPool"),
	of("network.tombolo.io", "v1alpha1", "Vpc"),
	of("network.tombolo.io", "v1alpha1", "Subnet"),
	of("network.tombolo.io", "v1alpha1", "VpcPeering"),
	of("spoke.tombolo.io", "v1alpha1", "LocalRouter"),
	of("spoke.tombolo.io", "v1alpha1", "InterconnectGateway"),

	of("cluster.open-cluster-management.io", "v1", "ManagedCluster"),
	of("cluster.open-cluster-management.io", "v1beta1", "Placement"),
	of("cluster.open-cluster-management.io", "v1beta1", "PlacementDecision"),
	of("cluster.open-cluster-management.io", "v1beta2", "ManagedClusterSet"),
	of("cluster.open-cluster-management.io", "v1beta2", "ManagedClusterSetBinding"),
	of("addon.open-cluster-management.io", "v1alpha1", "ClusterManagementAddOn").where(ours),
	of("addon.open-cluster-management.io", "v1alpha1", "ManagedClusterAddOn").where(ours),
	of("addon.open-cluster-management.io", "v1alpha1", "AddOnDeploymentConfig").where(ours),
	of("work.open-cluster-management.io", "v1", "ManifestWork").where(ours),
	of("certificates.k8s.io", "v1", "CertificateSigningRequest").where(ours),

	of("apps", "v1", "Deployment").inSystem(),
	of("apps", "v1", "DaemonSet").inSystem(),
	of("apps", "v1", "ReplicaSet").inSystem(),
	of("batch", "v1", "Job").inSystem(),
	of("", "v1", "Pod").inSystem(),
	of("", "v1", "ConfigMap").inSystem().where(notCA),
	of("", "v1", "Service").inSystem(),
	of("", "v1", "ServiceAccount").inSystem(),
	of("networking.k8s.io", "v1", "NetworkPolicy").inSystem(),
	of("policy", "v1", "PodDisruptionBudget").inSystem(),
	of("coordination.k8s.io", "v1", "Lease").where(leaseOfOurs),
	of("", "v1", "Event").where(eventOfOurs),
	of("", "v1", "Node"),

	of("rbac.authorization.k8s.io", "v1", "ClusterRole").where(ours),
	of("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding").where(ours),
	of("rbac.authorization.k8s.io", "v1", "Role").where(ours),
	of("rbac.authorization.k8s.io", "v1", "RoleBinding").where(ours),
	of("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy").where(ours),
	of("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding").where(ours),
}

func of(group, version, name string) kind {
	return kind{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: name}}
}

func (k kind) inSystem() kind {
	k.system = true
	return k
}

func (k kind) where(keep func(*unstructured.Unstructured) bool) kind {
	k.keep = keep
	return k
}

// file that the objects of a kind go into.
func (k kind) file() string {
	group := k.Group
	if group == "" {
		group = "core"
	}
	return "resources/" + group + "/" + strings.ToLower(k.Kind) + ".yaml"
}

// what it is called when it could not be read.
func (k kind) what() string {
	what := strings.ToLower(k.Kind) + "s"
	if k.system {
		what += " in " + facts.Namespace
	}
	return what
}

// ours has the product's name: in its own, in its namespace's, as its add-on, or as who asked for it.
func ours(object *unstructured.Unstructured) bool {
	username, _, _ := unstructured.NestedString(object.Object, "spec", "username")
	return strings.Contains(object.GetName(), facts.AddOn) || object.GetNamespace() == facts.Namespace ||
		object.GetLabels()["open-cluster-management.io/addon-name"] == facts.AddOn ||
		strings.HasPrefix(username, "system:serviceaccounts:tombolo") || strings.HasPrefix(username, "system:serviceaccount:tombolo")
}

// leaseOfOurs is also that of OCM's agent of each cluster.
func leaseOfOurs(lease *unstructured.Unstructured) bool {
	return ours(lease) || lease.GetName() == facts.ClusterLease
}

// notCA leaves away what Kubernetes puts into every namespace.
func notCA(object *unstructured.Unstructured) bool { return object.GetName() != "kube-root-ca.crt" }

// eventOfOurs concerns an object of the product, comes from it, or names it.
func eventOfOurs(event *unstructured.Unstructured) bool {
	text := func(fields ...string) string {
		value, _, _ := unstructured.NestedString(event.Object, fields...)
		return value
	}
	return event.GetNamespace() == facts.Namespace || strings.HasPrefix(text("reportingComponent"), "tombolo") || strings.HasPrefix(text("source", "component"), "tombolo") ||
		strings.HasSuffix(text("involvedObject", "apiVersion"), "tombolo.io/v1alpha1") || strings.Contains(text("involvedObject", "apiVersion"), ".tombolo.io/") ||
		strings.Contains(text("message"), facts.AddOn)
}
