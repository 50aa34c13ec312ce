// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/tombolo-io/tombolo/hub/internal/status"
)

// maxNote is how long the note of an event may be (events.k8s.io/v1: 1 kB).
const maxNote = 1024

// announce tells people what has been written, as events.
func (c *Controller) announce(news []status.Transition) {
	for _, n := range joined(news) {
		typ := corev1.EventTypeNormal
		if n.Warning {
			typ = corev1.EventTypeWarning
		}
		c.events.Eventf(n.Object, nil, typ, n.Reason, "Plan", "%s", n.Note[:min(len(n.Note), maxNote)])
	}
}

// joined makes one of all good news of an object that came with one write: an event is a write to the API server like any other. The last one, which
// goes furthest, gives it its reason.
func joined(news []status.Transition) []status.Transition {
	var all []status.Transition
	for _, n := range news {
		if last := len(all) - 1; last >= 0 && all[last].Object == n.Object && !n.Warning && !all[last].Warning {
			all[last].Reason, all[last].Note = n.Reason, all[last].Note+"; "+n.Note
			continue
		}
		all = append(all, n)
	}
	return all
}
