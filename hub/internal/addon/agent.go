// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"open-cluster-management.io/addon-framework/pkg/agent"
	"open-cluster-management.io/addon-framework/pkg/utils"
	addonv1beta1 "open-cluster-management.io/api/addon/v1beta1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/evidence"
)

// Agent is what addon-framework asks about Tombolo.
type Agent struct {
	chart   *Chart
	configs utils.AddOnDeploymentConfigGetter
	live    client.Reader
	log     logr.Logger
}

// GetAgentAddonOptions says who the agent is on the hub, where it is on its cluster, and that its health is its lease.
func (a *Agent) GetAgentAddonOptions() agent.AgentAddonOptions {
	return agent.AgentAddonOptions{
		AddonName: Name,
		Registration: &agent.RegistrationOption{
			Configurations:  agent.KubeClientSignerConfigurations(Name, AgentName),
			CSRApproveCheck: a.approve,
			// PermissionConfig is missing: what the agent may do, the controller membership grants to each cluster that the
			// hub accepts, add-on or not.
		},
		HealthProber: &agent.HealthProber{Type: agent.HealthProberTypeLease},
		AgentInstallNamespace: func(context.Context, *addonv1beta1.ManagedClusterAddOn) (string, error) {
			return Namespace, nil
		},
		SupportedConfigGVRs:             []schema.GroupVersionResource{utils.AddOnDeploymentConfigGVR},
		ConfigCheckEnabled:              true, // nothing is rendered with values that are about to change
		AgentDeployTriggerClusterFilter: changed,
	}
}

// Manifests are the objects of the cluster's ManifestWork, and the Jobs that it runs before they go.
func (a *Agent) Manifests(ctx context.Context, cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn) ([]runtime.Object, error) {
	if err := a.asked(ctx, addon); err != nil {
		return nil, err
	}
	config, err := utils.GetDesiredAddOnDeploymentConfig(addon, a.configs)
	if err != nil {
		return nil, fmt.Errorf("read the AddOnDeploymentConfig of ManagedClusterAddOn %s/%s: %w", addon.Namespace, addon.Name, err)
	}
	objects, err := a.chart.ObjectsFor(cluster, addon, config)
	if err != nil {
		return nil, err
	}
	all := make([]runtime.Object, len(objects))
	for i, object := range objects {
		all[i] = object
	}
	return all, nil
}

// asked is an error for an add-on that is being deleted because its kind is: nothing is rendered then, and so no Job takes the
// cluster out of the fleet.
func (a *Agent) asked(ctx context.Context, addon *addonv1beta1.ManagedClusterAddOn) error {
	if addon.DeletionTimestamp == nil {
		return nil
	}
	asked, err := evidence.Asked(ctx, a.live, evidence.AddOns, addon)
	if err == nil && !asked {
		err = fmt.Errorf("ManagedClusterAddOn %s/%s is being deleted with its CRD, and nobody asked cluster %s to leave: what is there stays", addon.Namespace, addon.Name, addon.Namespace)
	}
	return err
}

// ObjectsFor renders the chart for one cluster.
func (c *Chart) ObjectsFor(cluster *clusterv1.ManagedCluster, addon *addonv1beta1.ManagedClusterAddOn,
	config *addonv1beta1.AddOnDeploymentConfig) ([]*unstructured.Unstructured, error) {
	values, err := Values(cluster, addon, config)
	if err != nil {
		return nil, err
	}
	decoration, err := DecorationOf(cluster, config)
	if err != nil {
		return nil, err
	}
	objects, err := c.Render(values, cluster.Status.Version.Kubernetes)
	if err != nil {
		return nil, err
	}
	if gone(cluster) {
		// Without a Job the framework takes its finalizer off the ManagedClusterAddOn.
		objects = slices.DeleteFunc(objects, isPreDelete)
	}
	if err := decoration.Decorate(objects); err != nil {
		return nil, err
	}
	return append(surroundings(objects), objects...), nil
}

// gone: the cluster is being deleted, and an admin has said that it will never answer again.
func gone(cluster *clusterv1.ManagedCluster) bool {
	return cluster.DeletionTimestamp != nil && cluster.Annotations[networkv1alpha1.AnnotationGone] == "true"
}

// changed: the cluster's objects have to be rendered anew.
func changed(before, now *clusterv1.ManagedCluster) bool {
	return before.Status.Version.Kubernetes != now.Status.Version.Kubernetes || gone(before) != gone(now) ||
		before.Annotations[clusterv1.ClusterImageRegistriesAnnotationKey] != now.Annotations[clusterv1.ClusterImageRegistriesAnnotationKey]
}

// approve tells the log why a request is left to an admin.
func (a *Agent) approve(_ context.Context, cluster *clusterv1.ManagedCluster, _ *addonv1beta1.ManagedClusterAddOn, request *certificatesv1.CertificateSigningRequest) bool {
	err := Approve(cluster, request)
	if err != nil {
		a.log.Info("a request for the agent's certificate is not approved", "request", request.Name, "cluster", cluster.Name, "because", err.Error())
	}
	return err == nil
}

// surroundings are objects that `helm install` finds or makes by itself.
func surroundings(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	namespace := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
			"name": Namespace,
			"labels": map[string]any{
				// The nodes' agents use the host's network and directories.
				"pod-security.kubernetes.io/enforce": "privileged",
				// OCM copies the credentials of the image registry into such namespaces.
				"addon.open-cluster-management.io/namespace": "true",
			},
		},
	}}
	// What an admin has put there, such as OVN's certificates, is not ours to delete.
	all := []*unstructured.Unstructured{orphan(namespace)}
	if role := workRole(objects); role != nil {
		all = append(all, role)
	}
	return all
}

// workRole lets OCM's work agent apply the kinds that it has no permission for by itself. OCM aggregates such roles. It
// stays when the add-on goes, or the work agent could not take away what it has applied.
func workRole(objects []*unstructured.Unstructured) *unstructured.Unstructured {
	const group = "admissionregistration.k8s.io"
	resources := map[string]string{"ValidatingAdmissionPolicy": "validatingadmissionpolicies", "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings"}
	names := map[string][]any{}
	for _, object := range objects {
		if resource := resources[object.GetKind()]; resource != "" && !slices.Contains(names[resource], any(object.GetName())) {
			names[resource] = append(names[resource], object.GetName())
		}
	}
	if len(names) == 0 {
		return nil
	}
	var rules []any
	for _, resource := range slices.Sorted(maps.Keys(names)) {
		rules = append(rules,
			map[string]any{"apiGroups": []any{group}, "resources": []any{resource}, "verbs": []any{"create"}},
			map[string]any{"apiGroups": []any{group}, "resources": []any{resource}, "verbs": []any{"get", "update", "patch", "delete"}, "resourceNames": names[resource]})
	}
	return orphan(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": map[string]any{
			"name":   "open-cluster-management:tombolo:work",
			"labels": map[string]any{"open-cluster-management.io/aggregate-to-work": "true"},
		},
		"rules": rules,
	}})
}
