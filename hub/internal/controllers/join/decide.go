// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package join gives clusters without OCM's agents their certificates: it answers the CertificateSigningRequests with which
// an agent redeems a token of `kubectl tombolo join`, and those with which it renews (docs/decisions/0012).
package join

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/invitation"
)

// answer is what becomes of a request.
type answer string

const (
	// ignore: somebody else's, or answered.
	ignore answer = "ignore"
	// redeem the account first, then decide again.
	redeem answer = "redeem"
	// approve the request.
	approve answer = "approve"
	// deny the request.
	deny answer = "deny"
)

// Reasons, in the conditions of requests and in metrics.
const (
	reasonRedeemed      = "TokenRedeemed"
	reasonRenewed       = "Renewed"
	reasonNoAccount     = "NoSuchToken"
	reasonExpired       = "TokenExpired"
	reasonAlready       = "TokenAlreadyRedeemed"
	reasonRequest       = "InvalidRequest"
	reasonSubject       = "WrongSubject"
	reasonNoCluster     = "NoSuchCluster"
	reasonNotAccepted   = "ClusterNotAccepted"
	reasonLeaving       = "ClusterLeaving"
	reasonNotByToken    = "NotJoinedByToken"
	reasonForeignMember = "NotInGroup"
)

// ocmLabels mark the requests of OCM's agents, which OCM answers.
const ocmLabels = "open-cluster-management.io/"

// facts are all that a decision is made from.
type facts struct {
	request *certificatesv1.CertificateSigningRequest
	// account that the requester is; nil when it is not there, or the requester is none.
	account *corev1.ServiceAccount
	// cluster that the account or the requester is of; nil when it is not there.
	cluster *clusterv1.ManagedCluster
}

// verdict is an answer, and why.
type verdict struct {
	answer          answer
	reason, message string
}

func denied(reason, format string, args ...any) verdict {
	return verdict{deny, reason, fmt.Sprintf(format, args...)}
}

// anew is the cure of most refusals.
func anew(cluster string) string {
	return fmt.Sprintf("make a new token on the hub: kubectl tombolo join %s --again", cluster)
}

// clusterOf is the cluster that a request is about, as far as the requester says it.
func clusterOf(request *certificatesv1.CertificateSigningRequest, account *corev1.ServiceAccount) string {
	if account != nil {
		return account.Annotations[invitation.AnnotationCluster]
	}
	cluster, _ := spokev1alpha1.ClusterOfAgent(request.Spec.Username)
	return cluster
}

// decide answers one request.
func decide(f facts) verdict {
	if f.request.Spec.SignerName != spokev1alpha1.AgentSigner || answered(f.request) {
		return verdict{answer: ignore}
	}
	if invitation.Account(f.request.Spec.Username) != "" {
		return decideToken(f)
	}
	if cluster, ok := spokev1alpha1.ClusterOfAgent(f.request.Spec.Username); ok && !ofOCM(f.request) {
		return decideRenewal(f, cluster)
	}
	return verdict{answer: ignore}
}

func answered(request *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(request.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
	})
}

func ofOCM(request *certificatesv1.CertificateSigningRequest) bool {
	for label := range request.Labels {
		if strings.HasPrefix(label, ocmLabels) {
			return true
		}
	}
	return false
}

// decideToken answers who has a token.
func decideToken(f facts) verdict {
	uid := string(f.request.UID)
	if f.account == nil || string(f.account.UID) != f.request.Spec.UID {
		return denied(reasonNoAccount, "The token is not known any more: it has expired, or was taken back. Cure: make a new token on the hub: kubectl tombolo join NAME --again.")
	}
	i, err := invitation.Of(f.account)
	if err != nil {
		return denied(reasonNoAccount, "The account is no invitation: %v. Cure: make a token by kubectl tombolo join.", err)
	}
	switch {
	case i.RedeemedBy != "" && i.RedeemedBy != uid:
		return denied(reasonAlready, "The token was redeemed before, and is good for one certificate. Cure: %s. If nobody of yours has redeemed it, "+
			"take the certificate's rights away: set spec.hubAcceptsClient of ManagedCluster %s to false.", anew(i.Cluster), i.Cluster)
	case i.RedeemedBy == "" && f.request.CreationTimestamp.After(i.Expires):
		return denied(reasonExpired, "The token expired at %s. Cure: %s.", i.Expires.UTC().Format(time.RFC3339), anew(i.Cluster))
	}
	if v := checkRequest(f.request, i.Cluster); v != nil {
		return *v
	}
	if v := checkCluster(f.cluster, i.Cluster); v != nil {
		return *v
	}
	if f.cluster.DeletionTimestamp != nil {
		return denied(reasonLeaving, "ManagedCluster %s is being deleted. Cure: wait until it is gone, then: kubectl tombolo join %s.", i.Cluster, i.Cluster)
	}
	if i.RedeemedBy == "" {
		return verdict{answer: redeem}
	}
	return verdict{approve, reasonRedeemed, fmt.Sprintf("ServiceAccount %s/%s invited cluster %s.", f.account.Namespace, f.account.Name, i.Cluster)}
}

// decideRenewal answers an agent that renews its own certificate. A cluster that is leaving still needs its agent.
func decideRenewal(f facts, cluster string) verdict {
	if f.cluster != nil && f.cluster.Annotations[invitation.AnnotationJoinedBy] != invitation.JoinedByToken {
		return denied(reasonNotByToken, "Cluster %s did not join by token: OCM's agents renew its certificates. Cure: %s.", cluster, anew(cluster))
	}
	if v := checkCluster(f.cluster, cluster); v != nil {
		return *v
	}
	if !slices.Contains(f.request.Spec.Groups, spokev1alpha1.AgentGroup(cluster)) {
		return denied(reasonForeignMember, "The requester is not in group %s. Cure: %s.", spokev1alpha1.AgentGroup(cluster), anew(cluster))
	}
	if v := checkRequest(f.request, cluster); v != nil {
		return *v
	}
	return verdict{approve, reasonRenewed, fmt.Sprintf("The agent of cluster %s renews its own certificate.", cluster)}
}

func checkCluster(cluster *clusterv1.ManagedCluster, name string) *verdict {
	switch {
	case cluster == nil:
		return new(denied(reasonNoCluster, "There is no ManagedCluster %s. Cure: kubectl tombolo join %s.", name, name))
	case !cluster.Spec.HubAcceptsClient:
		return new(denied(reasonNotAccepted, "The hub does not accept cluster %s. Cure: set spec.hubAcceptsClient of ManagedCluster %s to true, then %s.", name, name, anew(name)))
	}
	return nil
}

// usages that an agent's certificate may have.
var usages = []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment}

// checkRequest wants the identity of the cluster's agent, exactly, and nothing else.
func checkRequest(request *certificatesv1.CertificateSigningRequest, cluster string) *verdict {
	block, rest := pem.Decode(request.Spec.Request)
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return new(denied(reasonRequest, "spec.request is not one PEM block. Cure: upgrade the cluster's agent."))
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return new(denied(reasonRequest, "spec.request can't be read: %v. Cure: upgrade the cluster's agent.", err))
	}
	for _, usage := range request.Spec.Usages {
		if !slices.Contains(usages, usage) {
			return new(denied(reasonRequest, "Usage %q is none of an agent's. Cure: upgrade the cluster's agent.", usage))
		}
	}
	if !slices.Contains(request.Spec.Usages, certificatesv1.UsageClientAuth) {
		return new(denied(reasonRequest, "Usage %q is missing. Cure: upgrade the cluster's agent.", certificatesv1.UsageClientAuth))
	}
	if len(r.DNSNames)+len(r.EmailAddresses)+len(r.IPAddresses)+len(r.URIs) > 0 {
		return new(denied(reasonRequest, "An agent's certificate has no alternative names. Cure: upgrade the cluster's agent."))
	}
	want := []string{spokev1alpha1.AgentGroup(cluster), spokev1alpha1.AgentsGroup}
	have := slices.Sorted(slices.Values(r.Subject.Organization))
	slices.Sort(want)
	// Names holds every attribute of the subject: there are the common name and the groups, and no other.
	if r.Subject.CommonName != spokev1alpha1.AgentUser(cluster) || !slices.Equal(have, want) || len(r.Subject.Names) != 1+len(want) {
		return new(denied(reasonSubject, "The request is for %q in groups %q, and the token or certificate is of cluster %s. "+
			"Cure: set clusterName of the cluster's chart to %s, or %s.", r.Subject.CommonName, r.Subject.Organization, cluster, cluster,
			"make a token for the cluster that it is: kubectl tombolo join NAME"))
	}
	return nil
}

// expired is true for an account that nobody can redeem any more. pending are the requests that are not answered yet: one that came
// in time, or has redeemed the account, still needs it.
func expired(account *corev1.ServiceAccount, pending []certificatesv1.CertificateSigningRequest, now time.Time) (gone bool, again time.Duration) {
	i, err := invitation.Of(account)
	if err != nil {
		return false, 0 // somebody else's: nothing is deleted on doubt
	}
	if left := i.Expires.Sub(now); left > 0 {
		return false, left
	}
	for _, request := range pending {
		if request.Spec.SignerName == spokev1alpha1.AgentSigner && request.Spec.Username == invitation.User(account.Name) && !answered(&request) {
			return false, time.Minute
		}
	}
	return true, 0
}
