// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// What an agent may do is said by two ClusterRoles of the chart. They are bound per cluster: the first in the cluster's
// own namespace, the second in the whole hub.
const (
	roleSpokeAgent = "tombolo-spoke-agent"
	roleDirectory  = "tombolo-directory"
)

// OurLabels mark the bindings that the hub has made.
var OurLabels = map[string]string{"app.kubernetes.io/managed-by": "tombolo-hub"}

// Access is what lets the agent of one cluster in: its own namespace, and the directory of all gateways.
type Access struct {
	Namespace *rbacv1.RoleBinding
	Directory *rbacv1.ClusterRoleBinding
}

// AccessOf is the access of the cluster's agent. It belongs to the ManagedCluster and goes with it.
func AccessOf(cluster *clusterv1.ManagedCluster) Access {
	// The group that OCM's add-on registration puts into the agent's certificate.
	subjects := []rbacv1.Subject{{
		APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind,
		Name: "system:open-cluster-management:cluster:" + cluster.Name + ":addon:tombolo",
	}}
	return Access{
		Namespace: &rbacv1.RoleBinding{
			ObjectMeta: ownedBy(cluster, cluster.Name, roleSpokeAgent),
			Subjects:   subjects,
			RoleRef:    clusterRole(roleSpokeAgent),
		},
		Directory: &rbacv1.ClusterRoleBinding{
			ObjectMeta: ownedBy(cluster, "", roleDirectory+":"+cluster.Name),
			Subjects:   subjects,
			RoleRef:    clusterRole(roleDirectory),
		},
	}
}

func ownedBy(cluster *clusterv1.ManagedCluster, namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: OurLabels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cluster, schema.GroupVersion(clusterv1.GroupVersion).WithKind("ManagedCluster"))},
	}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

// Grant makes the access what it shall be, and writes nothing when it is.
func Grant(ctx context.Context, c client.Client, access Access) error {
	err := grant(ctx, c, access.Namespace, &rbacv1.RoleBinding{}, func(have *rbacv1.RoleBinding) bool {
		return have.RoleRef == access.Namespace.RoleRef
	}, func(have *rbacv1.RoleBinding) bool {
		return equality.Semantic.DeepEqual(have.Subjects, access.Namespace.Subjects) &&
			equality.Semantic.DeepEqual(have.OwnerReferences, access.Namespace.OwnerReferences)
	})
	if err != nil {
		return err
	}
	return grant(ctx, c, access.Directory, &rbacv1.ClusterRoleBinding{}, func(have *rbacv1.ClusterRoleBinding) bool {
		return have.RoleRef == access.Directory.RoleRef
	}, func(have *rbacv1.ClusterRoleBinding) bool {
		return equality.Semantic.DeepEqual(have.Subjects, access.Directory.Subjects) &&
			equality.Semantic.DeepEqual(have.OwnerReferences, access.Directory.OwnerReferences)
	})
}

// grant writes one binding. The role of a binding can't be changed: one of another role is replaced.
func grant[O client.Object](ctx context.Context, c client.Client, want, have O, sameRole, same func(O) bool) error {
	key := client.ObjectKeyFromObject(want)
	err := c.Get(ctx, key, have)
	switch {
	case apierrors.IsNotFound(err):
		err = stale.Wrap(c.Create(ctx, want))
	case err != nil:
	case !sameRole(have):
		if err = stale.Wrap(c.Delete(ctx, have)); err == nil {
			err = stale.Wrap(c.Create(ctx, want))
		}
	case !same(have):
		want.SetResourceVersion(have.GetResourceVersion())
		err = stale.Wrap(c.Update(ctx, want))
	}
	if err != nil {
		return fmt.Errorf("grant %T %s: %w", want, key, err)
	}
	return nil
}

// Revoke takes the access away: the hub does not accept the cluster.
func Revoke(ctx context.Context, c client.Client, access Access) error {
	for _, binding := range []client.Object{access.Namespace, access.Directory} {
		if err := c.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return fmt.Errorf("read %T %s: %w", binding, client.ObjectKeyFromObject(binding), err)
		}
		if err := client.IgnoreNotFound(c.Delete(ctx, binding)); err != nil {
			return fmt.Errorf("revoke %T %s: %w", binding, client.ObjectKeyFromObject(binding), err)
		}
	}
	return nil
}
