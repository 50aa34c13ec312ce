// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	addonv1alpha1 "open-cluster-management.io/api/addon/v1alpha1"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// timeout bounds one request when the person gave no --request-timeout.
const timeout = 30 * time.Second

// Connection is the way to the cluster of one context.
type Connection struct {
	// Context of the kubeconfig; empty when there is none, as in a pod.
	Context string
	Config  *rest.Config
	Client  client.WithWatch
}

// Connect finds the cluster that the flags mean. It sends nothing yet but the discovery of kinds.
func Connect(flags genericclioptions.RESTClientGetter) (*Connection, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.QPS, config.Burst = -1, -1 // the API server's priority and fairness knows better
	if config.Timeout == 0 {
		config.Timeout = timeout
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &Connection{Context: contextOf(flags), Config: config, Client: c}, nil
}

// contextOf is the context's name, for titles: an error here would have been one of ToRESTConfig.
func contextOf(flags genericclioptions.RESTClientGetter) string {
	if f, ok := flags.(*genericclioptions.ConfigFlags); ok && f.Context != nil && *f.Context != "" {
		return *f.Context
	}
	raw, err := flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	return raw.CurrentContext
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(
		corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme),
		clusterv1.Install(scheme), clusterv1beta1.Install(scheme), addonv1alpha1.Install(scheme),
		networkv1alpha1.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme),
	)
	if err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	return scheme, nil
}

// serverTime asks for the version, because every answer has the server's clock in it.
func (c *Connection) serverTime(ctx context.Context) (server version.Info, at time.Time, err error) {
	httpClient, err := rest.HTTPClientFor(c.Config)
	if err != nil {
		return server, at, err
	}
	base, _, err := rest.DefaultServerUrlFor(c.Config)
	if err != nil {
		return server, at, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base.String(), "/")+"/version", nil)
	if err != nil {
		return server, at, err
	}
	response, err := httpClient.Do(request)
	if err != nil {
		return server, at, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return server, at, err
	}
	if response.StatusCode != http.StatusOK {
		return server, at, fmt.Errorf("GET /version: %s", response.Status)
	}
	if err := json.Unmarshal(body, &server); err != nil {
		return server, at, fmt.Errorf("GET /version: %w", err)
	}
	if at, err = http.ParseTime(response.Header.Get("Date")); err != nil {
		return server, time.Time{}, nil //nolint:nilerr // a proxy may have taken the header away: then nothing is said of clocks
	}
	return server, at, nil
}
