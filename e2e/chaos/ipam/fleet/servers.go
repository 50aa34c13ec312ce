// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fleet runs what hands out: a real etcd and kube-apiserver, allocators that are processes of their own and are killed, and two clusters
// that answer what they hold.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// Clusters that are told of some prefixes.
var Clusters = []string{"east", "west"}

// Pools that are handed out of. Those with little room are full most of the time, so that what is given back is given again at once.
func Pools() []*networkv1alpha1.IPPool {
	pool := func(name string, spec networkv1alpha1.IPPoolSpec) *networkv1alpha1.IPPool {
		return &networkv1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	}
	return []*networkv1alpha1.IPPool{
		pool("vnis", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVNI, VNIs: &networkv1alpha1.VNIRange{First: 100, Last: 131}}),
		pool("links", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeLink, CIDRs: []networkv1alpha1.CIDR{"100.64.0.0/24"}}),
		pool("wide", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.0.0.0/18"}, Exclude: []networkv1alpha1.IPRange{"10.0.1.0..10.0.1.63"}}),
		pool("narrow", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.1.0.0/22"}, Imports: []networkv1alpha1.PoolImport{{Value: "10.1.0.0/26", Holder: "firewall"}}}),
		pool("tiny", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeVpc, CIDRs: []networkv1alpha1.CIDR{"10.2.0.0/24"}}),
		pool("public", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeExternal, CIDRs: []networkv1alpha1.CIDR{"203.0.113.0/25"}}),
		pool("few", networkv1alpha1.IPPoolSpec{Purpose: networkv1alpha1.PurposeExternal, CIDRs: []networkv1alpha1.CIDR{"203.0.113.128/28"}}),
	}
}

// startLimit is enough for the servers on a busy machine.
const startLimit = 3 * time.Minute

// server is a kube-apiserver with an etcd, and what everything begins with.
type server struct {
	env        *envtest.Environment
	config     *rest.Config
	admin      client.Client
	kubeconfig string
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	err := errors.Join(corev1.AddToScheme(scheme), clusterv1.Install(scheme), clusterv1beta1.Install(scheme), networkv1alpha1.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme))
	if err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	return scheme, nil
}

// startServer starts the servers with the files in dir.
func startServer(ctx context.Context, dir string, logf binaries.Logf) (*server, error) {
	assets, err := binaries.Assets(ctx, logf)
	if err != nil {
		return nil, err
	}
	root, err := binaries.Root(ctx)
	if err != nil {
		return nil, err
	}
	ocm, err := binaries.ModuleDir(ctx, "open-cluster-management.io/api")
	if err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	s := &server{kubeconfig: filepath.Join(dir, "kubeconfig")}
	s.env = &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join(root, "apis", "crds"), filepath.Join(ocm, "cluster", "v1"), filepath.Join(ocm, "cluster", "v1beta1")}, ErrorIfCRDPathMissing: true,
		Scheme: scheme, BinaryAssetsDirectory: assets, ControlPlaneStartTimeout: startLimit,
	}
	if s.config, err = s.env.Start(); err != nil {
		return nil, fmt.Errorf("start kube-apiserver: %w", err)
	}
	s.config.QPS = -1
	if err := s.furnish(ctx, scheme); err != nil {
		return nil, errors.Join(err, s.env.Stop())
	}
	return s, nil
}

func (s *server) furnish(ctx context.Context, scheme *runtime.Scheme) error {
	if err := os.WriteFile(s.kubeconfig, s.env.KubeConfig, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	var err error
	if s.admin, err = client.New(s.config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	var objects []client.Object
	for _, pool := range Pools() {
		objects = append(objects, pool)
	}
	for _, name := range Clusters {
		objects = append(objects, namespace(name), &clusterv1.ManagedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: clusterv1.ManagedClusterSpec{HubAcceptsClient: true}})
	}
	for _, o := range objects {
		if err := s.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("create %T %s: %w", o, o.GetName(), err)
		}
	}
	return nil
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
