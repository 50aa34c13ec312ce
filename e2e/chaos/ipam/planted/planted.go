// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package planted takes a guard of the allocator away, to show that the history without it is told from one with it.
package planted

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/fleet"
	"github.com/tombolo-io/tombolo/e2e/lab/binaries"
)

// fault is one line of the tree that is another one.
type fault struct{ file, line, instead string }

var faults = map[string]fault{
	// A ledger is written over whatever is there by now.
	"no-compare-and-swap": {
		"hub/internal/ledger/ledger.go", "err := s.client.Status().Update(ctx, pool)",
		`now := &networkv1alpha1.IPPool{}
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(pool), now); err == nil {
		pool.ResourceVersion = now.ResourceVersion
	}
	err := s.client.Status().Update(ctx, pool)`,
	},
	// A link is free when its owner is gone, whatever the cluster says.
	"no-quarantine": {"federation/quarantine.go", "if p.lost(e) || !p.realizes(e) && p.hasLetGo(e) {", "if e.kind == \"Vpc\" {"},
	// Who comes second to an address has it, too.
	"no-lock": {"hub/internal/controllers/address/allocator.go", "case there.Spec.Owner == o.Spec.Owner && there.DeletionTimestamp == nil:", "case there.DeletionTimestamp == nil:"},
}

// Names of the faults, in order.
func Names() []string { return slices.Sorted(maps.Keys(faults)) }

// Build compiles an allocator with a fault into dir.
func Build(ctx context.Context, name, dir string) (path string, err error) {
	root, err := binaries.Root(ctx)
	if err != nil {
		return "", err
	}
	f := faults[name]
	original := filepath.Join(root, f.file)
	text, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", name, err)
	}
	if strings.Count(string(text), f.line) != 1 {
		return "", fmt.Errorf("plant %s: %s does not have the line %q once: say in e2e/chaos/ipam/planted what the guard is now", name, f.file, f.line)
	}
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", name, err)
	}
	for file, text := range map[string]string{changed: strings.Replace(string(text), f.line, f.instead, 1), overlay: string(replace)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("plant %s: %w", name, err)
		}
	}
	return fleet.Build(ctx, dir, overlay)
}
