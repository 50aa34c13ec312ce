// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1beta1 "open-cluster-management.io/api/cluster/v1beta1"
)

func TestWhole(t *testing.T) {
	counted := func(n int32) *clusterv1beta1.Placement {
		p := &clusterv1beta1.Placement{}
		p.Status.NumberOfSelectedClusters = n
		p.Status.Conditions = []metav1.Condition{{Type: clusterv1beta1.PlacementConditionSatisfied, Status: metav1.ConditionFalse}}
		return p
	}
	byOther := &clusterv1beta1.Placement{}
	byOther.Annotations = map[string]string{clusterv1beta1.PlacementDisableAnnotation: "true"}
	cases := map[string]struct {
		reason    string
		placement *clusterv1beta1.Placement
		chosen    map[string]bool
		want      bool
	}{
		"New":         {"OCM has created the decision and not filled it", &clusterv1beta1.Placement{}, map[string]bool{}, false},
		"Filled":      {"it has not counted yet", &clusterv1beta1.Placement{}, map[string]bool{"east": true}, false},
		"Counted":     {"the decisions are as many as were chosen", counted(1), map[string]bool{"east": true}, true},
		"None":        {"to choose no cluster is a decision", counted(0), map[string]bool{}, true},
		"Fewer":       {"one of several objects is not there yet", counted(2), map[string]bool{"east": true}, false},
		"Gone":        {"somebody has deleted the decisions", counted(2), nil, false},
		"ByOther":     {"another scheduler fills the decisions", byOther, map[string]bool{"east": true}, true},
		"ByOtherNone": {"and has not yet", byOther, nil, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := whole(tc.placement, tc.chosen); got != tc.want {
				t.Errorf("%t, want %t: %s", got, tc.want, tc.reason)
			}
		})
	}
}
