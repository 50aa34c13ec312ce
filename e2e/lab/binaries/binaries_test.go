// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServersComeFromAssetsFirst(t *testing.T) {
	assets, cache := t.TempDir(), t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", assets)
	t.Setenv("TOMBOLO_CACHE", cache)
	b, err := newToolsBuild(t.Context(), kubernetes, assets)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name := range kubernetes.programs {
		write(t, filepath.Join(b.dir, name), 0o755)
	}
	write(t, filepath.Join(assets, "kube-apiserver"), 0o755)
	write(t, filepath.Join(assets, "etcd"), 0o644)

	set, err := Servers(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"kube-apiserver": assets, // the user's own comes first
		"etcd":           b.dir,  // not a program: not taken
		"kubelet":        b.dir,  // the user has none
	} {
		if got := filepath.Dir(set.Path(name)); got != want {
			t.Errorf("%s comes from %s, want %s", name, got, want)
		}
	}

	// For envtest one directory must have everything.
	if dir, err := Assets(t.Context(), t.Logf); err != nil || dir != b.dir {
		t.Errorf("Assets gives %s, %v; want %s, as the user's own directory lacks programs", dir, err, b.dir)
	}
	write(t, filepath.Join(assets, "kubectl"), 0o755)
	if err := os.Chmod(filepath.Join(assets, "etcd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if dir, err := Assets(t.Context(), t.Logf); err != nil || dir != assets {
		t.Errorf("Assets gives %s, %v; want the user's own %s", dir, err, assets)
	}

	if err := os.Remove(filepath.Join(b.dir, "kubelet")); err != nil {
		t.Fatal(err)
	}
	if _, missing := b.have(); len(missing) != 1 || missing[0] != "kubelet" {
		t.Errorf("missing %v, want only kubelet to be built", missing)
	}
}

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
}

func TestTheCacheKeyFollowsTheModule(t *testing.T) {
	t.Setenv("TOMBOLO_CACHE", "/cache")
	cases := map[string]struct {
		reason string
		tools  tools
		flag   string
	}{
		"Kubernetes": {"servers without a version are refused by their own clients", kubernetes, "k8s.io/component-base/version.gitVersion=v1."},
		"OCM":        {"its programs tell their own version", openClusterManagement, "ocm/pkg/version.versionFromGit=v1."},
		"Helm":       {"charts are held against the Kubernetes that helm speaks to", helm, "chartutil.k8sVersionMinor=37"},
	}
	dirs := map[string]bool{}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := newToolsBuild(t.Context(), tc.tools, "")
			if err != nil {
				t.Fatal(err)
			}
			again, err := newToolsBuild(t.Context(), tc.tools, "")
			if err != nil {
				t.Fatal(err)
			}
			if b.dir != again.dir || !strings.HasPrefix(b.dir, "/cache/tombolo/lab/") || dirs[b.dir] {
				t.Errorf("directories %s and %s; want one of its own below /cache/tombolo/lab", b.dir, again.dir)
			}
			dirs[b.dir] = true
			if f := strings.Join(b.flags, " "); !strings.Contains(f, tc.flag) {
				t.Errorf("%s: flags %s don't have %s", tc.reason, f, tc.flag)
			}
		})
	}
}

// TestTheCacheKeyFollowsSources: what a module has of its own is part of what is built.
func TestTheCacheKeyFollowsSources(t *testing.T) {
	b, err := newToolsBuild(t.Context(), openClusterManagement, "")
	if err != nil {
		t.Fatal(err)
	}
	files, err := b.inputs()
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(files, ""); !strings.Contains(all, "\npackage main\n") || !strings.Contains(all, "module github.com/tombolo-io/") {
		t.Errorf("%d inputs lack go.mod or the sources of %s", len(files), b.dir)
	}
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path, t.Logf); err == nil {
		t.Fatal("two locks at once")
	}
	unlock()
	unlock, err = lock(t.Context(), path, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestForward builds a program as the lab does, and runs it.
func TestForward(t *testing.T) {
	set, err := Forward(t.Context(), t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), set.Path("forward"), "-help").CombinedOutput(); err != nil {
		t.Errorf("forward -help: %v\n%s", err, out)
	}
}
