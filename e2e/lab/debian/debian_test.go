// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"strings"
	"testing"
)

func TestNeed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := Need(); err != nil {
		t.Errorf("nothing is needed: %v", err)
	}
	err := Need("ovn-northd", "ovn-nbctl", "ovn-sbctl", "no-such-thing")
	if err == nil {
		t.Fatal("an empty PATH has everything")
	}
	for _, want := range []string{"ovn-northd", "no-such-thing", "ovn-central ovn-common"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
