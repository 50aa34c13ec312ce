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
	// by stamps an object, or a copy, with the hub that wrote it.
	by := func(r *spokev1alpha1.LocalRouter, hub string, epoch int64) *spokev1alpha1.LocalRouter {
		if r.Annotations == nil {
			r.Annotations = map[string]string{}
		}
		r.Annotations[spokev1alpha1.AnnotationHub], r.Annotations[spokev1alpha1.AnnotationHubEpoch] = hub, strconv.FormatInt(epoch, 10)
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
		"TombstoneOlder":   {"an older one does not: the hub has forgotten what came after", sides{hub: hub("a", 1, true), copy: copyOf("a", 2, false)}, older},
		"TombstoneOther":   {"another object's tombstone does not remove the copy", sides{hub: hub("b", 2, true), copy: copyOf("a", 2, false)}, release},
		"Removing":         {"while the copy is being taken down the hub's object is held", sides{hub: hub("a", 2, true), copy: copyOf("a", 2, true)}, keep},
		"Gone":             {"when the copy is gone the hub's object may go", sides{hub: hub("a", 2, true)}, release},
		"DeletedHere":      {"a copy that somebody deleted here is not touched until it is gone", sides{hub: hub("a", 2, false), copy: copyOf("a", 2, true)}, keep},
		"OtherUID":         {"a copy that realizes another Vpc is not overwritten", sides{hub: hub("b", 1, false), copy: copyOf("a", 2, false)}, refuse},
		"Adopt":            {"the same Vpc after a restore of the hub keeps running", sides{hub: hub("b", 1, false), copy: copyOf("a", 2, false), adoptable: true}, update},
		"AdoptToTombstone": {"a restored object under deletion is adopted first, so that its copy goes by its own tombstone", sides{hub: hub("b", 1, true), copy: copyOf("a", 2, false), adoptable: true}, update},

		"Trusted":            {"what the hub says that the cluster is joined to is taken", sides{hub: by(hub("a", 1, false), "h", 4), trust: trust{hub: "h"}}, create},
		"Unstamped":          {"so is what an older hub says, which does not tell who it is", sides{hub: hub("a", 1, false), trust: trust{hub: "h"}}, create},
		"ForeignNew":         {"what another hub says is not", sides{hub: by(hub("a", 1, false), "x", 4), trust: trust{hub: "h"}}, foreign},
		"ForeignNewer":       {"nor when it seems newer", sides{hub: by(hub("a", 9, false), "x", 9), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, foreign},
		"ForeignTombstone":   {"nor is its tombstone", sides{hub: by(hub("a", 9, true), "x", 9), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, foreign},
		"ForeignGone":        {"nor is its object let go", sides{hub: by(hub("a", 9, true), "x", 9), trust: trust{hub: "h"}}, foreign},
		"JoinedAnew":         {"the first word after a new join is believed", sides{hub: by(hub("a", 9, false), "x", 1), copy: by(copyOf("a", 2, false), "h", 4)}, update},
		"EarlierEpoch":       {"a later generation of an earlier epoch is of a hub that went back", sides{hub: by(hub("a", 9, false), "h", 3), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, older},
		"EarlierTombstone":   {"and so is its tombstone", sides{hub: by(hub("a", 9, true), "h", 3), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, older},
		"EarlierGeneration":  {"a later epoch does not excuse an earlier generation", sides{hub: by(hub("a", 1, false), "h", 5), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, older},
		"EarlierAdopted":     {"nor is one made again of an earlier epoch taken", sides{hub: by(hub("b", 1, false), "h", 3), copy: by(copyOf("a", 2, false), "h", 4), adoptable: true, trust: trust{hub: "h"}}, older},
		"LaterEpoch":         {"a new leader's word counts", sides{hub: by(hub("a", 3, false), "h", 5), copy: by(copyOf("a", 2, false), "h", 4), trust: trust{hub: "h"}}, update},
		"Confirmed":          {"what was written after the hub was confirmed counts, whatever its generation", sides{hub: by(hub("a", 1, false), "h", 9), copy: by(copyOf("a", 2, false), "h", 8), trust: trust{hub: "h", restored: 9}}, update},
		"ConfirmedTombstone": {"and so does its tombstone", sides{hub: by(hub("a", 1, true), "h", 9), copy: by(copyOf("a", 2, false), "h", 8), trust: trust{hub: "h", restored: 9}}, remove},
		"ConfirmedBefore":    {"what was not written since then does not", sides{hub: by(hub("a", 1, false), "h", 8), copy: by(copyOf("a", 2, false), "h", 8), trust: trust{hub: "h", restored: 9}}, older},
		"ConfirmedOnce":      {"and what has been taken since is fenced as ever", sides{hub: by(hub("a", 1, false), "h", 9), copy: by(copyOf("a", 2, false), "h", 9), trust: trust{hub: "h", restored: 9}}, older},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := decide(tc.sides); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
