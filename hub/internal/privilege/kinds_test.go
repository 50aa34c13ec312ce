// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
)

// kind is a kind that somebody could lay hands on.
type kind struct {
	plural     string
	apiVersion string
	name       string
	// cluster is true for a kind without namespaces.
	cluster bool
	// body is what a valid object has beside its metadata, as YAML.
	body string
	// spec and status are a field and another value of it.
	spec, status field
	// names of the objects that are tried; "one", and of some kinds "two", when there are none.
	names []string
}

type field struct {
	path  string
	value any
}

func (k *kind) resource() schema.GroupVersionResource {
	gv, _ := schema.ParseGroupVersion(k.apiVersion)
	return gv.WithResource(k.plural)
}

// ours is true for Tombolo's own kinds.
func (k *kind) ours() bool { return strings.Contains(k.apiVersion, "tombolo.io/") }

func (k *kind) object(namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(k.body), &o.Object); err != nil {
		panic(fmt.Sprintf("body of %s: %v", k.plural, err))
	}
	if o.Object == nil {
		o.Object = map[string]any{}
	}
	o.SetAPIVersion(k.apiVersion)
	o.SetKind(k.name)
	o.SetName(name)
	if !k.cluster {
		o.SetNamespace(namespace)
	}
	if k.plural == "events" {
		_ = unstructured.SetNestedField(o.Object, namespace, "involvedObject", "namespace")
	}
	return o
}

// kinds are the rows of the matrix. Each of Tombolo's must be among them: TestEveryKindHasRows.
var kinds = byPlural(
	&kind{plural: "ippools", apiVersion: "network.tombolo.io/v1alpha1", name: "IPPool", cluster: true, body: "spec: {purpose: Vpc, cidrs: [10.0.0.0/16]}",
		spec: field{"spec.cidrs", []any{"10.0.0.0/16", "10.1.0.0/16"}}, status: field{"status.allocated", int64(7)}},
	&kind{plural: "fleets", apiVersion: "network.tombolo.io/v1alpha1", name: "Fleet", cluster: true, body: "spec: {maxRemovalPercent: 20}", names: []string{"fleet"},
		spec: field{"spec.maxRemovalPercent", int64(100)}, status: field{"status.epoch", int64(77)}},
	&kind{plural: "vpcs", apiVersion: "network.tombolo.io/v1alpha1", name: "Vpc", body: "spec: {clusters: {names: [east]}}",
		spec: field{"spec.clusters.names", []any{"west"}}, status: field{"status.vni", int64(7)}},
	&kind{plural: "subnets", apiVersion: "network.tombolo.io/v1alpha1", name: "Subnet", body: "spec: {vpc: a, cidrBlock: 10.0.0.0/24}",
		spec: field{"spec.default", true}, status: field{"status.clusters", []any{map[string]any{"name": "east", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}}}},
	&kind{plural: "vpcpeerings", apiVersion: "network.tombolo.io/v1alpha1", name: "VpcPeering", body: "spec: {vpc: a, peerVpc: {name: b}}",
		status: field{"status.state", "Active"}},
	&kind{plural: "ipaddresses", apiVersion: "network.tombolo.io/v1alpha1", name: "IPAddress", cluster: true,
		body: "spec: {address: 203.0.113.7, pool: public, owner: {kind: ElasticIP, namespace: shop, name: web, uid: u}}", names: []string{"one.203-0-113-7", "two.203-0-113-7"}},
	&kind{plural: "elasticips", apiVersion: "network.tombolo.io/v1alpha1", name: "ElasticIP", body: "spec: {pool: public}", status: field{"status.address", "203.0.113.7"}},
	&kind{plural: "interconnectgateways", apiVersion: "spoke.tombolo.io/v1alpha1", name: "InterconnectGateway", body: "spec: {cluster: east, encapsulation: VXLAN, port: 4789}",
		spec: field{"spec.port", int64(4790)}, status: field{"status.endpoints", []any{map[string]any{"node": "n", "address": "192.0.2.66"}}}, names: []string{"(place)", "west"}},
	&kind{plural: "localrouters", apiVersion: "spoke.tombolo.io/v1alpha1", name: "LocalRouter", body: "spec: {vpc: {namespace: shop, name: a, vni: 4097}, vpcUID: u, linkCIDR: 100.64.0.0/29}",
		spec: field{"spec.vpc.vni", int64(4098)}, status: field{"status.observedGeneration", int64(66)}, names: []string{"shop.a", "shop.b"}},

	&kind{plural: "managedclusters", apiVersion: "cluster.open-cluster-management.io/v1", name: "ManagedCluster", cluster: true, body: "spec: {hubAcceptsClient: true}",
		spec: field{"spec.leaseDurationSeconds", int64(61)}, names: []string{"east", "west"}},
	&kind{plural: "manifestworks", apiVersion: "work.open-cluster-management.io/v1", name: "ManifestWork", body: "spec: {}", spec: field{"spec.deleteOption.propagationPolicy", "Orphan"}},
	&kind{plural: "managedclusteraddons", apiVersion: "addon.open-cluster-management.io/v1alpha1", name: "ManagedClusterAddOn", body: "spec: {}", spec: field{"spec.installNamespace", "elsewhere"}},
	&kind{plural: "clustermanagementaddons", apiVersion: "addon.open-cluster-management.io/v1alpha1", name: "ClusterManagementAddOn", cluster: true, body: "spec: {}", spec: field{"spec.addOnMeta.displayName", "x"}},

	&kind{plural: "secrets", apiVersion: "v1", name: "Secret"},
	&kind{plural: "configmaps", apiVersion: "v1", name: "ConfigMap"},
	&kind{plural: "serviceaccounts", apiVersion: "v1", name: "ServiceAccount"},
	&kind{plural: "pods", apiVersion: "v1", name: "Pod", body: "spec: {containers: [{name: c, image: i}]}", spec: field{"spec.activeDeadlineSeconds", int64(9)}},
	&kind{plural: "services", apiVersion: "v1", name: "Service", body: "spec: {clusterIP: None, selector: {a: b}}", spec: field{"spec.externalName", "x.example"}},
	&kind{plural: "events", apiVersion: "v1", name: "Event", body: "involvedObject: {kind: Vpc, name: a}"},
	&kind{plural: "namespaces", apiVersion: "v1", name: "Namespace", cluster: true, names: []string{"east", "west"}},
	&kind{plural: "nodes", apiVersion: "v1", name: "Node", cluster: true, spec: field{"spec.unschedulable", true}},
	&kind{plural: "leases", apiVersion: "coordination.k8s.io/v1", name: "Lease", spec: field{"spec.holderIdentity", "me"}, names: []string{"one", spokev1alpha1.LeaseName}},
	&kind{plural: "roles", apiVersion: "rbac.authorization.k8s.io/v1", name: "Role"},
	&kind{plural: "rolebindings", apiVersion: "rbac.authorization.k8s.io/v1", name: "RoleBinding", body: "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tombolo-spoke-agent}"},
	&kind{plural: "clusterroles", apiVersion: "rbac.authorization.k8s.io/v1", name: "ClusterRole", cluster: true},
	&kind{plural: "clusterrolebindings", apiVersion: "rbac.authorization.k8s.io/v1", name: "ClusterRoleBinding", cluster: true, body: "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: tombolo-directory}"},
	&kind{plural: "validatingadmissionpolicies", apiVersion: "admissionregistration.k8s.io/v1", name: "ValidatingAdmissionPolicy", cluster: true,
		body: "spec: {matchConstraints: {resourceRules: [{apiGroups: [none.example], apiVersions: [v1], operations: [CREATE], resources: [nothing]}]}, validations: [{expression: 'true'}]}", spec: field{"spec.failurePolicy", "Ignore"}},
	&kind{plural: "validatingadmissionpolicybindings", apiVersion: "admissionregistration.k8s.io/v1", name: "ValidatingAdmissionPolicyBinding", cluster: true,
		body: "spec: {policyName: none, validationActions: [Deny]}", spec: field{"spec.validationActions", []any{"Audit"}}},
	&kind{plural: "customresourcedefinitions", apiVersion: "apiextensions.k8s.io/v1", name: "CustomResourceDefinition", cluster: true, names: []string{"localrouters.spoke.tombolo.io"},
		body: "spec: {group: example.com, scope: Cluster, names: {plural: news, kind: News}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}"},
	&kind{plural: "certificatesigningrequests", apiVersion: "certificates.k8s.io/v1", name: "CertificateSigningRequest", cluster: true,
		body: "spec: {signerName: kubernetes.io/kube-apiserver-client, usages: [client auth], request: " + request + "}"},
)

func byPlural(list ...*kind) map[string]*kind {
	all := map[string]*kind{}
	for _, k := range list {
		if len(k.names) == 0 {
			if k.names = []string{"one"}; k.ours() || k.plural == "nodes" {
				k.names = []string{"one", "two"}
			}
		}
		all[k.plural] = k
	}
	return all
}

// namesIn are the names in a namespace: "(place)" stands for its own.
func (k *kind) namesIn(place string) []string {
	var names []string
	for _, name := range k.names {
		if name = strings.ReplaceAll(name, "(place)", place); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func kindsInOrder() []*kind {
	var all []*kind
	for _, plural := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, kinds[plural])
	}
	return all
}

// places are the namespaces in which everything is tried: those of the clusters and the hub's own. What is not Tombolo's is tried in fewer.
var (
	places     = append(slices.Clone(clusters), charts.Namespace)
	fewer      = []string{"east", "east-1", charts.Namespace}
	everywhere = []string{""}
)

func (k *kind) places() []string {
	switch {
	case k.cluster:
		return everywhere
	case strings.HasPrefix(k.apiVersion, "spoke."):
		return places
	}
	return fewer
}

// populate makes the objects that are tried. Those of Tombolo have the agent's finalizer and another one.
func populate(ctx context.Context) error {
	for _, k := range kindsInOrder() {
		for _, namespace := range k.places() {
			for _, name := range k.namesIn(namespace) {
				o := k.object(namespace, name)
				if k.ours() {
					o.SetFinalizers([]string{"tombolo.io/other", spokev1alpha1.Finalizer})
					o.SetLabels(map[string]string{"tombolo.io/before": "x"})
				}
				if k.plural == "customresourcedefinitions" {
					continue
				}
				if err := created(ctx, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// TestEveryKindHasRows: a kind of Tombolo's that is new must be added to the matrix, with an object, a field of its spec and one of its status.
func TestEveryKindHasRows(t *testing.T) {
	for _, d := range definitions {
		k := kinds[d.Spec.Names.Plural]
		if k == nil || k.resource().Group != d.Spec.Group || k.name != d.Spec.Names.Kind || k.cluster != (d.Spec.Scope == "Cluster") {
			t.Errorf("kind %s of %s has no rows in kinds_test.go: nobody tries what an agent can do to it", d.Spec.Names.Kind, d.Spec.Group)
			continue
		}
		for _, version := range d.Spec.Versions {
			if k.resource().Version != version.Name {
				t.Errorf("version %s of %s has no rows", version.Name, d.Name)
			}
			if version.Subresources != nil && version.Subresources.Scale != nil {
				t.Errorf("%s has a subresource scale: the matrix takes it for one that nobody serves", d.Name)
			}
		}
		if k.status.path == "" && d.Spec.Versions[0].Subresources.Status != nil {
			t.Errorf("%s has no field of its status in kinds_test.go", d.Name)
		}
	}
}
