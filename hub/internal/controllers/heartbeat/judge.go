// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// silentAfter is how long the hub sees no renewal before it calls an agent silent. Agents renew every 30 s: one that misses three
// renewals in a row is silent, one that restarts or waits for a new leader is not.
const silentAfter = 2 * time.Minute

// pulse is what this process has seen of one agent. A renewal counts when it is seen, by the hub's own clock: what time the agent
// writes into its Lease is compared with nothing but what it wrote before.
type pulse struct {
	// renewed is the time in the Lease, as the agent's clock has it.
	renewed metav1.MicroTime
	// seen is when that was first seen.
	seen time.Time
	// beats is true when it has changed since this process looks: a Lease that was there at the start may be an old one.
	beats bool
}

// look is what a Lease says now, after what was seen of it before.
func (p *pulse) look(renewed metav1.MicroTime, now time.Time) pulse {
	if p == nil {
		return pulse{renewed: renewed, seen: now}
	}
	if p.renewed.Equal(&renewed) {
		return *p
	}
	return pulse{renewed: renewed, seen: now, beats: true}
}

// silent is true when no renewal was seen for too long.
func (p pulse) silent(now time.Time) bool { return now.Sub(p.seen) >= silentAfter }

// judge says what there is to say, nil while that is nothing new.
func (p pulse) judge(now time.Time) *metav1.Condition {
	switch {
	case p.silent(now):
		since := "has not heard of the agent since " + p.seen.UTC().Format(time.RFC3339)
		if !p.beats {
			since += ", when it began to look"
		}
		return &metav1.Condition{
			Type: spokev1alpha1.ConditionAgentAlive, Status: metav1.ConditionUnknown, Reason: spokev1alpha1.ReasonAgentSilent,
			Message: fmt.Sprintf("The hub %s: the agent has stopped or can't reach the hub. Nothing is taken from the cluster, and its packets go on. "+
				"Cure: in the cluster, kubectl tombolo diagnose.", since),
		}
	case p.beats:
		return &metav1.Condition{
			Type: spokev1alpha1.ConditionAgentAlive, Status: metav1.ConditionTrue, Reason: spokev1alpha1.ReasonLeaseRenewed,
			Message: "The agent renews its Lease.",
		}
	}
	return nil
}
