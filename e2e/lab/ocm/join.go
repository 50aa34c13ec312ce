// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ocm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Step is how far a cluster has come on its way into the fleet.
type Step string

// The steps, in their order.
const (
	// StepAsked: the agent has made the ManagedCluster.
	StepAsked Step = "Asked"
	// StepAccepted: the hub's admin, or AutoAccept, has let it in.
	StepAccepted Step = "Accepted"
	// StepJoined: the agent has its certificate and has used it.
	StepJoined Step = "Joined"
	// StepAvailable: the agent renews its lease.
	StepAvailable Step = "Available"
)

// NotJoinedError tells which step a cluster has not come to.
type NotJoinedError struct {
	// Cluster that is to join.
	Cluster string
	// Missing is the first step that it has not come to.
	Missing Step
	// Reason in OCM's words, or "" when it says none.
	Reason string
}

// Error names the step.
func (e *NotJoinedError) Error() string {
	text := fmt.Sprintf("cluster %s is not %s", e.Cluster, e.Missing)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// bootstrapAccount is whom an agent speaks for until it has a certificate.
const bootstrapAccount = "agent-registration-bootstrap"

// bootstrapObjects are the account and what it may do: ask to join, and look
// whether it was let in.
func bootstrapObjects() []*unstructured.Unstructured {
	const role, rbac = "open-cluster-management:bootstrap", "rbac.authorization.k8s.io"
	rule := func(group, resource string, verbs ...any) any {
		return map[string]any{"apiGroups": []any{group}, "resources": []any{resource}, "verbs": verbs}
	}
	object := func(apiVersion, kind string, metadata, more map[string]any) *unstructured.Unstructured {
		o := map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}
		maps.Copy(o, more)
		return &unstructured.Unstructured{Object: o}
	}
	return []*unstructured.Unstructured{
		namespace(bootstrapNamespace),
		object("v1", "ServiceAccount", map[string]any{"name": bootstrapAccount, "namespace": bootstrapNamespace}, nil),
		object(rbac+"/v1", "ClusterRole", map[string]any{"name": role}, map[string]any{"rules": []any{
			rule("", "configmaps", "get"),
			rule(certificatesv1.GroupName, "certificatesigningrequests", "create", "get", "list", "watch"),
			rule(clusterv1.GroupName, "managedclusters", "create", "get", "list", "watch"),
			rule(clusterv1.GroupName, "managedclustersets/join", "create"),
		}}),
		object(rbac+"/v1", "ClusterRoleBinding", map[string]any{"name": role}, map[string]any{
			"roleRef":  map[string]any{"apiGroup": rbac, "kind": "ClusterRole", "name": role},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": bootstrapAccount, "namespace": bootstrapNamespace}},
		}),
	}
}

// Bootstrap gives the kubeconfig that an agent asks to join with.
func (h *Hub) Bootstrap(ctx context.Context) ([]byte, error) {
	return h.Cluster.TokenConfig(ctx, bootstrapNamespace, bootstrapAccount)
}

// Accept lets a cluster in, as an admin does: it waits until the agent has asked,
// signs its request for a certificate and accepts its ManagedCluster.
func (h *Hub) Accept(ctx context.Context, cluster string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	err := wait(ctx, h.Logf, "request of "+cluster+" to join "+h.Cluster.Name, nil, func(ctx context.Context) error {
		return h.approve(ctx, cluster)
	})
	if err != nil {
		return fmt.Errorf("accept cluster %s: %w", cluster, err)
	}
	managed := &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: cluster}}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"hubAcceptsClient":true}}`))
	if err := h.client.Patch(ctx, managed, patch); err != nil {
		return fmt.Errorf("accept cluster %s: %w", cluster, err)
	}
	return nil
}

// Forget deletes the certificate signing requests of a cluster that has left, which would pass for those that it makes
// when it comes back.
func (h *Hub) Forget(ctx context.Context, cluster string) error {
	err := h.client.DeleteAllOf(ctx, &certificatesv1.CertificateSigningRequest{}, client.MatchingLabels{clusterv1.ClusterNameLabelKey: cluster})
	if err != nil {
		return fmt.Errorf("forget requests of cluster %s: %w", cluster, err)
	}
	return nil
}

// approve approves the open certificate signing requests of a cluster that has a
// ManagedCluster; before there is one it gives a NotJoinedError.
func (h *Hub) approve(ctx context.Context, cluster string) error {
	managed := &clusterv1.ManagedCluster{}
	err := h.client.Get(ctx, client.ObjectKey{Name: cluster}, managed)
	if apierrors.IsNotFound(err) {
		return &NotJoinedError{Cluster: cluster, Missing: StepAsked, Reason: "its agent has made no ManagedCluster"}
	}
	if err != nil {
		return err
	}
	var requests certificatesv1.CertificateSigningRequestList
	if err := h.client.List(ctx, &requests, client.MatchingLabels{clusterv1.ClusterNameLabelKey: cluster}); err != nil {
		return err
	}
	if len(requests.Items) == 0 {
		return &NotJoinedError{Cluster: cluster, Missing: StepAsked, Reason: "its agent has made no CertificateSigningRequest"}
	}
	var errs []error
	for i := range requests.Items {
		request := &requests.Items[i]
		if slices.ContainsFunc(request.Status.Conditions, decided) {
			continue
		}
		request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
			Reason: "LabAdmin", Message: "the lab lets the cluster in",
		})
		errs = append(errs, h.client.SubResource("approval").Update(ctx, request))
	}
	return errors.Join(errs...)
}

func decided(c certificatesv1.CertificateSigningRequestCondition) bool {
	return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied
}

// Check gives nil for a cluster that is Available, and a NotJoinedError for one on
// its way there.
func (h *Hub) Check(ctx context.Context, cluster string) error {
	managed := &clusterv1.ManagedCluster{}
	err := h.client.Get(ctx, client.ObjectKey{Name: cluster}, managed)
	if apierrors.IsNotFound(err) {
		return &NotJoinedError{Cluster: cluster, Missing: StepAsked}
	}
	if err != nil {
		return err
	}
	for _, s := range []struct {
		step      Step
		condition string
	}{
		{StepAccepted, clusterv1.ManagedClusterConditionHubAccepted},
		{StepJoined, clusterv1.ManagedClusterConditionJoined},
		{StepAvailable, clusterv1.ManagedClusterConditionAvailable},
	} {
		c := meta.FindStatusCondition(managed.Status.Conditions, s.condition)
		switch {
		case c == nil:
			return &NotJoinedError{Cluster: cluster, Missing: s.step}
		case c.Status != metav1.ConditionTrue:
			return &NotJoinedError{Cluster: cluster, Missing: s.step, Reason: c.Message}
		}
	}
	return nil
}

// Joined waits until a cluster is a member of the fleet and Available. The error
// is a NotJoinedError with the step that it has not come to.
func (h *Hub) Joined(ctx context.Context, cluster string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	return wait(ctx, h.Logf, "cluster "+cluster+" to join "+h.Cluster.Name, nil, func(ctx context.Context) error {
		return h.Check(ctx, cluster)
	})
}
