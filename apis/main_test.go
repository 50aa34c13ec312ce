// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apis_test asks a real kube-apiserver what it makes of the CRDs: each
// rule with one object that it accepts and one that it refuses, and the table
// that `kubectl get` shows of each kind.
package apis_test

import (
	"fmt"
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// hub is the kube-apiserver of the tests in this package.
var hub struct {
	rest   rest.Interface
	client client.Client
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS is not set: run `make test-api`, which builds kube-apiserver and etcd and sets it")
		return 1
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{"crds"}, ErrorIfCRDPathMissing: true}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop kube-apiserver:", err)
		}
	}()
	config, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start kube-apiserver with the CRDs of apis/crds:", err)
		return 1
	}
	if err := connect(config); err != nil {
		fmt.Fprintln(os.Stderr, "connect to kube-apiserver:", err)
		return 1
	}
	return m.Run()
}

// connect makes the clients. The server validates strictly: a mistyped field in
// a test would else be pruned in silence, and the rule never tried.
func connect(config *rest.Config) error {
	config.QPS, config.Burst = -1, -1
	c, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		return err
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	hub.rest, hub.client = d.RESTClient(), client.WithFieldValidation(c, metav1.FieldValidationStrict)
	return nil
}
