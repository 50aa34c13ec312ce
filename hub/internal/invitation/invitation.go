// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package invitation says what a token of `kubectl tombolo join` is on the hub: a ServiceAccount that is made for it
// alone, and that says for which cluster, until when, and whether it was redeemed (docs/decisions/0012).
package invitation

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
)

const (
	// Namespace of the accounts.
	Namespace = "tombolo-join"
	// AnnotationCluster is the cluster that an account invites.
	AnnotationCluster = "tombolo.io/cluster"
	// AnnotationExpires is when the account's token ends (RFC 3339).
	AnnotationExpires = "tombolo.io/expires"
	// AnnotationRedeemedBy is the UID of the one CertificateSigningRequest that redeems the account.
	AnnotationRedeemedBy = "tombolo.io/redeemed-by"

	// AnnotationJoinedBy on a ManagedCluster says how its agent gets its certificates. Tombolo's hub approves those of clusters
	// that joined by token, OCM's the others.
	AnnotationJoinedBy = "tombolo.io/joined-by"
	// JoinedByToken is its value for clusters without OCM's agents.
	JoinedByToken = "token"

	userPrefix = "system:serviceaccount:" + Namespace + ":"
)

// How long a token may be good. The API server makes none that is shorter.
const (
	MinTTL     = 10 * time.Minute
	DefaultTTL = 15 * time.Minute
	MaxTTL     = time.Hour
)

// New account that invites a cluster.
func New(cluster string, expires time.Time) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace,
			Name:      namePrefix(cluster) + utilrand.String(5),
			Annotations: map[string]string{
				AnnotationCluster: cluster,
				AnnotationExpires: expires.UTC().Format(time.RFC3339),
			},
		},
		AutomountServiceAccountToken: new(false),
	}
}

func namePrefix(cluster string) string { return "join-" + cluster + "-" }

// Account is the name of the account that a user is; empty when the user is none of ours.
func Account(user string) string {
	name, ok := strings.CutPrefix(user, userPrefix)
	if !ok {
		return ""
	}
	return name
}

// User is the user that an account is.
func User(account string) string { return userPrefix + account }

// Invitation is what an account says.
type Invitation struct {
	Cluster    string
	Expires    time.Time
	RedeemedBy string
}

// Of reads an account. One that was not made by `kubectl tombolo join` invites nobody.
func Of(account *corev1.ServiceAccount) (Invitation, error) {
	i := Invitation{Cluster: account.Annotations[AnnotationCluster], RedeemedBy: account.Annotations[AnnotationRedeemedBy]}
	if account.Namespace != Namespace || i.Cluster == "" || len(account.Name) != len(namePrefix(i.Cluster))+5 || !strings.HasPrefix(account.Name, namePrefix(i.Cluster)) {
		return Invitation{}, fmt.Errorf("ServiceAccount %s/%s does not invite cluster %q: its name must be %sXXXXX in namespace %s", account.Namespace, account.Name, i.Cluster, namePrefix(i.Cluster), Namespace)
	}
	var err error
	if i.Expires, err = time.Parse(time.RFC3339, account.Annotations[AnnotationExpires]); err != nil {
		return Invitation{}, fmt.Errorf("annotation %s of ServiceAccount %s/%s: %w", AnnotationExpires, account.Namespace, account.Name, err)
	}
	return i, nil
}
