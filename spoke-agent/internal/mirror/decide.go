// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/local"
)

// verdict is what is to be done about one object.
type verdict string

const (
	// keep: nothing is to be done.
	keep verdict = "keep"
	// create the copy.
	create verdict = "create"
	// update the copy.
	update verdict = "update"
	// remove the copy: the hub's object of that UID is being deleted.
	remove verdict = "remove"
	// release the hub's object: nothing of it is left here.
	release verdict = "release"
	// older: what is here is newer than what the hub says.
	older verdict = "older"
	// refuse to overwrite a copy that realizes something else.
	refuse verdict = "refuse"
	// foreign: another hub says it than the one that the cluster is joined to.
	foreign verdict = "foreign"
)

// sides are one object as both sides have it.
type sides struct {
	// hub's object.
	hub client.Object
	// copy in this cluster; nil when there is none.
	copy client.Object
	// sameSpec is true when the copy says what the hub says, same when it is also stamped as that generation's.
	sameSpec, same bool
	// trust is whom the cluster believes.
	trust trust
	// adoptable is true when the copy may be taken for the hub's object although that has another UID (the hub was
	// restored, or the copy was made by hand): it realizes the same thing.
	adoptable bool
}

// decide is the fence between hub and cluster. The hub's object that is not there is never an argument: without it,
// decide is not asked.
func decide(s sides) verdict {
	if !s.trust.believes(originOf(s.hub)) {
		return foreign
	}
	deleting := s.hub.GetDeletionTimestamp() != nil
	if s.copy == nil {
		if deleting {
			return release
		}
		return create
	}
	if s.copy.GetDeletionTimestamp() != nil {
		return keep // those who hold its finalizers are at it
	}
	if local.HubUID(s.copy) != string(s.hub.GetUID()) {
		return decideOther(s, deleting)
	}
	switch {
	case deleting && s.behind():
		return older // who has forgotten what came after may also have forgotten why it is to stay
	case deleting:
		return remove
	case s.same:
		return keep
	case s.sameSpec: // a restored hub counts anew from there
		return update
	case s.behind():
		return older // of a restored hub or a slow replica
	default:
		return update
	}
}

// decideOther is about a copy of another object of the hub than this one.
func decideOther(s sides, deleting bool) verdict {
	switch {
	case s.adoptable && s.behind() && !s.sameSpec:
		return older
	case s.adoptable:
		return update // a deletion follows when the copy has the UID
	case deleting:
		return release // the copy is of another object
	default:
		return refuse
	}
}
