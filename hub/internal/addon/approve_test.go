// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package addon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
)

const (
	eastUser  = "system:open-cluster-management:cluster:east:addon:tombolo:agent:tombolo-agent"
	eastGroup = "system:open-cluster-management:cluster:east:addon:tombolo"
	allGroup  = "system:open-cluster-management:addon:tombolo"
)

func TestApprove(t *testing.T) {
	type request = certificatesv1.CertificateSigningRequest
	for name, tc := range map[string]struct {
		reason  string
		cluster func(*clusterv1.ManagedCluster)
		asked   func(*x509.CertificateRequest)
		request func(*request)
		refused string
	}{
		"its own": {reason: "the cluster's OCM agent asks for the identity of Tombolo's agent in the cluster"},
		"not accepted": {
			reason:  "a cluster that the hub does not accept has no agent",
			cluster: func(c *clusterv1.ManagedCluster) { c.Spec.HubAcceptsClient = false }, refused: "does not accept",
		},
		"prefix twin": {
			reason: "the agent of east-1 is not the agent of east",
			request: func(r *request) {
				r.Spec.Username, r.Spec.Groups = "system:open-cluster-management:east-1:abc", []string{"system:open-cluster-management:east-1"}
			}, refused: "not the OCM agent of cluster east",
		},
		"without its group": {
			reason:  "a name alone does not make an agent",
			request: func(r *request) { r.Spec.Groups = []string{"system:authenticated"} }, refused: "not the OCM agent",
		},
		"an add-on's agent": {
			reason: "only the OCM agent asks: add-ons of a cluster called `cluster` have names that begin like its agent's",
			request: func(r *request) {
				r.Spec.Username, r.Spec.Groups = eastUser, []string{eastGroup}
			}, refused: "not the OCM agent",
		},
		"another cluster's identity": {
			reason:  "an agent asks for itself",
			asked:   func(r *x509.CertificateRequest) { r.Subject.CommonName = strings.Replace(eastUser, "east", "west", 1) },
			refused: "is not",
		},
		"one more group": {
			reason: "nobody chooses groups for himself",
			asked:  func(r *x509.CertificateRequest) { r.Subject.Organization = append(r.Subject.Organization, "admins") }, refused: "groups",
		},
		"one group less": {
			reason: "it would be of no use", asked: func(r *x509.CertificateRequest) { r.Subject.Organization = []string{allGroup} }, refused: "groups",
		},
		"names of servers": {
			reason: "the agent is no server", asked: func(r *x509.CertificateRequest) { r.DNSNames = []string{"hub.example.com"} }, refused: "names of servers",
		},
		"usage of a server": {
			reason:  "the agent is no server",
			request: func(r *request) { r.Spec.Usages = append(r.Spec.Usages, certificatesv1.UsageServerAuth) }, refused: "usages",
		},
		"another signer": {
			reason:  "the kubelets' signer gives other powers",
			request: func(r *request) { r.Spec.SignerName = certificatesv1.KubeAPIServerClientKubeletSignerName }, refused: "signer",
		},
		"no request": {
			reason: "what can't be read is not signed", request: func(r *request) { r.Spec.Request = []byte("x") }, refused: "no PEM block",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := east(nil)
			if tc.cluster != nil {
				tc.cluster(cluster)
			}
			asked := &x509.CertificateRequest{DNSNames: []string{"tombolo.addon.open-cluster-management.io"}, Subject: pkix.Name{CommonName: eastUser, Organization: []string{allGroup, eastGroup}}}
			if tc.asked != nil {
				tc.asked(asked)
			}
			r := &request{Spec: certificatesv1.CertificateSigningRequestSpec{
				Request: encode(t, asked), SignerName: certificatesv1.KubeAPIServerClientSignerName, Usages: slices.Clip(usages),
				Username: "system:open-cluster-management:east:0123-abcd", Groups: []string{"system:open-cluster-management:east", "system:authenticated"},
			}}
			if tc.request != nil {
				tc.request(r)
			}
			err := Approve(cluster, r)
			switch {
			case tc.refused == "" && err != nil:
				t.Errorf("%s: refused: %v", tc.reason, err)
			case tc.refused != "" && (err == nil || !strings.Contains(err.Error(), tc.refused)):
				t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.refused)
			}
		})
	}
}

func encode(t *testing.T, asked *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, asked, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
