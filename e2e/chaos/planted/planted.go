// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package planted has errors that others have made, as patches of this tree: the histories must find each of them. What
// is not found any more is a hole in the harness.
package planted

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/chaos/fleet"
	"github.com/tombolo-io/tombolo/e2e/chaos/history"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// Patches are unified diffs against the tree.
//
//go:embed patches/*.patch
var Patches embed.FS

// profiles that find an error soonest.
var profiles = map[string]history.Profile{
	"adopted-by-name":              history.Strangers,
	"cidr-before-the-drain":        history.Freezes,
	"cluster-by-prefix":            history.Replies,
	"copy-gone-before-its-rows":    history.Replies,
	"empty-list-deletes":           history.Lies,
	"entry-by-name":                history.Freezes,
	"gateways-not-listed-go":       history.Lies,
	"let-go-before-done":           history.Freezes,
	"never-lets-go":                history.Freezes,
	"no-finalizer-on-the-wish":     history.Freezes,
	"no-finalizer-on-what-is-told": history.Freezes,
	"old-plan-over-new":            history.Backups,
	"one-link-for-two":             history.Freezes,
	"panic-on-oversize":            history.Garbage,
	"retried-never":                history.Refusals,
	"rows-outlive-their-router":    history.Freezes,
	"the-first-word-stays":         history.Freezes,
	"tombstone-by-name":            history.Strangers,
	"unknown-rows-are-garbage":     history.Lies,
	"ways-are-added":               history.Freezes,
	"wish-forgotten-early":         history.Freezes,
}

// Quick are errors, one of each program, that the first history finds: a short run looks for these.
var Quick = []string{"one-link-for-two", "ways-are-added"}

// Names of all patches, in order.
func Names() ([]string, error) {
	files, err := fs.Glob(Patches, "patches/*.patch")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".patch"))
	}
	slices.Sort(names)
	return names, nil
}

// Profile finds an error soonest.
func Profile(name string) (history.Profile, error) {
	p, ok := profiles[name]
	if !ok {
		return "", fmt.Errorf("patch %s has no profile: add it to e2e/chaos/planted", name)
	}
	return p, nil
}

// Patched is the tree with a patch.
type Patched struct {
	// Overlay is a file for go build -overlay.
	Overlay string
	// Hub and Agent are true when that program is another one now.
	Hub, Agent bool
}

// Apply applies a patch to copies of the files that it changes, below dir.
func Apply(ctx context.Context, name, dir string) (*Patched, error) {
	root, err := binaries.Root(ctx)
	if err != nil {
		return nil, err
	}
	patch, err := Patches.ReadFile("patches/" + name + ".patch")
	if err != nil {
		return nil, err
	}
	scratch := filepath.Join(dir, "scratch")
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	p := &Patched{Overlay: filepath.Join(dir, "overlay.json")}
	for line := range strings.Lines(string(patch)) {
		file, ok := strings.CutPrefix(strings.TrimSpace(line), "+++ b/")
		if !ok {
			continue
		}
		agent := strings.HasPrefix(file, "spoke-agent/")
		p.Agent, p.Hub = p.Agent || agent, p.Hub || !agent
		overlay.Replace[filepath.Join(root, file)] = filepath.Join(scratch, file)
		if err := copyFile(filepath.Join(root, file), filepath.Join(scratch, file)); err != nil {
			return nil, err
		}
	}
	apply := exec.CommandContext(ctx, "git", "apply", "-")
	apply.Dir, apply.Stdin = scratch, strings.NewReader(string(patch))
	apply.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+dir) // a repository around it has other files
	if out, err := apply.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("patch %s no longer applies: mend it, for what it plants must still be found: %w\n%s", name, err, out)
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.Overlay, text, 0o600); err != nil {
		return nil, fmt.Errorf("write overlay: %w", err)
	}
	return p, nil
}

// Build applies a patch and compiles what it changes into dir. The other program is taken from good.
func Build(ctx context.Context, name, dir, good string) error {
	p, err := Apply(ctx, name, dir)
	if err != nil {
		return err
	}
	var programs []string
	for _, one := range []struct {
		changed       bool
		path, program string
	}{{p.Hub, fleet.Hub, "tombolo-hub"}, {p.Agent, fleet.Agent, "tombolo-agent"}} {
		if one.changed {
			programs = append(programs, one.path)
		} else if err := os.Symlink(filepath.Join(good, one.program), filepath.Join(dir, one.program)); err != nil {
			return fmt.Errorf("take %s as it is: %w", one.program, err)
		}
	}
	return fleet.Build(ctx, dir, p.Overlay, programs...)
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("copy what is patched: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("copy what is patched: %w", err)
	}
	return os.WriteFile(to, text, 0o644)
}
