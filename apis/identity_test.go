// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package apis_test

import (
	"testing"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestClusterOfAgent(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, user, want string
	}{
		"Agent":      {"the inverse of AgentUser", spokev1alpha1.AgentUser("east-1"), "east-1"},
		"Twin":       {"a name that begins like another is another", spokev1alpha1.AgentUser("east"), "east"},
		"NoCluster":  {"nobody's agent", spokev1alpha1.AgentUser(""), ""},
		"Nested":     {"a cluster name has no colon: this one would look like two", spokev1alpha1.AgentUser("east:addon:tombolo:agent:x"), ""},
		"OtherAddOn": {"another add-on's agent", "system:open-cluster-management:cluster:east:addon:other:agent:tombolo-agent", ""},
		"Prefix":     {"no agent", "x" + spokev1alpha1.AgentUser("east"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := spokev1alpha1.ClusterOfAgent(tc.user)
			if ok != (tc.want != "") || ok && got != tc.want {
				t.Errorf("%s: got %q, %v, want %q", tc.reason, got, ok, tc.want)
			}
		})
	}
}
