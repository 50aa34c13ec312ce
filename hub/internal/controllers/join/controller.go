// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tombolo-io/tombolo/hub/internal/invitation"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// maxNote is the longest note of an event.
const maxNote = 1024

// approver answers requests; the key is the request's name.
type approver struct {
	client client.Client
	// live reads from the API server itself: a denial is final, and must not come of a cache that is behind.
	live   client.Reader
	events events.EventRecorder
}

// Reconcile one request. To redeem is a write of its own before the approval, and is found done when the hub dies in between.
func (a *approver) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	var request certificatesv1.CertificateSigningRequest
	if err := a.client.Get(ctx, key.NamespacedName, &request); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	f, err := a.gather(ctx, &request)
	if err != nil {
		return reconcile.Result{}, err
	}
	v := decide(f)
	if v.answer == redeem {
		if err = a.redeem(ctx, f); err == nil {
			v = decide(f)
		}
	}
	if err == nil && (v.answer == approve || v.answer == deny) {
		err = a.reply(ctx, f, v)
	}
	if err != nil && stale.Only(err) {
		return reconcile.Result{RequeueAfter: stale.Retry}, nil
	}
	return reconcile.Result{}, err
}

func (a *approver) gather(ctx context.Context, request *certificatesv1.CertificateSigningRequest) (facts, error) {
	f := facts{request: request}
	if name := invitation.Account(request.Spec.Username); name != "" {
		account := &corev1.ServiceAccount{}
		err := a.live.Get(ctx, client.ObjectKey{Namespace: invitation.Namespace, Name: name}, account)
		if client.IgnoreNotFound(err) != nil {
			return facts{}, fmt.Errorf("read ServiceAccount %s: %w", name, err)
		}
		if err == nil {
			f.account = account
		}
	}
	if name := clusterOf(request, f.account); name != "" {
		cluster := &clusterv1.ManagedCluster{}
		err := a.live.Get(ctx, client.ObjectKey{Name: name}, cluster)
		if client.IgnoreNotFound(err) != nil {
			return facts{}, fmt.Errorf("read ManagedCluster %s: %w", name, err)
		}
		if err == nil {
			f.cluster = cluster
		}
	}
	return f, nil
}

// redeem writes the request's UID on the account, unless the account has changed since it was read.
func (a *approver) redeem(ctx context.Context, f facts) error {
	f.account.Annotations[invitation.AnnotationRedeemedBy] = string(f.request.UID)
	if err := stale.Wrap(a.client.Update(ctx, f.account)); err != nil {
		return fmt.Errorf("redeem ServiceAccount %s/%s: %w", f.account.Namespace, f.account.Name, err)
	}
	return nil
}

func (a *approver) reply(ctx context.Context, f facts, v verdict) error {
	condition := certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: v.reason, Message: v.message, LastUpdateTime: metav1.Now(),
	}
	kind := corev1.EventTypeNormal
	if v.answer == deny {
		condition.Type, kind = certificatesv1.CertificateDenied, corev1.EventTypeWarning
	}
	f.request.Status.Conditions = append(f.request.Status.Conditions, condition)
	err := stale.Wrap(a.client.SubResource("approval").Update(ctx, f.request))
	if apierrors.IsNotFound(err) {
		return nil // it went meanwhile
	}
	if err != nil {
		return fmt.Errorf("%s CertificateSigningRequest %s: %w", v.answer, f.request.Name, err)
	}
	metrics.JoinRequests.WithLabelValues(string(condition.Type), v.reason).Inc()
	var about client.Object = f.request
	if f.cluster != nil {
		about = f.cluster
	}
	note := fmt.Sprintf("CertificateSigningRequest %s of %s: %s", f.request.Name, f.request.Spec.Username, v.message)
	a.events.Eventf(about, f.request, kind, v.reason, "Answer", "%s", note[:min(len(note), maxNote)])
	return nil
}

// collector deletes accounts whose token has expired; the key is the account's.
type collector struct {
	client client.Client
	now    func() time.Time
}

// Reconcile one account.
func (c *collector) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	var account corev1.ServiceAccount
	if err := c.client.Get(ctx, key.NamespacedName, &account); err != nil || account.DeletionTimestamp != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var requests certificatesv1.CertificateSigningRequestList
	if err := c.client.List(ctx, &requests); err != nil {
		return reconcile.Result{}, fmt.Errorf("list CertificateSigningRequests: %w", err)
	}
	gone, again := expired(&account, requests.Items, c.now())
	if !gone {
		return reconcile.Result{RequeueAfter: again}, nil
	}
	err := c.client.Delete(ctx, &account, client.Preconditions{UID: &account.UID, ResourceVersion: &account.ResourceVersion})
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: stale.Retry}, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete expired ServiceAccount %s: %w", key, err)
	}
	return reconcile.Result{}, nil
}
