// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package hubidentity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// bootstrap is a token of `kubectl tombolo join`, and the hub that it is for.
type bootstrap struct {
	config  *rest.Config
	cluster clientcmdapi.Cluster
	// hash tells one token from another without being one.
	hash string
	// expires is when the token ends by its own words; zero when it does not say.
	expires time.Time
}

// readBootstrap reads the bootstrap kubeconfig; nil when there is none, or one without a token.
func readBootstrap(path string) (*bootstrap, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read --hub-bootstrap: %w", err)
	}
	file, err := clientcmd.Load(raw)
	if err != nil {
		return nil, fmt.Errorf("parse --hub-bootstrap %s: %w", path, err)
	}
	now := file.Contexts[file.CurrentContext]
	if now == nil || file.Clusters[now.Cluster] == nil {
		return nil, fmt.Errorf("parse --hub-bootstrap %s: current-context %q names no cluster", path, file.CurrentContext)
	}
	if user := file.AuthInfos[now.AuthInfo]; user == nil || user.Token == "" {
		return nil, nil // what an installation without a token has
	}
	config, err := clientcmd.NewDefaultClientConfig(*file, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read --hub-bootstrap %s: %w", path, err)
	}
	return &bootstrap{config: config, cluster: *file.Clusters[now.Cluster], hash: hash(raw), expires: tokenEnd(config.BearerToken)}, nil
}

// tokenEnd is when a service account's token (a JWT, RFC 7519) ends. Nothing is decided by it but what people are told.
func tokenEnd(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Expires, 0)
}

// kubeconfig for the same hub with a certificate in place of the token; the files are beside it.
func (b *bootstrap) kubeconfig(cluster string) ([]byte, error) {
	c := clientcmdapi.NewConfig()
	c.Clusters["hub"] = &b.cluster
	c.AuthInfos[cluster] = &clientcmdapi.AuthInfo{ClientCertificate: spokev1alpha1.IdentityCertificate, ClientKey: spokev1alpha1.IdentityKey}
	c.Contexts["hub"] = &clientcmdapi.Context{Cluster: "hub", AuthInfo: cluster, Namespace: cluster}
	c.CurrentContext = "hub"
	raw, err := clientcmd.Write(*c)
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig of the hub: %w", err)
	}
	return raw, nil
}
