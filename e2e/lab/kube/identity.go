// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenSeconds is how long service account tokens last: a year, so that a demo
// that is left up keeps working.
const tokenSeconds = 365 * 24 * 3600

// ClientConfig gives a kubeconfig for the cluster's network with a client
// certificate of user cn in the groups orgs.
func (c *ControlPlane) ClientConfig(cn string, orgs []string) ([]byte, error) {
	return c.clientConfig(c.Server(), cn, orgs)
}

func (c *ControlPlane) clientConfig(server, cn string, orgs []string) ([]byte, error) {
	pair, err := c.ca.Client(cn, orgs)
	if err != nil {
		return nil, err
	}
	return c.kubeconfig(server, &clientcmdapi.AuthInfo{
		ClientCertificateData: pair.Cert,
		ClientKeyData:         pair.Key,
	})
}

// TokenConfig gives a kubeconfig for the cluster's network with a token of a
// service account, which must exist.
func (c *ControlPlane) TokenConfig(ctx context.Context, namespace, serviceAccount string) ([]byte, error) {
	client, err := c.clientset()
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Name, err)
	}
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: new(int64(tokenSeconds))},
	}
	answer, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("get token of %s/%s on %s: %w", namespace, serviceAccount, c.Name, err)
	}
	return c.kubeconfig(c.Server(), &clientcmdapi.AuthInfo{Token: answer.Status.Token})
}

func (c *ControlPlane) kubeconfig(server string, user *clientcmdapi.AuthInfo) ([]byte, error) {
	b, err := clientcmd.Write(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{c.Name: {Server: server, CertificateAuthorityData: c.ca.PEM()}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{c.Name: user},
		Contexts:       map[string]*clientcmdapi.Context{c.Name: {Cluster: c.Name, AuthInfo: c.Name}},
		CurrentContext: c.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig of %s: %w", c.Name, err)
	}
	return b, nil
}

// WriteConfig puts a kubeconfig into the cluster's directory and gives its path.
// Who reads it meanwhile gets the old one or the new one, whole.
func (c *ControlPlane) WriteConfig(name string, kubeconfig []byte) (string, error) {
	f, err := os.CreateTemp(c.Dir, name+".*") // for its owner alone
	if err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	_, err = f.Write(kubeconfig)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	path := filepath.Join(c.Dir, name+".kubeconfig")
	if err := os.Rename(f.Name(), path); err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	return path, nil
}
