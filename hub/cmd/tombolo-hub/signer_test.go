// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// signing is the CA that the test's kube-controller-manager signs with, which the API server believes. It is made once.
var signing = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp(apiServer.ControlPlane.GetAPIServer().CertDir, "signing-"); err != nil { // goes with the API server
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signing"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{"ca.crt": certificate, "ca.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey})} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return "", err
		}
	}
	// The API server notices that the file of its clients' CAs has changed.
	clients := apiServer.ControlPlane.GetAPIServer().Configure().Get("client-ca-file").Get(nil)[0]
	before, err := os.ReadFile(clients)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(clients, append(before, certificate...), 0o600)
})

// startSigner runs kube-controller-manager's signing controller, and nothing else of it.
func startSigner(t *testing.T) {
	t.Helper()
	dir, err := signing()
	if err != nil {
		t.Fatalf("make CA of the signer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	manager := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kube-controller-manager"),
		"--kubeconfig="+adminKubeconfig(t), "--controllers=certificatesigningrequest-signing-controller", "--leader-elect=false", "--secure-port=0",
		"--cluster-signing-cert-file="+filepath.Join(dir, "ca.crt"), "--cluster-signing-key-file="+filepath.Join(dir, "ca.key"))
	out, err := os.Create(filepath.Join(t.TempDir(), "kube-controller-manager.log"))
	if err != nil {
		t.Fatal(err)
	}
	manager.Stdout, manager.Stderr = out, out
	if err := manager.Start(); err != nil {
		t.Fatalf("start kube-controller-manager: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		_ = manager.Wait() // it was killed
		if log, err := os.ReadFile(out.Name()); t.Failed() && err == nil {
			t.Logf("log of kube-controller-manager:\n%s", log)
		}
	})
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

func writeKubeconfig(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
