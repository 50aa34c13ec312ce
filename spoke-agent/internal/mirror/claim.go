// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
)

const (
	// claimRetry is how soon to look again after somebody else wrote the object.
	claimRetry = 200 * time.Millisecond
	// foreignRetry is how often to look whether the name is free.
	foreignRetry = 5 * time.Second

	reasonForeign = "ForeignManagedCluster"
)

// claim is a cluster's right to its name on the hub. Two clusters that were given one name would realize each other's objects and overwrite
// each other's reports: the first to report has the name, and the other leaves everything as it is.
type claim struct {
	hub     client.Client
	cluster string
	// id of this cluster.
	id     string
	herald *herald.Herald

	mu sync.Mutex
}

// clusterID is the UID of the cluster's namespace kube-system.
func clusterID(ctx context.Context, spoke client.Reader) (string, error) {
	namespace := &corev1.Namespace{}
	if err := spoke.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, namespace); err != nil {
		return "", fmt.Errorf("read ID of the cluster (UID of namespace %s): %w", metav1.NamespaceSystem, err)
	}
	return string(namespace.UID), nil
}

// guard lets r work while this cluster has the name.
func (c *claim) guard(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		held, again, err := c.hold(ctx)
		if err != nil || !held {
			return reconcile.Result{RequeueAfter: again}, err
		}
		return r.Reconcile(ctx, request)
	})
}

// hold takes the name if it is free, and says whether this cluster has it, or when to look again.
func (c *claim) hold(ctx context.Context) (held bool, again time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := &spokev1alpha1.InterconnectGateway{}
	err = c.hub.Get(ctx, types.NamespacedName{Namespace: c.cluster, Name: c.cluster}, own)
	if apierrors.IsNotFound(err) {
		return true, 0, nil // nobody has reported
	}
	if err != nil {
		return false, 0, fmt.Errorf("read the cluster's own InterconnectGateway: %w", err)
	}
	switch own.Status.ClusterID {
	case c.id:
		return true, 0, nil
	case "":
		return c.take(ctx, own)
	}
	c.herald.Tell(ctx, "cluster name", herald.News{Bad: true, Reason: reasonForeign, Message: fmt.Sprintf(
		"Another cluster (ID %s) is known as %s on the hub, and this one (ID %s) was given the same name: it realizes nothing new, reports nothing, and keeps the copies that it has. "+
			"Cure: install this cluster's chart with a clusterName of its own; if the other one is lost for good and this one takes its place, on the hub: kubectl tombolo join %s --replace.",
		own.Status.ClusterID, c.cluster, c.id, c.cluster)})
	return false, foreignRetry, nil
}

// mine is true when the hub knows this cluster under its name.
func (c *claim) mine(ctx context.Context) (bool, error) {
	own := &spokev1alpha1.InterconnectGateway{}
	err := c.hub.Get(ctx, types.NamespacedName{Namespace: c.cluster, Name: c.cluster}, own)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read the cluster's own InterconnectGateway: %w", err)
	}
	return err == nil && own.Status.ClusterID == c.id, nil
}

func (c *claim) take(ctx context.Context, own *spokev1alpha1.InterconnectGateway) (bool, time.Duration, error) {
	before := own.DeepCopy()
	own.Status.ClusterID, own.Status.AgentVersion = c.id, version.Version
	err := c.hub.Status().Patch(ctx, own, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, claimRetry, nil
	}
	if err != nil {
		return false, 0, fmt.Errorf("report the ID of the cluster to the hub: %w", err)
	}
	return true, 0, nil
}

// versionSupported says whether hub and agent may work together.
func versionSupported(hub *spokev1alpha1.InterconnectGateway) metav1.Condition {
	condition := metav1.Condition{
		Type: spokev1alpha1.ConditionVersionSupported, Status: metav1.ConditionTrue, ObservedGeneration: hub.Generation,
		Reason: spokev1alpha1.ReasonSupported, Message: fmt.Sprintf("Agent %s works with hub %s.", version.Version, hub.Spec.HubVersion),
	}
	supported, err := version.Supported(hub.Spec.HubVersion, version.Version)
	if supported {
		return condition
	}
	told := hub.Spec.HubVersion
	if told == "" {
		told = "(older than 0.2.0: it tells no version)"
	}
	condition.Status, condition.Reason = metav1.ConditionFalse, spokev1alpha1.ReasonAgentNewer
	condition.Message = fmt.Sprintf("Agent %s is newer than hub %s, which may not say what the agent needs to know; what is there goes on. Cure: upgrade the chart tombolo-hub on the hub to %s.",
		version.Version, told, version.Version)
	if err != nil {
		condition.Message = fmt.Sprintf("Versions can't be compared: %v. Cure: install releases of the charts.", err)
	}
	return condition
}

// tellVersion tells of a version that is not supported. That one is, is in the condition.
func tellVersion(ctx context.Context, h *herald.Herald, c metav1.Condition) {
	if c.Status != metav1.ConditionTrue {
		h.Tell(ctx, "version", herald.News{Bad: true, Reason: c.Reason, Message: c.Message})
	}
}
