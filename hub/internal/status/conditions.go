// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// Carry gives the decided conditions their transition times: that of the old condition while its status is the same,
// else now. The planner has no clock.
func Carry(old, decided []metav1.Condition, now metav1.Time) []metav1.Condition {
	carried := slices.Clone(decided)
	for i := range carried {
		carried[i].LastTransitionTime = now
		if before := find(old, carried[i].Type); before != nil && before.Status == carried[i].Status {
			carried[i].LastTransitionTime = before.LastTransitionTime
		}
	}
	return carried
}

// Transition is news about an object that a person wrote.
type Transition struct {
	// Object that it is about.
	Object client.Object
	// Warning is true when a person should look.
	Warning bool
	// Reason is one word for machines, Note a sentence for people.
	Reason, Note string
}

// waiting are reasons of conditions that are not yet met and need nobody's help.
var waiting = []string{
	networkv1alpha1.ReasonPendingAcceptance, networkv1alpha1.ReasonWaitingForClusters,
	networkv1alpha1.ReasonProbing, networkv1alpha1.ReasonDeleting,
}

// derived are reasons that follow from another condition, which has its own news.
var derived = []string{networkv1alpha1.ReasonNotAccepted}

// Compare finds what is worth telling about a change of conditions.
func Compare(object client.Object, old, decided []metav1.Condition) []Transition {
	var news []Transition
	for _, after := range decided {
		before := find(old, after.Type)
		same := before != nil && before.Status == after.Status && before.Reason == after.Reason
		if same || slices.Contains(derived, after.Reason) {
			continue
		}
		met := after.Status == metav1.ConditionTrue
		if before == nil && !met && slices.Contains(waiting, after.Reason) && after.Type != networkv1alpha1.ConditionAccepted {
			continue // everything begins with waiting
		}
		news = append(news, Transition{
			Object:  object,
			Warning: !met && !slices.Contains(waiting, after.Reason),
			Reason:  after.Reason,
			Note:    note(after),
		})
	}
	return news
}

func note(condition metav1.Condition) string {
	if condition.Message != "" {
		return condition.Message
	}
	return condition.Type + " is " + string(condition.Status)
}

func find(conditions []metav1.Condition, typ string) *metav1.Condition {
	i := slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == typ })
	if i < 0 {
		return nil
	}
	return &conditions[i]
}
