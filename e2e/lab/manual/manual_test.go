// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package manual_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tombolo-io/tombolo/e2e/lab/manual"
)

func TestBlocks(t *testing.T) {
	page := strings.ReplaceAll(`
# A page
~sh
echo shown, and never run
~
~yaml
kind: Vpc
~
~sh hub install
helm install hub
  helm test hub
~
text
~sh east install
helm install east
~
`, "~", "```")
	got, err := manual.Blocks([]byte(page))
	want := []manual.Block{
		{Where: "hub", What: "install", Commands: "helm install hub\n  helm test hub\n"},
		{Where: "east", What: "install", Commands: "helm install east\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Blocks (-want +got), error %v:\n%s", err, diff)
	}
}

func TestBlocksRefuses(t *testing.T) {
	for name, page := range map[string]string{
		"a fence that says half": "```sh hub\nhelm\n```\n",
		"a block without an end": "```sh hub install\nhelm\n",
	} {
		if blocks, err := manual.Blocks([]byte(page)); err == nil {
			t.Errorf("%s gave %v", name, blocks)
		}
	}
}
