// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestRouterStatusOfNodes(t *testing.T) {
	copy := hubRouter("vpc-1")
	for _, node := range []string{"dead", "e1"} {
		copy.Status.Gateways = append(copy.Status.Gateways, spokev1alpha1.RouterGateway{Node: node, Message: "of " + node})
		copy.Status.Probes = append(copy.Status.Probes, spokev1alpha1.ProbeResult{Node: node, Vpc: "demo/far", Cluster: "west", Reachable: node == "e1"})
	}
	cases := map[string]struct {
		reason string
		nodes  []string
		want   spokev1alpha1.LocalRouterStatus
	}{
		"OneLeft": {
			reason: "a node that died unreachable and was taken off the list must not keep the peering unverified for ever",
			nodes:  []string{"e1"},
			want:   spokev1alpha1.LocalRouterStatus{Gateways: copy.Status.Gateways[1:], Probes: copy.Status.Probes[1:]},
		},
		"BothServe": {
			reason: "an approved node counts, whatever it says",
			nodes:  []string{"e1", "dead"},
			want:   spokev1alpha1.LocalRouterStatus{Gateways: copy.Status.Gateways, Probes: copy.Status.Probes},
		},
		"NoneLeft": {reason: "without a gateway nothing is verified"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := routerStatus(hubRouter("vpc-1"), copy, tc.nodes)
			got.Conditions = nil
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
