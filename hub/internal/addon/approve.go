// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"open-cluster-management.io/addon-framework/pkg/agent"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

// usages are all that the agent's certificate is good for.
var usages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageClientAuth}

// dnsName is what OCM's agent asks for beside the subject. A client certificate has no use for it.
const dnsName = Name + ".addon.open-cluster-management.io"

// Approve says why a request is not one of the cluster's own OCM agent for the identity of Tombolo's agent there; nil: it
// is.
//
// addon-framework's DefaultCSRApprover is not used: it compares the requester by prefix, so that the agent of `east-1`
// would get the identity of `east`, and lets one more group of the requester's choice in.
func Approve(cluster *clusterv1.ManagedCluster, request *certificatesv1.CertificateSigningRequest) error {
	switch {
	case !cluster.Spec.HubAcceptsClient:
		return errors.New("the hub does not accept the cluster")
	case request.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName:
		return fmt.Errorf("signer %s is not %s", request.Spec.SignerName, certificatesv1.KubeAPIServerClientSignerName)
	case slices.ContainsFunc(request.Spec.Usages, func(u certificatesv1.KeyUsage) bool { return !slices.Contains(usages, u) }):
		return fmt.Errorf("usages %v are more than %v", request.Spec.Usages, usages)
	}
	return errors.Join(requester(cluster.Name, request), subject(cluster.Name, request))
}

// requester is the cluster's registration agent: OCM calls it system:open-cluster-management:CLUSTER:AGENT.
func requester(cluster string, request *certificatesv1.CertificateSigningRequest) error {
	group := "system:open-cluster-management:" + cluster
	name, ours := strings.CutPrefix(request.Spec.Username, group+":")
	if !ours || name == "" || strings.Contains(name, ":") || !slices.Contains(request.Spec.Groups, group) {
		return fmt.Errorf("requester %s is not the OCM agent of cluster %s", request.Spec.Username, cluster)
	}
	return nil
}

// subject is the agent's, and nothing besides.
func subject(cluster string, request *certificatesv1.CertificateSigningRequest) error {
	block, _ := pem.Decode(request.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("spec.request is no PEM block CERTIFICATE REQUEST")
	}
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("parse spec.request: %w", err)
	}
	user, groups := agent.DefaultUser(cluster, Name, AgentName), agent.DefaultGroups(cluster, Name)
	if asked.Subject.CommonName != user {
		return fmt.Errorf("user %q is not %q", asked.Subject.CommonName, user)
	}
	if got := slices.Sorted(slices.Values(asked.Subject.Organization)); !slices.Equal(got, slices.Sorted(slices.Values(groups))) {
		return fmt.Errorf("groups %q are not %q", got, groups)
	}
	if slices.ContainsFunc(asked.DNSNames, func(n string) bool { return n != dnsName }) || len(asked.EmailAddresses)+len(asked.IPAddresses)+len(asked.URIs) > 0 {
		return errors.New("names of servers are asked for: the agent is none")
	}
	return nil
}
