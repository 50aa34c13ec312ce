// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// DeleteDefinition deletes a CRD of the hub, and so everything of that kind.
func (w *World) DeleteDefinition(ctx context.Context, name string) error {
	err := w.Hub.Admin.Delete(ctx, &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return client.IgnoreNotFound(err)
}

// DeleteNamespace deletes a namespace of the hub with what matters of it, as kube-controller-manager would.
func (w *World) DeleteNamespace(ctx context.Context, name string) error {
	if err := w.Hub.Admin.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return client.IgnoreNotFound(err)
	}
	return w.empty(ctx, name)
}

func (w *World) empty(ctx context.Context, namespace string) error {
	var errs []error
	// What the agent may do there goes last here. Kubernetes has no order, and in the other one the agent can't let go.
	for _, kind := range []client.Object{&spokev1alpha1.LocalRouter{}, &spokev1alpha1.InterconnectGateway{}} {
		errs = append(errs, w.Hub.Admin.DeleteAllOf(ctx, kind, client.InNamespace(namespace)))
	}
	return errors.Join(errs...)
}

// Repair makes again what was deleted, as soon as it is gone. It has an error while something is missing.
func (w *World) Repair(ctx context.Context) error {
	definitions, err := Definitions()
	if err != nil {
		return err
	}
	var errs []error
	for _, definition := range definitions {
		var now apiextensionsv1.CustomResourceDefinition
		err := w.Hub.Admin.Get(ctx, client.ObjectKeyFromObject(definition), &now)
		switch {
		case apierrors.IsNotFound(err):
			errs = append(errs, fmt.Errorf("CRD %s was missing", definition.Name), w.Hub.Admin.Create(ctx, definition))
		case err != nil:
			errs = append(errs, err)
		case now.DeletionTimestamp != nil:
			errs = append(errs, fmt.Errorf("CRD %s is being deleted", definition.Name))
		}
	}
	for _, name := range w.Clusters {
		errs = append(errs, w.repairNamespace(ctx, name))
	}
	return errors.Join(errs...)
}

func (w *World) repairNamespace(ctx context.Context, name string) error {
	var namespace corev1.Namespace
	err := w.Hub.Admin.Get(ctx, client.ObjectKey{Name: name}, &namespace)
	if apierrors.IsNotFound(err) {
		return errors.Join(fmt.Errorf("namespace %s was missing", name), w.Hub.Namespace(ctx, name))
	}
	if err != nil || namespace.DeletionTimestamp == nil {
		return err
	}
	if err := w.empty(ctx, name); err != nil {
		return err
	}
	for _, list := range []client.ObjectList{&spokev1alpha1.LocalRouterList{}, &spokev1alpha1.InterconnectGatewayList{}} {
		if err := w.Hub.Admin.List(ctx, list, client.InNamespace(name), client.Limit(1)); err != nil {
			return err
		}
		if n := count(list); n > 0 {
			return fmt.Errorf("namespace %s is being deleted, and has %d objects", name, n)
		}
	}
	if err := w.Hub.Admin.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(name)); err != nil {
		return err
	}
	namespace.Spec.Finalizers = nil
	if err := w.Hub.Admin.SubResource("finalize").Update(ctx, &namespace); err != nil {
		return fmt.Errorf("finalize namespace %s: %w", name, err)
	}
	return fmt.Errorf("namespace %s was being deleted", name)
}

func count(list client.ObjectList) int {
	switch l := list.(type) {
	case *spokev1alpha1.LocalRouterList:
		return len(l.Items)
	case *spokev1alpha1.InterconnectGatewayList:
		return len(l.Items)
	}
	return 0
}
