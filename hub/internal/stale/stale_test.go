// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package stale_test

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

func TestOnly(t *testing.T) {
	resource := schema.GroupResource{Group: "network.tombolo.io", Resource: "ippools"}
	conflict := stale.Wrap(apierrors.NewConflict(resource, "vnis", errors.New("changed")))
	forbidden := stale.Wrap(apierrors.NewForbidden(resource, "vnis", errors.New("no")))

	for name, test := range map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"Nil":       {"nothing failed", nil, false},
		"Conflict":  {"another writer was first", conflict, true},
		"Wrapped":   {"a wrapped conflict is one still", fmt.Errorf("store ledger: %w", conflict), true},
		"Exists":    {"the object was made meanwhile", stale.Wrap(apierrors.NewAlreadyExists(resource, "vnis")), true},
		"Gone":      {"the object was deleted meanwhile", stale.Wrap(apierrors.NewNotFound(resource, "vnis")), true},
		"Forbidden": {"another look does not cure a missing permission", forbidden, false},
		"Joined":    {"several outdated writes are cured by one look", errors.Join(conflict, fmt.Errorf("x: %w", conflict)), true},
		"Mixed":     {"a real failure among them must be reported", errors.Join(conflict, forbidden), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := stale.Only(test.err); got != test.want {
				t.Errorf("Only(%v) = %v, want %v: %s", test.err, got, test.want, test.reason)
			}
		})
	}
}
