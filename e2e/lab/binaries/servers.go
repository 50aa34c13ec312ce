// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// toolsModule is the directory of the module that names the servers' versions.
const toolsModule = "e2e/lab/tools/kubernetes"

// servers maps each program to its package. They are built by one go command,
// so that compiling and linking overlap.
var servers = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
	"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
}

// Servers gives etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubectl and kubelet. What $KUBEBUILDER_ASSETS has is taken from there; the rest
// is built once (about 8 minutes and 5 GB of disk while it lasts, on 2 cores)
// and kept in the cache directory, see CacheDir.
func Servers(ctx context.Context, logf Logf) (Set, error) {
	b, err := newServerBuild(ctx, os.Getenv("KUBEBUILDER_ASSETS"))
	if err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	return b.ensure(ctx, logf)
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
	b, err := newServerBuild(ctx, assets)
	if err != nil {
		return "", fmt.Errorf("build Kubernetes: %w", err)
	}
	set, err := b.ensure(ctx, logf)
	if err != nil {
		return "", err
	}
	return filepath.Dir(set.Path("kube-apiserver")), nil
}

func (b *serverBuild) ensure(ctx context.Context, logf Logf) (Set, error) {
	set, missing := b.have()
	if len(missing) == 0 {
		return set, nil
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	unlock, err := lock(ctx, b.dir+".lock", logf)
	if err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	defer unlock()
	// Another program may have built them while this one waited.
	if set, missing = b.have(); len(missing) == 0 {
		return set, nil
	}
	if err := b.run(ctx, missing, logf); err != nil {
		return nil, fmt.Errorf("build Kubernetes: %w", err)
	}
	set, _ = b.have()
	return set, nil
}

// CacheDir is where finished servers are kept:
// ${TOMBOLO_CACHE:-${XDG_CACHE_HOME:-~/.cache}}/tombolo/lab.
func CacheDir() (string, error) {
	base := os.Getenv("TOMBOLO_CACHE")
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache directory (set TOMBOLO_CACHE): %w", err)
		}
		base = user
	}
	return filepath.Join(base, "tombolo", "lab"), nil
}

type serverBuild struct {
	assets string   // directory of the user's own programs, or ""
	module string   // directory of the tools module
	dir    string   // where the finished programs of exactly these inputs are
	flags  []string // of go build
}

func newServerBuild(ctx context.Context, assets string) (*serverBuild, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	b := &serverBuild{assets: assets, module: filepath.Join(root, toolsModule)}
	gomod, err := os.ReadFile(filepath.Join(b.module, "go.mod"))
	if err != nil {
		return nil, err
	}
	gosum, err := os.ReadFile(filepath.Join(b.module, "go.sum"))
	if err != nil {
		return nil, err
	}
	version := regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\S*)`).FindStringSubmatch(string(gomod))
	if version == nil {
		return nil, fmt.Errorf("read %s/go.mod: k8s.io/kubernetes is not required there", b.module)
	}
	b.flags = []string{"-trimpath", "-ldflags", ldflags(version[1], version[2], version[3])}
	goVersion, err := goCommand(ctx, b.module, nil, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return nil, fmt.Errorf("ask go for its version: %w", err)
	}
	sum := sha256.New()
	for _, part := range []string{string(gomod), string(gosum), strings.Join(b.flags, " "), string(goVersion)} {
		fmt.Fprintf(sum, "%d\n%s\n", len(part), part)
	}
	b.dir = filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil)))
	return b, nil
}

// ldflags strips the programs and gives them the version that a release build
// would have: servers without one are refused by their own clients.
func ldflags(version, major, minor string) string {
	flags := []string{"-s", "-w"}
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, v := range []string{"gitVersion=" + version, "gitMajor=" + major, "gitMinor=" + minor, "gitTreeState=clean"} {
			flags = append(flags, "-X "+pkg+"."+v)
		}
	}
	return strings.Join(flags, " ")
}

// have gives the programs that are there and the names of the others, sorted.
func (b *serverBuild) have() (set Set, missing []string) {
	set = Set{}
	for name := range servers {
		switch {
		case b.assets != "" && executable(filepath.Join(b.assets, name)):
			set[name] = filepath.Join(b.assets, name)
		case executable(filepath.Join(b.dir, name)):
			set[name] = filepath.Join(b.dir, name)
		default:
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return set, missing
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// run makes the named programs. Each appears in the cache whole or not at all.
func (b *serverBuild) run(ctx context.Context, names []string, logf Logf) error {
	begin := time.Now()
	tmp := b.dir + ".tmp"
	// 4 GB of object files that nothing else will use: a cache of its own can be
	// removed afterwards. One that a crash left behind is taken up again.
	gocache := b.dir + ".gocache"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	args := append([]string{"build", "-o", tmp + "/"}, b.flags...)
	for _, n := range names {
		args = append(args, servers[n])
	}
	logf("building %s, once (all of Kubernetes takes 8 to 14 minutes on 2 cores), into %s", strings.Join(names, ", "), b.dir)
	stop := report(logf, begin, func() string {
		return "building " + strings.Join(slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			_, err := os.Stat(filepath.Join(tmp, builtName(n)))
			return err == nil
		}), ", ")
	})
	err := run(ctx, goCommand(ctx, b.module, []string{"CGO_ENABLED=0", "GOCACHE=" + gocache}, args...))
	stop()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := os.Rename(filepath.Join(tmp, builtName(n)), filepath.Join(b.dir, n)); err != nil {
			return err
		}
	}
	logf("built %s in %s", strings.Join(names, ", "), time.Since(begin).Round(time.Second))
	return os.RemoveAll(gocache)
}

// builtName is the file go build -o dir/ makes: etcd's main package is named
// server (its last element is a major version).
func builtName(name string) string {
	return cmp.Or(map[string]string{"etcd": "server"}[name], name)
}

// lock holds a file lock, so that two programs never build the same thing.
func lock(ctx context.Context, path string, logf Logf) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	begin, said := time.Now(), time.Time{}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing releases it
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Since(said) > 10*time.Second {
			logf("waiting for another program that builds them (%s) … %s", path, time.Since(begin).Round(time.Second))
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
