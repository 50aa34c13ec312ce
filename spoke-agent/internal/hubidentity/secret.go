// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

const (
	// annotationCertificate is the hash of the certificate that the agent itself put into the Secret. With another certificate the
	// Secret is somebody else's, such as OCM's registration, and so is its renewal.
	annotationCertificate = "tombolo.io/certificate"
	// annotationRedeemed is the hash of the bootstrap kubeconfig that the certificate came of.
	annotationRedeemed = "tombolo.io/redeemed"
	// pendingKey is the private key of a request that is not answered yet: an agent that restarts meanwhile goes on with it.
	pendingKey = "pending.key"
)

// identity is what the Secret says.
type identity struct {
	// secret as it was read; nil when it is not there.
	secret *corev1.Secret
	// problem is why what is there can't be used; empty also when nothing is there.
	problem string
	// certificate is nil when there is no identity that can be used.
	certificate *x509.Certificate
	// cluster that the identity is of; empty when the Secret does not say.
	cluster string
	// own is true when the agent made it.
	own bool
	// redeemed is the hash of the bootstrap kubeconfig that it came of.
	redeemed string
	// pending is the private key of an unanswered request, PEM.
	pending []byte
}

// identityOf reads the Secret.
func identityOf(secret *corev1.Secret) identity {
	if secret == nil {
		return identity{}
	}
	i := identity{secret: secret, cluster: string(secret.Data[spokev1alpha1.IdentityCluster]), pending: secret.Data[pendingKey]}
	crt, key := secret.Data[spokev1alpha1.IdentityCertificate], secret.Data[spokev1alpha1.IdentityKey]
	if len(crt) == 0 || len(key) == 0 || len(secret.Data[spokev1alpha1.IdentityKubeconfig]) == 0 {
		return i // registration writes its keys one after the other
	}
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil {
		i.problem = fmt.Sprintf("%s and %s of Secret %s/%s are no pair: %v", spokev1alpha1.IdentityCertificate, spokev1alpha1.IdentityKey, secret.Namespace, secret.Name, err)
		return i
	}
	i.certificate = pair.Leaf
	i.own = secret.Annotations[annotationCertificate] == hash(crt)
	if i.own {
		i.redeemed = secret.Annotations[annotationRedeemed]
	}
	return i
}

// withPending is the Secret with the key of a request that is about to be made.
func withPending(secret *corev1.Secret, name string, key []byte) *corev1.Secret {
	secret = editable(secret, name)
	secret.Data[pendingKey] = key
	return secret
}

// withoutPending is the Secret after a request that came to nothing.
func withoutPending(secret *corev1.Secret) *corev1.Secret {
	secret = secret.DeepCopy()
	delete(secret.Data, pendingKey)
	return secret
}

// granted is what the hub gave.
type granted struct {
	cluster                      string
	kubeconfig, certificate, key []byte
	redeemed                     string
}

// withIdentity is the Secret with a new identity.
func withIdentity(secret *corev1.Secret, name string, g granted) *corev1.Secret {
	secret = editable(secret, name)
	secret.Data = map[string][]byte{
		spokev1alpha1.IdentityKubeconfig:  g.kubeconfig,
		spokev1alpha1.IdentityCertificate: g.certificate,
		spokev1alpha1.IdentityKey:         g.key,
		spokev1alpha1.IdentityCluster:     []byte(g.cluster),
		spokev1alpha1.IdentityAgent:       []byte(spokev1alpha1.AgentName),
	}
	secret.Annotations[annotationCertificate] = hash(g.certificate)
	secret.Annotations[annotationRedeemed] = g.redeemed
	return secret
}

func editable(secret *corev1.Secret, name string) *corev1.Secret {
	if secret == nil {
		secret = &corev1.Secret{Type: corev1.SecretTypeOpaque}
		secret.Namespace, secret.Name = local.Namespace, name
		secret.Labels = map[string]string{"app.kubernetes.io/managed-by": spokev1alpha1.AgentName}
	}
	secret = secret.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	return secret
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}
