// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package join

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

// checkHub refuses a cluster that is no hub, or one whose hub could not answer the token.
func checkHub(ctx context.Context, hub client.Client) error {
	for kind, list := range map[string]client.ObjectList{"ManagedCluster": &clusterv1.ManagedClusterList{}, "InterconnectGateway": &spokev1alpha1.InterconnectGatewayList{}} {
		err := hub.List(ctx, list, client.Limit(1))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return fmt.Errorf("this cluster is no hub, it has no kind %s: choose the hub by --context or --kubeconfig, or install the chart tombolo-hub there", kind)
		}
		if err != nil {
			return fmt.Errorf("list %ss of the hub: %w", kind, err)
		}
	}
	err := hub.Get(ctx, client.ObjectKey{Name: invitation.Namespace}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("the hub has no namespace %s, which the chart tombolo-hub makes: install or upgrade it", invitation.Namespace)
	}
	if err != nil {
		return fmt.Errorf("read namespace %s: %w", invitation.Namespace, err)
	}
	return nil
}

// inviter writes what an invitation is on the hub. Each step finds done what an earlier attempt did.
type inviter struct {
	hub            client.Client
	name           string
	labels         map[string]string
	again, replace bool
	say            func(format string, args ...any)
}

func (i inviter) invite(ctx context.Context, ttl time.Duration) (token string, expires time.Time, err error) {
	if err := i.checkJoined(ctx); err != nil {
		return "", time.Time{}, err
	}
	if err := i.ensureCluster(ctx); err != nil {
		return "", time.Time{}, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: i.name}}
	if err := i.hub.Create(ctx, namespace); err == nil {
		i.say("made namespace %s", i.name)
	} else if !apierrors.IsAlreadyExists(err) { // OCM's hub makes it too
		return "", time.Time{}, fmt.Errorf("make namespace %s: %w", i.name, err)
	}
	return i.mint(ctx, ttl)
}

// checkJoined refuses to invite a cluster whose agent has reported, unless that is meant.
func (i inviter) checkJoined(ctx context.Context) error {
	gateway := &spokev1alpha1.InterconnectGateway{}
	err := i.hub.Get(ctx, client.ObjectKey{Namespace: i.name, Name: i.name}, gateway)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read InterconnectGateway %s: %w", i.name, err)
	}
	switch id := gateway.Status.ClusterID; {
	case id == "":
		return nil
	case i.replace:
		before := gateway.DeepCopy()
		gateway.Status.ClusterID = ""
		if err := i.hub.Status().Patch(ctx, gateway, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("free the name %s from the cluster with ID %s: %w", i.name, id, err)
		}
		i.say("freed the name %s from the cluster with ID %s: that one must not come back", i.name, id)
		return nil
	case i.again:
		return nil
	default:
		return fmt.Errorf("cluster %s has joined (agent %s, cluster ID %s): give --again to invite the same cluster anew, or --replace for another one in its place",
			i.name, gateway.Status.AgentVersion, id)
	}
}

// ensureCluster makes the ManagedCluster, or accepts the one that is there.
func (i inviter) ensureCluster(ctx context.Context) error {
	cluster := &clusterv1.ManagedCluster{}
	err := i.hub.Get(ctx, client.ObjectKey{Name: i.name}, cluster)
	if apierrors.IsNotFound(err) {
		cluster = &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: i.name}}
		i.furnish(cluster)
		if err := i.hub.Create(ctx, cluster); err != nil {
			return fmt.Errorf("make ManagedCluster %s: %w", i.name, err)
		}
		i.say("made ManagedCluster %s", i.name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ManagedCluster %s: %w", i.name, err)
	}
	if cluster.DeletionTimestamp != nil {
		return fmt.Errorf("ManagedCluster %s is being deleted: wait until it is gone (kubectl wait --for=delete managedcluster/%s)", i.name, i.name)
	}
	if meta.IsStatusConditionTrue(cluster.Status.Conditions, clusterv1.ManagedClusterConditionJoined) {
		return fmt.Errorf("cluster %s has Open Cluster Management's agents: enable the add-on tombolo for it instead, which needs no token", i.name)
	}
	before := cluster.DeepCopy()
	if !cluster.Spec.HubAcceptsClient {
		i.say("accepting ManagedCluster %s, which was not", i.name)
	}
	i.furnish(cluster)
	if err := i.hub.Patch(ctx, cluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("accept ManagedCluster %s: %w", i.name, err)
	}
	return nil
}

func (i inviter) furnish(cluster *clusterv1.ManagedCluster) {
	cluster.Spec.HubAcceptsClient = true
	metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, invitation.AnnotationJoinedBy, invitation.JoinedByToken)
	for key, value := range i.labels {
		metav1.SetMetaDataLabel(&cluster.ObjectMeta, key, value)
	}
}

// mint makes the account and its token. An account whose token failed is taken back; one that stays is deleted when it expires.
func (i inviter) mint(ctx context.Context, ttl time.Duration) (token string, expires time.Time, err error) {
	account := invitation.New(i.name, time.Now().Add(ttl))
	if err := i.hub.Create(ctx, account); err != nil {
		return "", time.Time{}, fmt.Errorf("make ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(ttl.Seconds()))}}
	if err := i.hub.SubResource("token").Create(ctx, account, request); err != nil {
		_ = i.hub.Delete(ctx, account) // the error before is the one that tells
		return "", time.Time{}, fmt.Errorf("make token of ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, nil
}
