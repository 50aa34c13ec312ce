// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/apis/version"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/health"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/herald"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/leave"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// gateways mirrors InterconnectGateways: those of other clusters down, the own one down and up.
type gateways struct {
	copier
	cluster string
	// id of the cluster.
	id       string
	reserved []string
	herald   *herald.Herald
	leave    *leave.Reader
	keeper   *keeper
}

// Reconcile copies one InterconnectGateway down, or takes its copy away; of the own one it also reports the status.
func (g *gateways) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if request.Namespace != request.Name {
		return reconcile.Result{}, nil // a cluster's namespace holds the one of its name, and no cluster speaks for another
	}
	hub := &spokev1alpha1.InterconnectGateway{}
	if err := g.hub.Get(ctx, request.NamespacedName, hub); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err) // absence is no evidence: the copy stays
	}
	own := hub.Name == g.cluster
	leaving, err := g.leave.State(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if leaving.Clean && own {
		return reconcile.Result{}, g.depart(ctx, hub, leaving)
	} else if leaving.Clean {
		return reconcile.Result{}, nil // the copies go, and none comes
	}
	copy, wanted, v, err := g.judge(ctx, hub)
	if err != nil {
		return reconcile.Result{}, err
	}
	if v == older {
		lags, err := g.reread(ctx, hub, &spokev1alpha1.InterconnectGateway{})
		if err != nil || lags {
			return reconcile.Result{RequeueAfter: lagRetry}, err
		}
	}
	if !own {
		return reconcile.Result{}, g.apply(ctx, v, wanted)
	}
	switch v {
	case release:
		return reconcile.Result{}, g.release(ctx, hub, &spokev1alpha1.InterconnectGateway{})
	case foreign:
		return reconcile.Result{}, g.refuse(ctx, hub, copy)
	case keep, older:
		return g.report(ctx, hub, copy, v, leaving)
	default:
		return reconcile.Result{}, g.apply(ctx, v, wanted)
	}
}

// judge decides what is to be done about a gateway, of which there is this copy, and which would have that one.
func (g *gateways) judge(ctx context.Context, hub *spokev1alpha1.InterconnectGateway) (copy, wanted *spokev1alpha1.InterconnectGateway, v verdict, err error) {
	if copy, wanted, err = g.localGateway(ctx, hub); err != nil {
		return nil, nil, keep, err
	}
	trusted, err := whom(ctx, g.spoke, g.cluster, g.joined)
	if err != nil {
		return nil, nil, keep, err
	}
	trusted.restored = hub.Spec.Hub.RestoredEpoch // it speaks for itself
	s := sides{hub: hub, adoptable: true, trust: trusted}
	if copy != nil {
		s.copy = copy
		s.sameSpec = equality.Semantic.DeepEqual(copy.Spec, wanted.Spec)
		if s.sameSpec && hub.Name != g.cluster && local.HubUID(copy) == string(hub.UID) && local.HubGeneration(copy) < hub.Generation {
			wanted.Annotations[spokev1alpha1.AnnotationHubGeneration] = copy.Annotations[spokev1alpha1.AnnotationHubGeneration] // a question to another cluster
		}
		s.same = s.sameSpec && sameMeta(copy, wanted)
	}
	return copy, wanted, decide(s), nil
}

// localGateway is the copy that there is (nil for none), and the copy that is wanted.
func (g *gateways) localGateway(ctx context.Context, hub *spokev1alpha1.InterconnectGateway) (copy, wanted *spokev1alpha1.InterconnectGateway, err error) {
	copy, wanted = &spokev1alpha1.InterconnectGateway{}, &spokev1alpha1.InterconnectGateway{}
	switch err := g.spoke.Get(ctx, localKey(hub.Name), copy); {
	case apierrors.IsNotFound(err):
		copy = nil
	case err != nil:
		return nil, nil, fmt.Errorf("get copy of %s: %w", hub.Name, err)
	default:
		wanted = copy.DeepCopy()
	}
	labels := map[string]string{}
	if hub.Name == g.cluster {
		labels[local.LabelOwn] = "true"
	}
	stamp(wanted, hub, labels)
	wanted.Spec = *hub.Spec.DeepCopy()
	wanted.Spec.ReleasedVpcs = nil // a question, which is answered to the hub; nobody realizes it
	if hub.Name == g.cluster {
		pin(wanted, g.joined)
	}
	return copy, wanted, nil
}

// refuse tells a hub that is not the cluster's that it is not believed, and the cluster's own people too. It says nothing else to it.
func (g *gateways) refuse(ctx context.Context, hub, copy *spokev1alpha1.InterconnectGateway) error {
	condition := hubTrusted(hub, copy, foreign, nil)
	sayTrust(ctx, g.herald, condition)
	before := hub.DeepCopy()
	if meta.SetStatusCondition(&hub.Status.Conditions, condition) {
		if err := g.hub.Status().Patch(ctx, hub, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("tell the hub that it is not believed: %w", err)
		}
	}
	return g.note(ctx, copy, condition)
}

// note writes a condition into the copy, if there is one, for those who look there.
func (g *gateways) note(ctx context.Context, copy *spokev1alpha1.InterconnectGateway, condition metav1.Condition) error {
	if copy == nil {
		return nil
	}
	before := copy.DeepCopy()
	condition.ObservedGeneration = copy.Generation
	if !meta.SetStatusCondition(&copy.Status.Conditions, condition) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := g.spoke.Status().Patch(ctx, copy, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write condition %s of InterconnectGateway %s: %w", condition.Type, copy.Name, err)
	}
	return nil
}

// report writes what the cluster has, when it is something new.
func (g *gateways) report(ctx context.Context, hub, copy *spokev1alpha1.InterconnectGateway, v verdict, leaving leave.State) (reconcile.Result, error) {
	var nodes corev1.NodeList
	if err := g.spoke.List(ctx, &nodes); err != nil {
		return reconcile.Result{}, fmt.Errorf("list Nodes: %w", err)
	}
	var routers spokev1alpha1.LocalRouterList
	if err := g.spoke.List(ctx, &routers, client.InNamespace(local.Namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list LocalRouters: %w", err)
	}
	var copies spokev1alpha1.InterconnectGatewayList
	if err := g.spoke.List(ctx, &copies, client.InNamespace(local.Namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list InterconnectGateways: %w", err)
	}
	var said spokev1alpha1.LocalRouterList
	if err := g.hub.List(ctx, &said, client.InNamespace(g.cluster)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list LocalRouters of the hub: %w", err)
	}
	if err := g.prune(ctx, copy, nodes.Items); err != nil {
		return reconcile.Result{}, err
	}
	trusted := hubTrusted(hub, copy, v, said.Items)
	if err := g.note(ctx, copy, trusted); err != nil {
		return reconcile.Result{}, err
	}
	sayTrust(ctx, g.herald, trusted)
	before := hub.DeepCopy()
	hub.Status = gatewayStatus(hub, copy, nodes.Items, routers.Items, g.reserved)
	hub.Status.ClusterID, hub.Status.AgentVersion, hub.Status.HoldsVersion = g.id, version.Version, version.Version
	hub.Status.ObservedEpoch = observedEpoch(before, copies.Items, routers.Items)
	meta.SetStatusCondition(&hub.Status.Conditions, trusted)
	supported := versionSupported(hub)
	meta.SetStatusCondition(&hub.Status.Conditions, supported)
	tellVersion(ctx, g.herald, supported)
	sayLeaving(&hub.Status.Conditions, hub.Generation, leaving)
	var result reconcile.Result
	again, err := g.keeper.tell(ctx, hub, routers.Items)
	if err != nil {
		return result, err
	}
	if again {
		result.RequeueAfter = answerRetry
	}
	hub.Status.Bound()
	if equality.Semantic.DeepEqual(before.Status, hub.Status) {
		return result, nil
	}
	// The hub writes a condition of its own into the same list, so the version that was read counts. A newer one comes by itself.
	err = g.hub.Status().Patch(ctx, hub, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return result, fmt.Errorf("report status of InterconnectGateway %s to the hub: %w", hub.Name, err)
	}
	return result, nil
}

// prune takes out of the copy what nodes said that are none any more: they may have gone without taking it back.
func (g *gateways) prune(ctx context.Context, copy *spokev1alpha1.InterconnectGateway, nodes []corev1.Node) error {
	before := copy.DeepCopy()
	copy.Status.Gateways = saidBy(labelledNodes(nodes), copy.Status.Gateways, nodeOf)
	if len(before.Status.Gateways) == len(copy.Status.Gateways) {
		return nil
	}
	health.Summarize(&copy.Status.Conditions, copy.Generation, health.Worst(copy.Status.Gateways, nil))
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := g.spoke.Status().Patch(ctx, copy, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take gone nodes out of InterconnectGateway %s: %w", copy.Name, err)
	}
	return nil
}
