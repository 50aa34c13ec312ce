// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the-agent"}, NotBefore: begin, NotAfter: begin.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestIdentity(t *testing.T) {
	tests := map[string]struct {
		reason string
		data   map[string][]byte
		want   Identity
	}{
		"whole": {"what is told, and nothing else", map[string][]byte{"tls.crt": certificate(t), "tls.key": []byte("secret"), "cluster-name": []byte("east")},
			Identity{Keys: []string{"cluster-name", "tls.crt", "tls.key"}, Cluster: "east", Subject: "the-agent", NotBefore: begin, NotAfter: begin.Add(time.Hour)}},
		"empty":   {"nobody has filled it yet", nil, Identity{Problem: "there is no certificate under tls.crt"}},
		"garbage": {"PEM of something else", map[string][]byte{"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})}, Identity{Keys: []string{"tls.crt"}, Problem: "the certificate can't be read: x509: malformed certificate"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := IdentityOf(&corev1.Secret{Data: test.data})
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", test.reason, diff)
			}
			if text, err := json.Marshal(got); err != nil || strings.Contains(string(text), "secret") {
				t.Errorf("%s: %v: %s", test.reason, err, text)
			}
		})
	}
}

func TestBoundNamespaces(t *testing.T) {
	router := func(namespace string, names ...string) spokev1alpha1.LocalRouter {
		return spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}, Spec: spokev1alpha1.LocalRouterSpec{
			Vpc: spokev1alpha1.VpcIdentity{Namespace: "shop", Name: "one"}, Namespaces: names[:1], Subnets: []spokev1alpha1.RouterSubnet{{Namespaces: names[1:]}}}}
	}
	namespace := func(name, vpc string) corev1.Namespace {
		return corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{networkv1alpha1.AnnotationVpc: vpc}}}
	}
	f := &Facts{
		Routers:    []spokev1alpha1.LocalRouter{router(Namespace, "shop", "agreed", "other"), router("east", "elsewhere")},
		Namespaces: []corev1.Namespace{namespace("shop", ""), namespace("agreed", "shop/one"), namespace("other", "shop/two"), namespace("elsewhere", "shop/one")},
	}
	if diff := cmp.Diff(map[string]bool{"shop": true, "agreed": true}, f.boundNamespaces()); diff != "" {
		t.Errorf("the own tenant's, and those that agree; the hub's own routers bind nobody here: -want +got:\n%s", diff)
	}
}

func TestHeard(t *testing.T) {
	written := func(subresource string, after time.Duration) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "east", ManagedFields: []metav1.ManagedFieldsEntry{{Subresource: subresource, Time: new(metav1.NewTime(begin.Add(after)))}}}
	}
	gateway := func(meta metav1.ObjectMeta) []spokev1alpha1.InterconnectGateway {
		return []spokev1alpha1.InterconnectGateway{{ObjectMeta: meta, Spec: spokev1alpha1.InterconnectGatewaySpec{Cluster: "east"}}}
	}
	lease := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: ClusterLease}, Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(begin.Add(2 * time.Minute)))}}
	made := coordinationv1.Lease{ObjectMeta: written("", 4*time.Minute)}
	made.Name = AddOn
	beat := *made.DeepCopy()
	beat.Spec.RenewTime = new(metav1.NewMicroTime(begin.Add(time.Hour)))
	tests := map[string]struct {
		reason string
		facts  Facts
		want   time.Time
	}{
		"never":  {"the hub's own writes are no word of the cluster", Facts{Gateways: gateway(written("", time.Minute))}, time.Time{}},
		"status": {"the agent wrote one", Facts{Gateways: gateway(written("status", time.Minute))}, begin.Add(time.Minute)},
		"router": {"of a router, later", Facts{Gateways: gateway(written("status", time.Minute)), Routers: []spokev1alpha1.LocalRouter{{ObjectMeta: written("status", 3*time.Minute)}}}, begin.Add(3 * time.Minute)},
		"beat":   {"Tombolo's agent renewed its lease: when, the hub's API server says, not the clock of the cluster", Facts{Gateways: gateway(written("status", time.Minute)), Leases: []coordinationv1.Lease{beat}}, begin.Add(4 * time.Minute)},
		"made":   {"the hub has made the lease, and nobody renews it", Facts{Gateways: gateway(written("", time.Minute)), Leases: []coordinationv1.Lease{made}}, time.Time{}},
		"lease":  {"OCM's agent, later", Facts{Gateways: gateway(written("status", time.Minute)), Leases: []coordinationv1.Lease{lease}}, begin.Add(2 * time.Minute)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.facts.Hub = true
			if got := test.facts.Heard("east"); !got.Equal(test.want) {
				t.Errorf("%s: %v, want %v", test.reason, got, test.want)
			}
		})
	}
}
