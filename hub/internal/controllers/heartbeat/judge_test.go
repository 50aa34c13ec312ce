// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestJudge: what is said of an agent follows from when its renewals were seen, whatever its clock says.
func TestJudge(t *testing.T) {
	start := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	// look is one look at a Lease: at this time of the hub, with this time of the agent in it.
	type look struct{ at, renewed time.Duration }
	for name, test := range map[string]struct {
		reason string
		looks  []look
		at     time.Duration
		want   metav1.ConditionStatus
		says   string
	}{
		"First":        {"a Lease that is there at the start may be an old one", []look{{0, 0}}, 0, "", ""},
		"Renewed":      {"it changes: somebody renews it", []look{{0, 0}, {30 * time.Second, 30 * time.Second}}, 31 * time.Second, metav1.ConditionTrue, "renews"},
		"StillAlive":   {"it may miss some", []look{{0, 0}, {30 * time.Second, 30 * time.Second}}, 149 * time.Second, metav1.ConditionTrue, "renews"},
		"Silent":       {"two minutes without one", []look{{0, 0}, {30 * time.Second, 30 * time.Second}}, 150 * time.Second, metav1.ConditionUnknown, "since 2026-01-01T12:00:30Z: the agent"},
		"NeverSeen":    {"the hub has restarted, and the agent was dead before", []look{{0, 0}}, 2 * time.Minute, metav1.ConditionUnknown, "since 2026-01-01T12:00:00Z, when it began to look"},
		"Back":         {"it renews again", []look{{0, 0}, {10 * time.Minute, 10 * time.Minute}}, 10 * time.Minute, metav1.ConditionTrue, "renews"},
		"ClockAhead":   {"a clock that is a year ahead makes nobody alive for a year", []look{{0, 8760 * time.Hour}, {30 * time.Second, 8761 * time.Hour}}, 150 * time.Second, metav1.ConditionUnknown, "12:00:30Z"},
		"ClockBehind":  {"a clock that is a year behind makes nobody dead", []look{{0, -8760 * time.Hour}, {30 * time.Second, -8759 * time.Hour}}, 31 * time.Second, metav1.ConditionTrue, "renews"},
		"ClockSetBack": {"a clock that was corrected goes back", []look{{0, time.Hour}, {30 * time.Second, 30 * time.Second}}, 31 * time.Second, metav1.ConditionTrue, "renews"},
		"SeenTwice":    {"an event that says nothing new is no renewal", []look{{0, 0}, {30 * time.Second, 30 * time.Second}, {140 * time.Second, 30 * time.Second}}, 150 * time.Second, metav1.ConditionUnknown, "12:00:30Z"},
	} {
		t.Run(name, func(t *testing.T) {
			var p *pulse
			for _, l := range test.looks {
				p = new(p.look(metav1.NewMicroTime(start.Add(l.renewed)), start.Add(l.at)))
			}
			got := p.judge(start.Add(test.at))
			switch {
			case got == nil && test.want != "":
				t.Errorf("nothing is said, want %s: %s", test.want, test.reason)
			case got != nil && (got.Status != test.want || !strings.Contains(got.Message, test.says)):
				t.Errorf("%s %q, want %s %q: %s", got.Status, got.Message, test.want, test.says, test.reason)
			}
		})
	}
}
