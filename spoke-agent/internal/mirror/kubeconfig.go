// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// fingerprint tells one content of a kubeconfig, and of the files that it names, from another. client-go looks at a renewed certificate
// every five minutes; one that replaces an expired one must count at once.
func fingerprint(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the hub's kubeconfig: %w", err)
	}
	sum := sha256.New()
	sum.Write(raw)
	config, err := clientcmd.LoadFromFile(path)
	if err == nil {
		err = clientcmd.ResolveLocalPaths(config)
	}
	if err != nil {
		return "", fmt.Errorf("parse the hub's kubeconfig %s: %w", path, err)
	}
	for _, file := range files(config) {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read what the hub's kubeconfig names: %w", err)
		}
		part := sha256.Sum256(content)
		sum.Write(part[:])
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// files that the current context is made of.
func files(config *clientcmdapi.Config) []string {
	var all []string
	if now := config.Contexts[config.CurrentContext]; now != nil {
		if cluster := config.Clusters[now.Cluster]; cluster != nil {
			all = append(all, cluster.CertificateAuthority)
		}
		if user := config.AuthInfos[now.AuthInfo]; user != nil {
			all = append(all, user.ClientCertificate, user.ClientKey)
		}
	}
	return slices.DeleteFunc(all, func(file string) bool { return file == "" })
}
