// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	"github.com/tombolo-io/tombolo/hub/internal/status"
)

func is(typ string, met metav1.ConditionStatus, reason string, at time.Time) metav1.Condition {
	return metav1.Condition{Type: typ, Status: met, Reason: reason, LastTransitionTime: metav1.NewTime(at)}
}

func TestCarry(t *testing.T) {
	then, now := time.Unix(1000, 0), time.Unix(2000, 0)
	for name, test := range map[string]struct {
		reason       string
		old, decided []metav1.Condition
		want         []metav1.Condition
	}{
		"New": {
			reason:  "a condition begins when it is first written",
			decided: []metav1.Condition{is("Accepted", "True", "Accepted", time.Time{})},
			want:    []metav1.Condition{is("Accepted", "True", "Accepted", now)},
		},
		"SameStatus": {
			reason:  "another reason is no transition",
			old:     []metav1.Condition{is("Accepted", "False", "VpcNotFound", then)},
			decided: []metav1.Condition{is("Accepted", "False", "OverlappingCIDRs", time.Time{})},
			want:    []metav1.Condition{is("Accepted", "False", "OverlappingCIDRs", then)},
		},
		"OtherStatus": {
			reason:  "another status is one",
			old:     []metav1.Condition{is("Accepted", "False", "VpcNotFound", then)},
			decided: []metav1.Condition{is("Accepted", "True", "Accepted", time.Time{})},
			want:    []metav1.Condition{is("Accepted", "True", "Accepted", now)},
		},
		"Dropped": {
			reason: "what the planner does not say any more is not said",
			old:    []metav1.Condition{is("Verified", "True", "Verified", then)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := status.Carry(test.old, test.decided, metav1.NewTime(now))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, test := range map[string]struct {
		reason       string
		old, decided metav1.Condition
		want         []status.Transition
	}{
		"Unchanged": {
			reason: "what stays the same is no news", old: is("Accepted", "True", "Accepted", at), decided: is("Accepted", "True", "Accepted", at),
		},
		"BeginsWithWaiting": {
			reason: "everything begins with waiting", decided: is("Programmed", "False", networkv1alpha1.ReasonWaitingForClusters, at),
		},
		"WaitsForAPerson": {
			reason:  "that the other tenant must act is news, and nothing is wrong",
			decided: is("Accepted", "False", networkv1alpha1.ReasonPendingAcceptance, at),
			want:    []status.Transition{{Reason: "PendingAcceptance", Note: "Accepted is False"}},
		},
		"Refused": {
			reason:  "a refusal warns",
			decided: is("Accepted", "False", networkv1alpha1.ReasonOverlappingCIDRs, at),
			want:    []status.Transition{{Warning: true, Reason: "OverlappingCIDRs", Note: "Accepted is False"}},
		},
		"OtherReason": {
			reason: "so does another reason for it",
			old:    is("Accepted", "False", networkv1alpha1.ReasonVpcNotFound, at), decided: is("Accepted", "False", networkv1alpha1.ReasonOverlappingCIDRs, at),
			want: []status.Transition{{Warning: true, Reason: "OverlappingCIDRs", Note: "Accepted is False"}},
		},
		"Derived": {
			reason: "what follows from a refusal is not told twice", decided: is("Programmed", "False", networkv1alpha1.ReasonNotAccepted, at),
		},
		"Lost": {
			reason: "what breaks is told",
			old:    is("Verified", "True", networkv1alpha1.ReasonVerified, at), decided: is("Verified", "False", networkv1alpha1.ReasonProbeFailed, at),
			want: []status.Transition{{Warning: true, Reason: "ProbeFailed", Note: "Verified is False"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var old []metav1.Condition
			if test.old.Type != "" {
				old = append(old, test.old)
			}
			got := status.Compare(nil, old, []metav1.Condition{test.decided})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}
