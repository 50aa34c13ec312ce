// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// TestHelm: the real helm finds nothing to complain about in the charts, and renders and packs them.
func TestHelm(t *testing.T) {
	programs, err := binaries.Helm(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	root, err := binaries.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, chart := range []string{charts.Hub, charts.SpokeAgent} {
		dir := filepath.Join(root, "charts", chart)
		set := []string{"--namespace", charts.Namespace}
		if chart == charts.SpokeAgent {
			set = append(set, "--set", "clusterName=east")
		}
		for _, args := range [][]string{
			append([]string{"lint", "--strict", dir}, set...),
			append([]string{"template", "a-release", dir}, set...),
			{"package", dir, "--destination", t.TempDir()},
		} {
			if out, err := exec.CommandContext(t.Context(), programs.Path("helm"), args...).CombinedOutput(); err != nil {
				t.Errorf("helm %v: %v\n%s", args, err, out)
			}
		}
	}
}
