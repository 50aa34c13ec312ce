// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

func TestJoined(t *testing.T) {
	one, other := &networkv1alpha1.Vpc{}, &networkv1alpha1.Vpc{}
	got := joined([]status.Transition{
		{Object: one, Reason: "Accepted", Note: "a"}, {Object: one, Reason: "Allocated", Note: "b"}, {Object: one, Warning: true, Reason: "ProbeFailed", Note: "c"},
		{Object: one, Reason: "Active", Note: "d"}, {Object: other, Reason: "Accepted", Note: "e"},
	})
	var told []string
	for _, n := range got {
		told = append(told, n.Reason+": "+n.Note)
	}
	if diff := cmp.Diff([]string{"Allocated: a; b", "ProbeFailed: c", "Active: d", "Accepted: e"}, told); diff != "" {
		t.Errorf("what an object has to tell is one event for each write, and what warns is alone (-want +got):\n%s", diff)
	}
}
