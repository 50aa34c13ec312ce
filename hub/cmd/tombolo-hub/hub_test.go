// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	clusterv1 "open-cluster-management.io/api/cluster/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/tombolo-io/tombolo/apis/crds"
	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
)

// runAsHub makes the test binary be tombolo-hub: the tests start, kill and restart it as a process.
const runAsHub = "TOMBOLO_TEST_RUN_AS_HUB"

const systemNamespace = "tombolo-system"

// One real kube-apiserver with its etcd for all tests, with the CRDs and the permissions of the chart.
var (
	apiServer *envtest.Environment
	admin     client.WithWatch
)

func TestMain(m *testing.M) {
	if os.Getenv(runAsHub) != "" {
		main()
		return
	}
	log.SetLogger(logr.Discard())
	if err := startServer(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "start kube-apiserver and etcd:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := apiServer.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop kube-apiserver and etcd:", err)
	}
	os.Exit(code)
}

func startServer(ctx context.Context) error {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return errors.New("KUBEBUILDER_ASSETS is not set: it is the directory of the binaries kube-apiserver and etcd, which `make test` builds and sets")
	}
	scheme, err := testScheme()
	if err != nil {
		return err
	}
	definitions, err := ourCRDs()
	if err != nil {
		return err
	}
	ocm, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "open-cluster-management.io/api").Output()
	if err != nil {
		return fmt.Errorf("find module of the OCM API: %w", err)
	}
	module := strings.TrimSpace(string(ocm))
	dir := filepath.Join(module, "cluster")
	apiServer = &envtest.Environment{
		Scheme:                scheme,
		CRDs:                  definitions,
		CRDDirectoryPaths:     []string{filepath.Join(dir, "v1"), filepath.Join(dir, "v1beta1")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := apiServer.Start()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = -1, -1
	if admin, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	return installChart(ctx, admin, charts.Hub)
}

func testScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(
		clientgoscheme.AddToScheme(scheme), rbacv1.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme),
		clusterv1.Install(scheme), clusterv1beta1.Install(scheme),
		networkv1alpha1.AddToScheme(scheme), spokev1alpha1.AddToScheme(scheme),
	)
}

func ourCRDs() ([]*apiextensionsv1.CustomResourceDefinition, error) {
	files, err := fs.Glob(crds.Files, "*.yaml")
	if err != nil {
		return nil, err
	}
	var definitions []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := fs.ReadFile(crds.Files, file)
		if err != nil {
			return nil, err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(data, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		definitions = append(definitions, &definition)
	}
	return definitions, nil
}

// installChart applies what the chart says about permissions, so that hub and agents run with those alone.
func installChart(ctx context.Context, admin client.Client, chart string) error {
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: name("", systemNamespace)}); err != nil {
		return err
	}
	values := map[string]any{"crds": map[string]any{"install": false}}
	if chart == charts.SpokeAgent {
		values["clusterName"] = "east"
	}
	objects, err := charts.Render(chart, values)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if object.GroupVersionKind().Group == "apps" {
			continue
		}
		if err := admin.Create(ctx, object); err != nil {
			return fmt.Errorf("create %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// user connects with nothing but the permissions of that user and those groups.
func user(t testing.TB, name string, groups ...string) *envtest.AuthenticatedUser {
	t.Helper()
	user, err := apiServer.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	if err != nil {
		t.Fatalf("add user %s: %v", name, err)
	}
	return user
}
