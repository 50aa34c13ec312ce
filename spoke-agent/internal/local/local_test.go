// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestGatewayFinalizer(t *testing.T) {
	long := strings.Repeat("node-0123456789.", 8) + "a"
	cases := map[string]struct {
		reason string
		node   string
		want   string
	}{
		"Short": {
			reason: "a node name that fits stands in the finalizer as it is",
			node:   "east-1", want: "spoke.tombolo.io/gateway-east-1",
		},
		"Long": {
			reason: "a node name that does not fit is cut and hashed",
			node:   long,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := GatewayFinalizer(tc.node)
			if tc.want != "" && got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
			if problems := validation.IsQualifiedName(got); len(problems) > 0 {
				t.Errorf("%s: %q is no finalizer: %v", tc.reason, got, problems)
			}
			if !IsGatewayFinalizer(got) {
				t.Errorf("%s: %q is not recognized", tc.reason, got)
			}
		})
	}
	if GatewayFinalizer(long) == GatewayFinalizer(long+"b") {
		t.Error("two long node names share a finalizer: one node would release the other's")
	}
}
