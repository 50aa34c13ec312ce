// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Count returns a client that counts every write of c that succeeds.
func Count(c client.Client) client.Client { return counted{c} }

type counted struct{ client.Client }

func (c counted) count(obj runtime.Object, verb string, err error) error {
	if err != nil {
		return err
	}
	kind := "unknown"
	if gvk, err := apiutil.GVKForObject(obj, c.Scheme()); err == nil {
		kind = gvk.Kind
	}
	Writes.WithLabelValues(kind, verb).Inc()
	return nil
}

// Create implements client.Writer.
func (c counted) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.count(obj, "create", c.Client.Create(ctx, obj, opts...))
}

// Update implements client.Writer.
func (c counted) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return c.count(obj, "update", c.Client.Update(ctx, obj, opts...))
}

// Patch implements client.Writer.
func (c counted) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return c.count(obj, "patch", c.Client.Patch(ctx, obj, patch, opts...))
}

// Delete implements client.Writer.
func (c counted) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.count(obj, "delete", c.Client.Delete(ctx, obj, opts...))
}

// Status implements client.StatusClient.
func (c counted) Status() client.SubResourceWriter {
	return countedStatus{c.Client.Status(), c}
}

type countedStatus struct {
	client.SubResourceWriter
	counted counted
}

// Update implements client.SubResourceWriter.
func (c countedStatus) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	return c.counted.count(obj, "update-status", c.SubResourceWriter.Update(ctx, obj, opts...))
}

// Patch implements client.SubResourceWriter.
func (c countedStatus) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	return c.counted.count(obj, "patch-status", c.SubResourceWriter.Patch(ctx, obj, patch, opts...))
}
