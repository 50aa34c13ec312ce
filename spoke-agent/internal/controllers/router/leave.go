// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// leave takes everything out of the cluster that the nodes have not taken: the rows in OVN, the pods' annotations and, last, the copies, for
// they say whose it all was. Nodes go first: they unplug what OVN binds.
func (r *Reconciler) leave(ctx context.Context, s leave.State) error {
	if s.Cluster {
		return nil
	}
	var nodes corev1.NodeList
	if err := r.client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list Nodes: %w", err)
	}
	if awaited, _ := s.Awaited(nodes.Items); len(awaited) > 0 {
		log.FromContext(ctx).Info("Leaving: waiting for nodes", "nodes", strings.Join(awaited, " "))
		return nil // what they write into the ConfigMap wakes us
	}
	if err := r.clearNorthbound(ctx); err != nil {
		return err
	}
	if err := errors.Join(r.clearPods(ctx), r.clearCopies(ctx)); err != nil {
		return err
	}
	return leave.ClusterDone(ctx, r.client)
}

// clearNorthbound removes the rows of all owners. Who they are is in the rows themselves.
func (r *Reconciler) clearNorthbound(ctx context.Context) error {
	report, err := r.set(ctx, ovn.Desired{})
	if err != nil || len(report.Orphans) == 0 {
		return err
	}
	log.FromContext(ctx).Info("Leaving: removing rows from OVN", "owners", len(report.Orphans))
	report, err = r.set(ctx, ovn.Desired{Removed: report.Orphans})
	for _, refused := range report.Refused {
		err = errors.Join(err, refused)
	}
	return err
}

// clearPods takes the address off pods that still run: it is nobody's any more.
func (r *Reconciler) clearPods(ctx context.Context) error {
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var errs []error
	for i := range pods.Items {
		pod := &pods.Items[i]
		gone := map[string]any{}
		for _, name := range []string{networkv1alpha1.AnnotationNetwork, local.AnnotationDirectPath} {
			if _, has := pod.Annotations[name]; has {
				gone[name] = nil
			}
		}
		if len(gone) == 0 {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "annotations": gone}})
		if err != nil {
			return fmt.Errorf("marshal patch of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		target := pod.DeepCopy()
		if err := r.client.Patch(ctx, target, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
			errs = append(errs, fmt.Errorf("take the address off pod %s/%s: %w", pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(errs...)
}

// clearCopies deletes the copies. Those who hold them have let go, or are not waited for.
func (r *Reconciler) clearCopies(ctx context.Context) error {
	var routers spokev1alpha1.LocalRouterList
	var gateways spokev1alpha1.InterconnectGatewayList
	if err := errors.Join(
		r.client.List(ctx, &routers, client.InNamespace(local.Namespace)),
		r.client.List(ctx, &gateways, client.InNamespace(local.Namespace)),
	); err != nil {
		return fmt.Errorf("list copies: %w", err)
	}
	var copies []client.Object
	for i := range routers.Items {
		copies = append(copies, &routers.Items[i])
	}
	for i := range gateways.Items {
		copies = append(copies, &gateways.Items[i])
	}
	var errs []error
	for _, o := range copies {
		err := local.Release(ctx, r.client, o, func(f string) bool { return f == local.RouterFinalizer || local.IsGatewayFinalizer(f) })
		if err == nil {
			err = client.IgnoreNotFound(r.client.Delete(ctx, o))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete copy %s: %w", o.GetName(), err))
		}
	}
	return errors.Join(errs...)
}
