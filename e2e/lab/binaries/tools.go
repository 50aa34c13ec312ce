// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tools is a module below e2e/lab/tools, apart from the project's own because what
// it requires would not go together with that, and what is built of it.
type tools struct {
	// name is for people.
	name string
	// dir of the module, from the project's root.
	dir string
	// programs maps each program to its package. They are built by one go
	// command, so that compiling and linking overlap.
	programs map[string]string
	// modules are those whose versions the programs tell.
	modules []string
	// variables gives what the linker sets for that, each PACKAGE.NAME=VALUE, from
	// the versions of the modules.
	variables func([]version) []string
	// cost of building all, for people.
	cost string
}

// version of a module: vMAJOR.MINOR.PATCH.
type version struct{ full, major, minor string }

// CacheDir is where finished programs of the tools are kept:
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

// toolsBuild is tools at exactly the present inputs.
type toolsBuild struct {
	tools
	assets string   // directory of the user's own programs, or ""
	src    string   // directory of the module
	dir    string   // where the finished programs of exactly these inputs are
	flags  []string // of go build
}

func newToolsBuild(ctx context.Context, t tools, assets string) (*toolsBuild, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	b := &toolsBuild{tools: t, assets: assets, src: filepath.Join(root, t.dir)}
	files, err := b.inputs()
	if err != nil {
		return nil, err
	}
	var versions []version
	for _, module := range t.modules {
		v, err := moduleVersion(files[0], module)
		if err != nil {
			return nil, fmt.Errorf("read %s/go.mod: %w", b.src, err)
		}
		versions = append(versions, v)
	}
	b.flags = []string{"-trimpath", "-ldflags", ldflags(t.variables(versions))}
	goVersion, err := goCommand(ctx, b.src, nil, "env", "GOVERSION", "GOOS", "GOARCH").Output()
	if err != nil {
		return nil, fmt.Errorf("ask go for its version: %w", err)
	}
	sum := sha256.New()
	for _, part := range slices.Concat(files[:2], []string{strings.Join(b.flags, " "), string(goVersion)}, files[2:]) {
		fmt.Fprintf(sum, "%d\n%s\n", len(part), part)
	}
	b.dir = filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil)))
	return b, nil
}

// inputs are go.mod, go.sum and the module's own sources.
func (b *toolsBuild) inputs() ([]string, error) {
	sources, err := filepath.Glob(filepath.Join(b.src, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []string
	for _, path := range append([]string{filepath.Join(b.src, "go.mod"), filepath.Join(b.src, "go.sum")}, sources...) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, string(text))
	}
	return files, nil
}

// moduleVersion finds a required module's version in a go.mod.
func moduleVersion(gomod, module string) (version, error) {
	line := regexp.MustCompile(`(?m)^(?:require|\s)\s*` + regexp.QuoteMeta(module) + ` (v(\d+)\.(\d+)\S*)`)
	found := line.FindStringSubmatch(gomod)
	if found == nil {
		return version{}, fmt.Errorf("%s is not required there", module)
	}
	return version{full: found[1], major: found[2], minor: found[3]}, nil
}

// ldflags strips programs, and sets variables of theirs.
func ldflags(variables []string) string {
	flags := []string{"-s", "-w"}
	for _, v := range variables {
		flags = append(flags, "-X "+v)
	}
	return strings.Join(flags, " ")
}

// ensure gives all programs, and builds those that are not there.
func (b *toolsBuild) ensure(ctx context.Context, logf Logf) (Set, error) {
	set, missing := b.have()
	if len(missing) == 0 {
		return set, nil
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return nil, fmt.Errorf("build %s: %w", b.name, err)
	}
	unlock, err := lock(ctx, b.dir+".lock", logf)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", b.name, err)
	}
	defer unlock()
	// Another program may have built them while this one waited.
	if set, missing = b.have(); len(missing) == 0 {
		return set, nil
	}
	if err := b.run(ctx, missing, logf); err != nil {
		return nil, fmt.Errorf("build %s: %w", b.name, err)
	}
	set, _ = b.have()
	return set, nil
}

// have gives the programs that are there and the names of the others, sorted.
func (b *toolsBuild) have() (set Set, missing []string) {
	set = Set{}
	for _, name := range slices.Sorted(maps.Keys(b.programs)) {
		switch {
		case b.assets != "" && executable(filepath.Join(b.assets, name)):
			set[name] = filepath.Join(b.assets, name)
		case executable(filepath.Join(b.dir, name)):
			set[name] = filepath.Join(b.dir, name)
		default:
			missing = append(missing, name)
		}
	}
	return set, missing
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// run makes the named programs. Each appears in the cache whole or not at all.
func (b *toolsBuild) run(ctx context.Context, names []string, logf Logf) error {
	begin := time.Now()
	tmp := b.dir + ".tmp"
	// Gigabytes of object files that nothing else will use: a cache of its own can
	// be removed afterwards. One that a crash left behind is taken up again.
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
		args = append(args, b.programs[n])
	}
	logf("building %s, once (all of %s takes %s on 2 cores), into %s", strings.Join(names, ", "), b.name, b.cost, b.dir)
	stop := report(logf, begin, func() string {
		return "building " + strings.Join(slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			_, err := os.Stat(filepath.Join(tmp, builtName(n)))
			return err == nil
		}), ", ")
	})
	err := run(ctx, goCommand(ctx, b.src, []string{"CGO_ENABLED=0", "GOCACHE=" + gocache}, args...))
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
