// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// copier carries out verdicts.
type copier struct {
	// hub and spoke read from their caches; live reads this cluster's apiserver, and hubLive the hub's.
	hub, spoke    client.Client
	live, hubLive client.Reader
	// joined is the fingerprint of the hub that is connected.
	joined string
}

// localKey is the key of the copy of a hub's object.
func localKey(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: local.Namespace, Name: name}
}

// stamp gives the copy its name and what it is the copy of.
func stamp(copy, hub client.Object, labels map[string]string) {
	copy.SetNamespace(local.Namespace)
	copy.SetName(hub.GetName())
	copy.SetLabels(labels)
	annotations := copy.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[spokev1alpha1.AnnotationHubUID] = string(hub.GetUID())
	annotations[spokev1alpha1.AnnotationHubGeneration] = strconv.FormatInt(hub.GetGeneration(), 10)
	if o := originOf(hub); o.uid != "" && hub.GetAnnotations()[spokev1alpha1.AnnotationHub] != "" {
		if was := originOf(copy); was.uid == o.uid { // what says the same as before does not make the cluster forget what it has seen
			o.epoch = max(o.epoch, was.epoch)
		}
		annotations[spokev1alpha1.AnnotationHub], annotations[spokev1alpha1.AnnotationHubEpoch] = o.uid, strconv.FormatInt(o.epoch, 10)
	}
	copy.SetAnnotations(annotations)
}

// apply writes, or deletes, the copy. wanted is what the copy should be, with the resourceVersion of the one there is.
func (c copier) apply(ctx context.Context, v verdict, wanted client.Object) error {
	switch v {
	case create:
		if err := c.spoke.Create(ctx, wanted); err != nil && !apierrors.IsAlreadyExists(err) { // the cache is a moment behind
			return fmt.Errorf("create copy %s/%s: %w", wanted.GetNamespace(), wanted.GetName(), err)
		}
	case update:
		if err := c.spoke.Update(ctx, wanted); err != nil {
			return fmt.Errorf("update copy %s/%s: %w", wanted.GetNamespace(), wanted.GetName(), err)
		}
	case remove:
		uid := wanted.GetUID()
		err := c.spoke.Delete(ctx, wanted, client.Preconditions{UID: &uid})
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete copy %s/%s: %w", wanted.GetNamespace(), wanted.GetName(), err)
		}
	}
	return nil
}

// release removes our finalizer from the hub's object, when this cluster's apiserver itself, not only the cache, says
// that the copy is gone. other is scratch space of the object's kind.
func (c copier) release(ctx context.Context, hub, other client.Object) error {
	if !controllerutil.ContainsFinalizer(hub, spokev1alpha1.Finalizer) {
		return nil
	}
	err := c.live.Get(ctx, localKey(hub.GetName()), other)
	if err == nil && local.HubUID(other) == string(hub.GetUID()) {
		return nil // its events come
	}
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("look for copy of %s: %w", hub.GetName(), err)
	}
	before := hub.DeepCopyObject().(client.Object)
	controllerutil.RemoveFinalizer(hub, spokev1alpha1.Finalizer)
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.hub.Patch(ctx, hub, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release %s/%s on the hub: %w", hub.GetNamespace(), hub.GetName(), err)
	}
	return nil
}

// sameMeta is true when the copy carries the labels and stamps of wanted.
func sameMeta(copy, wanted metav1.Object) bool {
	for key, value := range wanted.GetLabels() {
		if copy.GetLabels()[key] != value {
			return false
		}
	}
	for _, key := range []string{
		spokev1alpha1.AnnotationHubUID, spokev1alpha1.AnnotationHubGeneration, spokev1alpha1.AnnotationHub, spokev1alpha1.AnnotationHubEpoch,
		annotationTrustedHub, annotationJoined,
	} {
		if copy.GetAnnotations()[key] != wanted.GetAnnotations()[key] {
			return false
		}
	}
	return true
}

// reread reads the hub's object from the hub itself, and is true when that is another one than the cache has: an API server that lags is no hub that has
// gone back.
func (c copier) reread(ctx context.Context, cached, now client.Object) (bool, error) {
	if err := c.hubLive.Get(ctx, client.ObjectKeyFromObject(cached), now); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read %s/%s from the hub: %w", cached.GetNamespace(), cached.GetName(), err)
	}
	return now.GetResourceVersion() != cached.GetResourceVersion(), nil
}
