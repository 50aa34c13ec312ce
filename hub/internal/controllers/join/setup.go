// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 30 * time.Second
	timeout      = 2 * time.Minute
)

// Add registers the approver of requests and the collector of expired accounts.
func Add(mgr manager.Manager) error {
	err := builder.ControllerManagedBy(mgr).
		Named("join").
		For(&certificatesv1.CertificateSigningRequest{}).
		WithOptions(options()).
		Complete(&approver{client: mgr.GetClient(), live: mgr.GetAPIReader(), events: mgr.GetEventRecorder("tombolo-hub")})
	if err != nil {
		return fmt.Errorf("add approver: %w", err)
	}
	err = builder.ControllerManagedBy(mgr).
		Named("join-expiry").
		For(&corev1.ServiceAccount{}, builder.WithPredicates(predicate.NewPredicateFuncs(invited))).
		WithOptions(options()).
		Complete(&collector{client: mgr.GetClient(), now: time.Now})
	if err != nil {
		return fmt.Errorf("add collector: %w", err)
	}
	return nil
}

func options() controller.Options {
	return controller.Options{
		RateLimiter:           workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffFirst, backoffMax),
		EnableWarmup:          new(true),
		ReconciliationTimeout: timeout,
	}
}

func invited(account client.Object) bool { return account.GetNamespace() == invitation.Namespace }
