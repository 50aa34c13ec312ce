// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package leave

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/gateway"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// recheck is how often a leaving installation looks whether it still is one: nothing tells of the DaemonSet.
const recheck = 5 * time.Second

// steps is the controller that takes a leaving cluster from one step to the next.
type steps struct {
	client client.Client
	reader *Reader
}

// step is what is to be done next.
type step string

const (
	stay step = ""
	// forget the ConfigMap: another installation left, or the hub has the cluster back.
	forget step = "forget"
	// begin: the hub has detached and drained the cluster, and nobody in it has asked.
	begin step = "begin"
	// clean up: nobody has a way here any more.
	clean step = "clean"
	// end without the hub: somebody forced it.
	end step = "end"
)

// next decides. own is the copy of the cluster's own InterconnectGateway, nil when there is none.
func next(s State, own *spokev1alpha1.InterconnectGateway) step {
	drained := own != nil && own.Spec.Membership == spokev1alpha1.MembershipDrained
	switch {
	case s.Outdated:
		return forget
	case !s.Leaving && drained && own.Spec.Detached:
		return begin
	case s.Leaving && !s.Clean && (s.Force || drained):
		return clean
	case s.Force && s.Cluster && !s.Controller:
		return end
	}
	return stay
}

// Add adds the controller to the manager of the role controller.
func Add(manager ctrl.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "cluster"}}}
	})
	return builder.ControllerManagedBy(manager).
		Named("leave").
		Watches(&corev1.ConfigMap{}, all).
		Watches(&spokev1alpha1.InterconnectGateway{}, all, builder.WithPredicates(local.CopyChanged())).
		Complete(&steps{client: manager.GetClient(), reader: &Reader{Client: manager.GetClient(), Live: manager.GetAPIReader()}})
}

// Reconcile does the next step.
func (c *steps) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	s, err := c.reader.State(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	var list spokev1alpha1.InterconnectGatewayList
	if err := c.client.List(ctx, &list, client.InNamespace(local.Namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list InterconnectGateways: %w", err)
	}
	own := gateway.Own(list.Items)
	todo := next(s, own)
	if todo != stay {
		log.FromContext(ctx).Info("Leaving the fleet", "step", string(todo))
	}
	switch todo {
	case forget:
		err = Delete(ctx, c.client)
	case begin:
		err = c.begin(ctx, own)
	case clean:
		err = StartCleaning(ctx, c.client)
	case end:
		err = AllDone(ctx, c.client)
	}
	if err != nil || !s.Leaving {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: recheck}, nil
}

// begin makes the ConfigMap for the hub.
func (c *steps) begin(ctx context.Context, own *spokev1alpha1.InterconnectGateway) error {
	installation, err := Installation(ctx, c.reader.Live)
	if err != nil {
		return err
	}
	if err := c.client.Create(ctx, New(installation, local.HubUID(own), false)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create ConfigMap %s: %w", ConfigMapName, err)
	}
	return nil
}
