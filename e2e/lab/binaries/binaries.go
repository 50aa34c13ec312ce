// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package binaries builds what the lab runs: the Kubernetes servers, from a
// module of their own and once for each version of it, and the project's own
// programs.
package binaries

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const projectModule = "github.com/tombolo-io/tombolo"

// Set gives the path of each built program by its name.
type Set map[string]string

// Path of the program of that name; it panics for one that no builder made, as
// only the lab's own code asks.
func (s Set) Path(name string) string {
	p, ok := s[name]
	if !ok {
		panic("lab binary " + name + " was not built")
	}
	return p
}

// Logf takes a line of progress.
type Logf func(format string, args ...any)

// Project builds the product's programs into dir: tombolo-hub,
// kubectl-tombolo, tombolo-agent and tombolo-cni.
func Project(ctx context.Context, dir string, logf Logf) (Set, error) {
	return build(ctx, dir, logf, "./hub/cmd/...", "./spoke-agent/cmd/...")
}

// Forward builds the lab's forward into dir. It can't be the running program
// itself, which under go run and go test is a file that goes away.
func Forward(ctx context.Context, dir string, logf Logf) (Set, error) {
	return build(ctx, dir, logf, "./e2e/lab/cmd/forward")
}

func build(ctx context.Context, dir string, logf Logf, packages ...string) (Set, error) {
	root, err := Root(ctx)
	if err != nil {
		return nil, err
	}
	return buildIn(ctx, root, dir, logf, packages...)
}

// buildIn builds from the tree of a module in root.
func buildIn(ctx context.Context, root, dir string, logf Logf, packages ...string) (Set, error) {
	what := packages[len(packages)-1]
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("build %s: %w", what, err)
	}
	begin := time.Now()
	stop := report(logf, begin, func() string { return "building " + what })
	// Static, so that the programs also run in pods without a C library.
	err := run(ctx, goCommand(ctx, root, []string{"CGO_ENABLED=0"}, append([]string{"build", "-trimpath", "-o", dir + "/"}, packages...)...))
	stop()
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", what, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", what, err)
	}
	set := Set{}
	for _, e := range entries {
		set[e.Name()] = filepath.Join(dir, e.Name())
	}
	logf("built %s in %s", what, time.Since(begin).Round(100*time.Millisecond))
	return set, nil
}

// ModuleDir gives the directory of a module that the project requires, in the
// module cache.
func ModuleDir(ctx context.Context, module string) (string, error) {
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}
	out, err := goCommand(ctx, root, nil, "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", module, err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", fmt.Errorf("find module %s: it is not in the module cache; run `go mod download` in %s", module, root)
	}
	return dir, nil
}

// Root is the directory of the project's go.mod, found from the working
// directory as the go command finds it.
func Root(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, "", nil, "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the project: run this inside its source tree: %w", err)
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if path != projectModule {
		return "", fmt.Errorf("find the project: the working directory is in module %s; run this in the tree of %s", path, projectModule)
	}
	return dir, nil
}

// goCommand prepares a go command that ends its compilers too when ctx ends.
func goCommand(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// A user's GOWORK would mix the tools module with the project, and GOFLAGS may
	// hold what neither takes. The state of git is in no program, so it need not be read.
	cmd.Env = append(os.Environ(), append([]string{"GOWORK=off", "GOFLAGS=-buildvcs=false"}, env...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// run gives the command's own words in the error.
func run(ctx context.Context, cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// report writes a line every 10 s until the returned function is called.
func report(logf Logf, begin time.Time, what func() string) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				logf("%s … %s", what(), time.Since(begin).Round(time.Second))
			}
		}
	}()
	return func() { close(done) }
}
