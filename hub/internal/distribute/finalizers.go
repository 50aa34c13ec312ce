// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// Hold puts the finalizer on everything that people wrote and the plan accepts, so that nothing of it can be
// distributed and then forgotten. State takes the objects as they are afterwards.
func Hold(ctx context.Context, c client.Client, state *snapshot.State, result *federation.Result) error {
	var mu sync.Mutex
	var holds []func() error
	holds = append(holds, hold(ctx, c, &mu, state.Vpcs, result.Vpcs, func(s networkv1alpha1.VpcStatus) []metav1.Condition { return s.Conditions })...)
	holds = append(holds, hold(ctx, c, &mu, state.Subnets, result.Subnets, func(s networkv1alpha1.SubnetStatus) []metav1.Condition { return s.Conditions })...)
	holds = append(holds, hold(ctx, c, &mu, state.Peerings, result.Peerings, func(s networkv1alpha1.VpcPeeringStatus) []metav1.Condition { return s.Conditions })...)
	return parallel.Do(holds, func(hold func() error) error { return hold() })
}

func hold[O client.Object, S any](ctx context.Context, c client.Client, mu *sync.Mutex, objects map[federation.Key]O, decided map[federation.Key]S, conditions func(S) []metav1.Condition) []func() error {
	var holds []func() error
	for key, status := range decided {
		object, ok := objects[key]
		if !ok || object.GetDeletionTimestamp() != nil || controllerutil.ContainsFinalizer(object, networkv1alpha1.Finalizer) ||
			!meta.IsStatusConditionTrue(conditions(status), networkv1alpha1.ConditionAccepted) {
			continue
		}
		holds = append(holds, func() error {
			held := object.DeepCopyObject().(O)
			controllerutil.AddFinalizer(held, networkv1alpha1.Finalizer)
			if err := patch(ctx, c, object, held); err != nil {
				return fmt.Errorf("add finalizer to %T %s: %w", object, key, err)
			}
			mu.Lock()
			defer mu.Unlock()
			objects[key] = held
			return nil
		})
	}
	return holds
}

// Release takes the finalizer off what no cluster realizes any more, and the objects out of State: they are gone, and
// nobody would read their status.
func Release(ctx context.Context, c client.Client, state *snapshot.State, released []federation.ObjectRef) error {
	var free []func() error
	for _, ref := range released {
		switch ref.Kind {
		case "Vpc":
			free = append(free, release(ctx, c, state.Vpcs, ref))
		case "Subnet":
			free = append(free, release(ctx, c, state.Subnets, ref))
		case "VpcPeering":
			free = append(free, release(ctx, c, state.Peerings, ref))
		}
	}
	return parallel.Do(free, func(free func() error) error { return free() })
}

func release[O client.Object](ctx context.Context, c client.Client, objects map[federation.Key]O, ref federation.ObjectRef) func() error {
	object, ok := objects[ref.Key]
	if !ok || object.GetDeletionTimestamp() == nil || !controllerutil.ContainsFinalizer(object, networkv1alpha1.Finalizer) {
		return func() error { return nil }
	}
	delete(objects, ref.Key)
	return func() error {
		free := object.DeepCopyObject().(O)
		controllerutil.RemoveFinalizer(free, networkv1alpha1.Finalizer)
		if err := client.IgnoreNotFound(patch(ctx, c, object, free)); err != nil {
			return fmt.Errorf("remove finalizer from %s %s: %w", ref.Kind, ref.Key, err)
		}
		return nil
	}
}

func patch(ctx context.Context, c client.Client, old, updated client.Object) error {
	return stale.Wrap(c.Patch(ctx, updated, client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})))
}
