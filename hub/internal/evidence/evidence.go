// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package evidence tells what somebody asked for from what merely happened. A deletion in Open Cluster Management takes a
// cluster out of the fleet; the deletion of a whole kind of OCM's does not: who takes OCM away has not asked for that.
package evidence

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CRDs of the kinds by whose deletion a cluster leaves.
const (
	ManagedClusters = "managedclusters.cluster.open-cluster-management.io"
	AddOns          = "managedclusteraddons.addon.open-cluster-management.io"
)

// Asked is true when the deletion of an object was asked for, and is not that of its whole kind: then the API server deletes the
// CRD first and its objects after that. It reads the CRD from the API server itself, as the object may have been deleted just now.
// What it says once of an object under deletion stays true.
func Asked(ctx context.Context, live client.Reader, crd string, object client.Object) (bool, error) {
	deleted := object.GetDeletionTimestamp()
	if deleted == nil {
		return false, nil
	}
	definition := &metav1.PartialObjectMetadata{}
	definition.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	err := live.Get(ctx, client.ObjectKey{Name: crd}, definition)
	if apierrors.IsNotFound(err) {
		return false, nil // the kind is gone, and so is the object
	}
	if err != nil {
		return false, fmt.Errorf("read CustomResourceDefinition %s: %w", crd, err)
	}
	return definition.DeletionTimestamp == nil || deleted.Before(definition.DeletionTimestamp), nil
}
