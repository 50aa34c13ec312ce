// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package delta writes what differs between two states of an object, and no more: one member more in a list of twenty is a line, not the list. A write is
// refused when the object is another one than the first state, as an update is.
package delta

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxOperations in a patch; beyond them the whole object is sent. The API server takes 10,000.
const maxOperations = 1000

// Untracked lets, in a write, the API server forget who has written which field, and note it no more until somebody applies the object: that is a quarter
// of an object with long lists, and work for the server at each write. Only for objects that people don't write.
var Untracked = Operation{Op: "add", Path: "/metadata/managedFields", Value: []any{map[string]any{}}}

// Write makes the object that was read as old what updated says, but for its status. updated becomes what the API server answers.
func Write(ctx context.Context, c client.Client, old, updated client.Object, also ...Operation) error {
	return write(old, updated, also, func(p client.Patch) error { return c.Patch(ctx, updated, p) }, func() error { return c.Update(ctx, updated) })
}

// WriteStatus does so with the status alone.
func WriteStatus(ctx context.Context, c client.Client, old, updated client.Object) error {
	return write(old, updated, nil, func(p client.Patch) error { return c.Status().Patch(ctx, updated, p) }, func() error { return c.Status().Update(ctx, updated) })
}

func write(old, updated client.Object, also []Operation, patch func(client.Patch) error, whole func() error) error {
	operations, err := between(old, updated)
	if err != nil {
		return err
	}
	if len(operations) > maxOperations {
		return whole()
	}
	text, err := json.Marshal(append(operations, also...))
	if err != nil {
		return fmt.Errorf("encode patch: %w", err)
	}
	err = patch(client.RawPatch(types.JSONPatchType, text))
	if apierrors.IsInvalid(err) { // the object has changed so much that the patch makes no sense, or what it says is invalid: the whole tells which
		return whole()
	}
	return err
}

// between are the operations that make updated of old, guarded by old's resourceVersion.
func between(old, updated client.Object) ([]Operation, error) {
	before, err := plain(old)
	if err != nil {
		return nil, err
	}
	after, err := plain(updated)
	if err != nil {
		return nil, err
	}
	guard := Operation{Op: "replace", Path: "/metadata/resourceVersion", Value: old.GetResourceVersion()}
	return append([]Operation{guard}, Operations(before, after)...), nil
}
