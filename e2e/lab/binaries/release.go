// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/tombolo-io/tombolo/charts"
)

// Release builds the programs of the product's images into dir, from the project's tree in root. They tell the version, and clusters with
// the add-on get agents of that version from the hub.
func Release(ctx context.Context, root, dir, version string, logf Logf) (Set, error) {
	overlay, err := stamp(root, dir, version)
	if err != nil {
		return nil, fmt.Errorf("stamp release %s: %w", version, err)
	}
	return buildIn(ctx, root, dir, logf, "-overlay="+overlay, "-ldflags=-s -w -X "+projectModule+"/apis/version.Version="+version,
		"./hub/cmd/tombolo-hub", "./spoke-agent/cmd/...")
}

var chartVersion = regexp.MustCompile(`(?m)^(version|appVersion): .*$`)

// stamp makes the file by which the go command takes another Chart.yaml for that of the agent: the hub has its chart with it.
func stamp(root, dir, version string) (string, error) {
	metadata := filepath.Join(root, "charts", charts.SpokeAgent, "Chart.yaml")
	text, err := os.ReadFile(metadata)
	if err != nil {
		return "", err
	}
	work := dir + ".overlay"
	stamped, overlay := filepath.Join(work, "Chart.yaml"), filepath.Join(work, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{metadata: stamped}})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(stamped, chartVersion.ReplaceAll(text, []byte("${1}: "+version)), 0o644); err != nil {
		return "", err
	}
	return overlay, os.WriteFile(overlay, list, 0o644)
}

// Checkout writes the project's tree as it was in a commit of git into dir.
func Checkout(ctx context.Context, ref, dir string) error {
	root, err := Root(ctx)
	if err != nil {
		return err
	}
	archive := exec.CommandContext(ctx, "git", "archive", "--format=tar", ref)
	archive.Dir = root
	var said bytes.Buffer
	archive.Stderr = &said
	tree, err := archive.Output()
	if err != nil {
		return fmt.Errorf("check out %s: %w: %s", ref, err, said.Bytes())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("check out %s: %w", ref, err)
	}
	unpack := exec.CommandContext(ctx, "tar", "--extract", "--directory", dir)
	unpack.Stdin = bytes.NewReader(tree)
	if out, err := unpack.CombinedOutput(); err != nil {
		return fmt.Errorf("check out %s: %w: %s", ref, err, out)
	}
	return nil
}
