// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// lifetime is what the agent asks for. The hub's signer may give less.
const lifetime = 90 * 24 * time.Hour

// request for one key. Its name is made of the key, so that an agent that restarts finds its own.
type request struct {
	hub     client.Client
	cluster string
	// key is the private key, PEM.
	key []byte
}

// newKey is a private key (ECDSA, P-256), PEM.
func newKey() ([]byte, error) {
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}

// signer is the private key, and the name of its request.
func (r request) signer() (crypto.Signer, string, error) {
	parsed, err := keyutil.ParsePrivateKeyPEM(r.key)
	if err != nil {
		return nil, "", fmt.Errorf("parse key of the request: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, "", fmt.Errorf("parse key of the request: a %T does not sign", parsed)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, "", fmt.Errorf("name the request: %w", err)
	}
	return key, fmt.Sprintf("tombolo-%s-%s", r.cluster, hash(public)), nil
}

// certificate asks for one, or looks what became of the request. It is nil while there is no answer. A denial is an error.
func (r request) certificate(ctx context.Context) (certificate []byte, name string, err error) {
	key, name, err := r.signer()
	if err != nil {
		return nil, "", err
	}
	csr := &certificatesv1.CertificateSigningRequest{}
	err = r.hub.Get(ctx, client.ObjectKey{Name: name}, csr)
	if apierrors.IsNotFound(err) {
		if csr, err = r.object(key, name); err != nil {
			return nil, name, err
		}
		err = r.hub.Create(ctx, csr)
	}
	if err != nil {
		return nil, name, err
	}
	for _, c := range csr.Status.Conditions {
		if c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed {
			return nil, name, &denial{reason: c.Reason, message: c.Message}
		}
	}
	if len(csr.Status.Certificate) == 0 {
		return nil, name, nil
	}
	if _, err := tls.X509KeyPair(csr.Status.Certificate, r.key); err != nil {
		return nil, name, &denial{reason: "InvalidCertificate", message: fmt.Sprintf("the hub signed something else: %v", err)}
	}
	return csr.Status.Certificate, name, nil
}

func (r request) object(key crypto.Signer, name string) (*certificatesv1.CertificateSigningRequest, error) {
	raw, err := certutil.MakeCSR(key, &pkix.Name{
		CommonName:   spokev1alpha1.AgentUser(r.cluster),
		Organization: []string{spokev1alpha1.AgentGroup(r.cluster), spokev1alpha1.AgentsGroup},
	}, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: raw, SignerName: spokev1alpha1.AgentSigner, ExpirationSeconds: new(int32(lifetime / time.Second)),
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
		},
	}, nil
}
