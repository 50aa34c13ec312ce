// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
)

// Estrange puts another hub in the place of a cluster's: one that has never heard of this fleet, and deletes LocalRouters
// of the same names. The API server of another cluster plays it.
func (w *World) Estrange(ctx context.Context, s *Spoke) error {
	if err := w.Home(ctx, s); err != nil { // of the last time
		return err
	}
	other := w.stranger(s)
	if err := other.Namespace(ctx, s.Name); err != nil {
		return err
	}
	var own spokev1alpha1.LocalRouterList
	if err := s.Admin.List(ctx, &own, client.InNamespace(charts.Namespace)); err != nil {
		return fmt.Errorf("list copies of %s: %w", s.Name, err)
	}
	for i := range own.Items {
		spec := *own.Items[i].Spec.DeepCopy()
		spec.VpcUID, spec.Remotes = "of another hub", nil
		router := &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Namespace: s.Name, Name: own.Items[i].Name, Finalizers: []string{spokev1alpha1.Finalizer}}, Spec: spec}
		if err := other.Admin.Create(ctx, router); apierrors.IsAlreadyExists(err) {
			continue // what an earlier one has left is as good
		} else if err != nil {
			return fmt.Errorf("create LocalRouter of another hub: %w", err)
		}
		if err := other.Admin.Delete(ctx, router); err != nil {
			return fmt.Errorf("delete LocalRouter of another hub: %w", err)
		}
	}
	s.estranged = true
	return s.ToHub.Target(other.Config)
}

func (w *World) stranger(s *Spoke) *Spoke {
	for i, other := range w.Spokes {
		if other == s {
			return w.Spokes[(i+1)%len(w.Spokes)]
		}
	}
	return s
}

// Home undoes Estrange; a cluster that is at home stays there, and nothing happens to its connections.
func (w *World) Home(ctx context.Context, s *Spoke) error {
	if !s.estranged {
		return nil
	}
	other := w.stranger(s)
	var strange spokev1alpha1.LocalRouterList
	if err := other.Admin.List(ctx, &strange, client.InNamespace(s.Name)); err != nil {
		return fmt.Errorf("list LocalRouters of another hub: %w", err)
	}
	errs := []error{s.ToHub.Target(s.identity)}
	for i := range strange.Items {
		free := strange.Items[i].DeepCopy()
		free.Finalizers = nil
		errs = append(errs, client.IgnoreNotFound(other.Admin.Patch(ctx, free, client.MergeFrom(&strange.Items[i]))))
	}
	err := errors.Join(errs...)
	s.estranged = err != nil
	return err
}

// Spoke finds a cluster by name; nil when there is none.
func (w *World) Spoke(name string) *Spoke {
	for _, s := range w.Spokes {
		if s.Name == name {
			return s
		}
	}
	return nil
}
