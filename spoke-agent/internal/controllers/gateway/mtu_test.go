// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

func TestCheckMTU(t *testing.T) {
	var lines []string
	ctx := log.IntoContext(t.Context(), funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{}))
	r := &Reconciler{Options: Options{MTU: 1400}}
	for _, step := range []struct {
		reason string
		mtu    int
		want   int
	}{
		{reason: "1450 is just enough", mtu: 1450, want: 0},
		{reason: "1449 loses the largest packets", mtu: 1449, want: 1},
		{reason: "that is told once", mtu: 1449, want: 1},
		{reason: "another MTU is news", mtu: 1300, want: 2},
		{reason: "and the former one is then, too", mtu: 1449, want: 3},
	} {
		r.checkMTU(ctx, "wan0", step.mtu)
		if len(lines) != step.want {
			t.Errorf("%s: %d lines, want %d: %v", step.reason, len(lines), step.want, lines)
		}
	}
	if len(lines) > 0 && (!strings.Contains(lines[0], `"interface"="wan0"`) || !strings.Contains(lines[0], `"needed"=1450`) || !strings.Contains(lines[0], "--pod-mtu")) {
		t.Errorf("the line names neither interface nor number nor cure: %s", lines[0])
	}
}
