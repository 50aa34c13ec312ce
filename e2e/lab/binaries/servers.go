// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

var kubernetes = tools{
	name:    "Kubernetes",
	dir:     "e2e/lab/tools/kubernetes",
	modules: []string{"k8s.io/kubernetes"},
	programs: map[string]string{
		"etcd":                    "go.etcd.io/etcd/server/v3",
		"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
		"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
		"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
		"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
		"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
		"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
	},
	// Servers without a version are refused by their own clients.
	variables: func(v []version) []string {
		var all []string
		for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
			all = append(all, pkg+".gitVersion="+v[0].full, pkg+".gitMajor="+v[0].major, pkg+".gitMinor="+v[0].minor, pkg+".gitTreeState=clean")
		}
		return all
	},
	cost: "8 to 14 minutes",
}

// Servers gives etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubectl, kubelet and kube-proxy. What $KUBEBUILDER_ASSETS has is taken from there; the rest
// is built once (about 8 minutes and 5 GB of disk while it lasts, on 2 cores)
// and kept in the cache directory, see CacheDir.
func Servers(ctx context.Context, logf Logf) (Set, error) {
	return kubernetes.ensure(ctx, os.Getenv("KUBEBUILDER_ASSETS"), logf)
}

// Assets gives a directory for envtest: one with etcd, kube-apiserver and
// kubectl. It is $KUBEBUILDER_ASSETS if that has all three, else the cache.
func Assets(ctx context.Context, logf Logf) (string, error) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if !executable(filepath.Join(assets, name)) {
			assets = ""
		}
	}
	set, err := kubernetes.ensure(ctx, assets, logf)
	if err != nil {
		return "", err
	}
	return filepath.Dir(set.Path("kube-apiserver")), nil
}

var openClusterManagement = tools{
	name:     "Open Cluster Management",
	dir:      "e2e/lab/tools/ocm",
	modules:  []string{"open-cluster-management.io/ocm"},
	programs: map[string]string{"ocm": "."},
	variables: func(v []version) []string {
		pkg := "open-cluster-management.io/ocm/pkg/version"
		return []string{pkg + ".versionFromGit=" + v[0].full, pkg + ".majorFromGit=" + v[0].major, pkg + ".minorFromGit=" + v[0].minor}
	},
	cost: "4 to 6 minutes",
}

// OCM gives ocm, all components of Open Cluster Management in one program, see
// e2e/lab/tools/ocm. It is built once and kept as the servers are.
func OCM(ctx context.Context, logf Logf) (Set, error) {
	return openClusterManagement.ensure(ctx, "", logf)
}

var helm = tools{
	name:     "Helm",
	dir:      "e2e/lab/tools/helm",
	modules:  []string{"helm.sh/helm/v3", "k8s.io/client-go"},
	programs: map[string]string{"helm": "helm.sh/helm/v3/cmd/helm"},
	// Without a cluster to ask, helm takes charts for Kubernetes 1.20 if not told otherwise.
	variables: func(v []version) []string {
		all := []string{"helm.sh/helm/v3/internal/version.version=" + v[0].full}
		for _, pkg := range []string{"helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"} {
			all = append(all, pkg+".k8sVersionMajor=1", pkg+".k8sVersionMinor="+v[1].minor)
		}
		return all
	},
	cost: "2 to 3 minutes",
}

// Helm gives helm. It is built once and kept as the servers are.
func Helm(ctx context.Context, logf Logf) (Set, error) {
	return helm.ensure(ctx, "", logf)
}

func (t tools) ensure(ctx context.Context, assets string, logf Logf) (Set, error) {
	b, err := newToolsBuild(ctx, t, assets)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", t.name, err)
	}
	return b.ensure(ctx, logf)
}
