// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// Forget deletes the Secret of a cluster that has left, if the agent itself has made what is in it, and says whether it did. What OCM's
// registration has written is OCM's to take away, and what can't be understood is nobody's.
func Forget(ctx context.Context, c client.Client, name string) (bool, error) {
	secret := &corev1.Secret{}
	err := c.Get(ctx, client.ObjectKey{Namespace: local.Namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read Secret %s/%s: %w", local.Namespace, name, err)
	}
	i := identityOf(secret)
	asked := i.certificate == nil && i.problem == "" && secret.Labels["app.kubernetes.io/managed-by"] == spokev1alpha1.AgentName
	if !i.own && !asked {
		return false, nil
	}
	err = c.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("delete Secret %s/%s: %w", local.Namespace, name, err)
	}
	return true, nil
}
