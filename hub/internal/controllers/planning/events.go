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
	for _, n := range news {
		typ := corev1.EventTypeNormal
		if n.Warning {
			typ = corev1.EventTypeWarning
		}
		c.events.Eventf(n.Object, nil, typ, n.Reason, "Plan", "%s", n.Note[:min(len(n.Note), maxNote)])
	}
}
