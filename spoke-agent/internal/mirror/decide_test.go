// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"strconv"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

func TestDecide(t *testing.T) {
	hub := func(uid string, generation int64, deleting bool) *spokev1alpha1.LocalRouter {
		r := &spokev1alpha1.LocalRouter{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Generation: generation}}
		if deleting {
			r.DeletionTimestamp = new(metav1.Now())
		}
		return r
	}
	copyOf := func(uid string, generation int64, deleting bool) *spokev1alpha1.LocalRouter {
		r := hub("local", 99, deleting)
		r.Annotations = map[string]string{
			spokev1alpha1.AnnotationHubUID: uid, spokev1alpha1.AnnotationHubGeneration: strconv.FormatInt(generation, 10),
		}
		return r
	}
	cases := map[string]struct {
		reason string
		sides  sides
		want   verdict
	}{
		"New":              {"what is new is copied", sides{hub: hub("a", 1, false)}, create},
		"Same":             {"what did not change is not written", sides{hub: hub("a", 2, false), copy: copyOf("a", 2, false), sameSpec: true, same: true}, keep},
		"Newer":            {"a newer generation is taken", sides{hub: hub("a", 3, false), copy: copyOf("a", 2, false)}, update},
		"Older":            {"an older generation of the same object is never taken", sides{hub: hub("a", 1, false), copy: copyOf("a", 2, false)}, older},
		"OlderSameSpec":    {"a restored hub that says the same counts anew from there", sides{hub: hub("a", 1, false), copy: copyOf("a", 2, false), sameSpec: true}, update},
		"EditedHere":       {"a copy that was edited by hand is put right", sides{hub: hub("a", 2, false), copy: copyOf("a", 2, false)}, update},
		"Tombstone":        {"the tombstone of the same UID removes the copy", sides{hub: hub("a", 2, true), copy: copyOf("a", 2, false)}, remove},
		"TombstoneOlder":   {"even an older one: a deletion is not undone", sides{hub: hub("a", 1, true), copy: copyOf("a", 2, false)}, remove},
		"TombstoneOther":   {"another object's tombstone does not remove the copy", sides{hub: hub("b", 2, true), copy: copyOf("a", 2, false)}, release},
		"Removing":         {"while the copy is being taken down the hub's object is held", sides{hub: hub("a", 2, true), copy: copyOf("a", 2, true)}, keep},
		"Gone":             {"when the copy is gone the hub's object may go", sides{hub: hub("a", 2, true)}, release},
		"DeletedHere":      {"a copy that somebody deleted here is not touched until it is gone", sides{hub: hub("a", 2, false), copy: copyOf("a", 2, true)}, keep},
		"OtherUID":         {"a copy that realizes another Vpc is not overwritten", sides{hub: hub("b", 1, false), copy: copyOf("a", 2, false)}, refuse},
		"Adopt":            {"the same Vpc after a restore of the hub keeps running", sides{hub: hub("b", 1, false), copy: copyOf("a", 2, false), adoptable: true}, update},
		"AdoptToTombstone": {"a restored object under deletion is adopted first, so that its copy goes by its own tombstone", sides{hub: hub("b", 1, true), copy: copyOf("a", 2, false), adoptable: true}, update},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decide(tc.sides); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
