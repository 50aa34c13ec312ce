// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/delta"
	"github.com/tombolo-io/tombolo/hub/internal/parallel"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

// Apply does the writes and returns the news: what was deleted and why. One write that fails keeps no other from being
// done.
func Apply(ctx context.Context, c client.Client, writes []Write) ([]status.Transition, error) {
	news := make(chan status.Transition, len(writes))
	err := parallel.Do(writes, func(w Write) error {
		if err := apply(ctx, c, w); err != nil {
			return fmt.Errorf("%s %T %s: %w", w.Verb, w.Object, client.ObjectKeyFromObject(w.Object), err)
		}
		if w.Verb == Delete {
			news <- status.Transition{Object: w.Object, Reason: "Withdrawn", Note: w.Because}
		}
		return nil
	})
	close(news)
	var told []status.Transition
	for transition := range news {
		told = append(told, transition)
	}
	return told, err
}

func apply(ctx context.Context, c client.Client, w Write) error {
	switch w.Verb {
	case Create:
		err := c.Create(ctx, w.Object)
		if apierrors.HasStatusCause(err, "NamespaceTerminating") {
			log.FromContext(ctx).V(1).Info("namespace of the cluster is going", "cluster", w.Object.GetNamespace())
			return nil
		}
		return stale.Wrap(err)
	case Update:
		if _, is := w.Object.(*spokev1alpha1.LocalRouter); is {
			return stale.Wrap(delta.Write(ctx, c, w.Was, w.Object, delta.Untracked))
		}
		return stale.Wrap(delta.Write(ctx, c, w.Was, w.Object))
	default:
		// That very object in that very version: what has changed since the decision is looked at again first.
		err := c.Delete(ctx, w.Object, client.Preconditions{
			UID:             new(w.Object.GetUID()),
			ResourceVersion: new(w.Object.GetResourceVersion()),
		})
		return stale.Wrap(client.IgnoreNotFound(err))
	}
}
