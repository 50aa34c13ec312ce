// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/clustertest"
)

// hub is a real apiserver; the test answers and signs requests in place of tombolo-hub and kube-controller-manager, as it is told.
type hub struct {
	*clustertest.Cluster
	key *ecdsa.PrivateKey
	ca  *x509.Certificate

	mu sync.Mutex
	// life that the certificates of tokens have left, of an hour that is over. Renewals get ten.
	life time.Duration
	// denial, if there is one, is the answer.
	denial string
	// users that have asked.
	users []string
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{Cluster: clustertest.Start(t, "tombolo-join"), life: 10 * time.Hour}
	h.key, h.ca = newCA(t)
	before, err := os.ReadFile(h.ClientCAs)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.ClientCAs, append(before, encodeCA(h.ca)...), 0o600); err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "tombolo-join"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"certificates.k8s.io"}, Resources: []string{"certificatesigningrequests"}, Verbs: []string{"create", "get"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "tombolo-join"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tombolo-join"},
		Subjects: []rbacv1.Subject{
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:tombolo-join"},
			{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: spokev1alpha1.AgentsGroup},
		},
	}
	for _, object := range []client.Object{role, binding} {
		if err := h.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			_ = h.answer(ctx) // tried again
			time.Sleep(50 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func newCA(t *testing.T) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signing"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, ca
}

func encodeCA(ca *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
}

// answer every request that waits.
func (h *hub) answer(ctx context.Context) error {
	var list certificatesv1.CertificateSigningRequestList
	if err := h.Client.List(ctx, &list); err != nil {
		return err
	}
	for _, request := range list.Items {
		if len(request.Status.Conditions) > 0 {
			continue
		}
		h.mu.Lock()
		h.users = append(h.users, request.Spec.Username)
		denial, life := h.denial, h.life
		h.mu.Unlock()
		if request.Spec.Username == spokev1alpha1.AgentUser("east") {
			life = 10 * time.Hour
		}
		condition := certificatesv1.CertificateSigningRequestCondition{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Test", Message: "x"}
		if denial != "" {
			condition.Type, condition.Reason, condition.Message = certificatesv1.CertificateDenied, denial, "No. Cure: none."
		}
		request.Status.Conditions = append(request.Status.Conditions, condition)
		if err := h.Client.SubResource("approval").Update(ctx, &request); err != nil || denial != "" {
			continue
		}
		raw, err := h.sign(request.Spec.Request, life)
		if err != nil {
			return err
		}
		request.Status.Certificate = raw
		if err := h.Client.Status().Update(ctx, &request); err != nil {
			return err
		}
	}
	return nil
}

func (h *hub) sign(request []byte, life time.Duration) ([]byte, error) {
	block, _ := pem.Decode(request)
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: r.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, h.ca, r.PublicKey, h.key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// will say how requests are answered from now on.
func (h *hub) will(denial string, life time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denial, h.life = denial, life
}

func (h *hub) lastUser() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.users) == 0 {
		return ""
	}
	return h.users[len(h.users)-1]
}

// token of a new account.
func (h *hub) token(t *testing.T) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "tombolo-join", GenerateName: "join-east-"}}
	if err := h.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(600))}}
	if err := h.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// bootstrap writes a bootstrap kubeconfig, as the chart would.
func (h *hub) bootstrap(t *testing.T, path, token string, ca []byte) {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["hub"] = &clientcmdapi.Cluster{Server: h.Config.Host, CertificateAuthorityData: ca}
	c.AuthInfos["token"] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: "token"}
	c.CurrentContext = "hub"
	next := filepath.Join(filepath.Dir(path), fmt.Sprintf("next-%d", time.Now().UnixNano()))
	if err := clientcmd.WriteToFile(*c, next); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
