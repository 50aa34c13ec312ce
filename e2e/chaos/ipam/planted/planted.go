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

// edit makes one line of the tree another one.
type edit struct{ file, line, instead string }

var faults = map[string][]edit{
	// A ledger is written over whatever is there by now.
	"no-compare-and-swap": {{
		"hub/internal/ledger/ledger.go", "err := delta.WriteStatus(ctx, s.client, old, pool)",
		`_ = delta.WriteStatus
	now := &networkv1alpha1.IPPool{}
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(old), now); err == nil {
		pool.ResourceVersion = now.ResourceVersion
	}
	err := s.client.Status().Update(ctx, pool)`,
	}},
	// A link is free when its owner is gone, whatever the cluster says, and what clusters hold is kept from nobody.
	"no-quarantine": {
		{"federation/quarantine.go", "if p.lost(e) || !p.realizes(e) && p.hasLetGo(e) {", "if e.kind == \"Vpc\" {"},
		{"federation/plan.go", "issuer := newIssuer(p.ledger, p.admitted.value, p.recover)", "issuer := newIssuer(p.ledger, p.admitted.value, nil)"},
	},
	// Who comes second to an address has it, too.
	"no-lock": {{"hub/internal/controllers/address/allocator.go", "case there.Spec.Owner == o.Spec.Owner && there.DeletionTimestamp == nil:", "case there.DeletionTimestamp == nil:"}},
}

// Names of the faults, in order.
func Names() []string { return slices.Sorted(maps.Keys(faults)) }

// Check says whether a fault can still be planted in the tree.
func Check(ctx context.Context, name string) error {
	root, err := binaries.Root(ctx)
	if err != nil {
		return err
	}
	for _, e := range faults[name] {
		if _, err := e.plant(root); err != nil {
			return fmt.Errorf("plant %s: %w", name, err)
		}
	}
	return nil
}

// plant is the file with the edit.
func (e edit) plant(root string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, e.file))
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), e.line) != 1 {
		return "", fmt.Errorf("%s does not have the line %q once: say in e2e/chaos/ipam/planted what the guard is now", e.file, e.line)
	}
	return strings.Replace(string(text), e.line, e.instead, 1), nil
}

// Build compiles an allocator with a fault into dir.
func Build(ctx context.Context, name, dir string) (path string, err error) {
	root, err := binaries.Root(ctx)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for i, e := range faults[name] {
		text, err := e.plant(root)
		if err != nil {
			return "", fmt.Errorf("plant %s: %w", name, err)
		}
		changed := filepath.Join(dir, fmt.Sprint("changed", i, ".go"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("plant %s: %w", name, err)
		}
		replace[filepath.Join(root, e.file)] = changed
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", name, err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return "", fmt.Errorf("plant %s: %w", name, err)
	}
	return fleet.Build(ctx, dir, overlay)
}
