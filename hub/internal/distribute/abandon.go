// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// Abandon takes the agent's finalizer off the objects that are under deletion in the namespace of a cluster that is not
// in the fleet any more: its agent, the only one who could, has lost its access.
func Abandon(ctx context.Context, c client.Client, objects []client.Object) error {
	return parallel.Do(objects, func(object client.Object) error {
		if object.GetDeletionTimestamp() == nil || !controllerutil.ContainsFinalizer(object, spokev1alpha1.Finalizer) {
			return nil
		}
		free := object.DeepCopyObject().(client.Object)
		controllerutil.RemoveFinalizer(free, spokev1alpha1.Finalizer)
		err := client.IgnoreNotFound(c.Patch(ctx, free, client.MergeFromWithOptions(object, client.MergeFromWithOptimisticLock{})))
		if err != nil {
			return fmt.Errorf("abandon %T %s: %w", object, client.ObjectKeyFromObject(object), stale.Wrap(err))
		}
		return nil
	})
}
