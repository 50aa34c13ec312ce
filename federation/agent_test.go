// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"reflect"
	"slices"
	"strings"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// agent is what a cluster has: its view of the hub, which may be late, and its copies. It keeps the rules of spoke-agent/internal/mirror.
type agent struct {
	cluster string
	// older agents do not say what they hold. They may have been newer before: then what was said stays.
	older bool
	// wasOlder is true when it was an older one at some time.
	wasOlder bool
	// seen is the agent's view of the hub's routers.
	seen map[Key]*spokev1alpha1.LocalRouter
	// copies by the key of the hub's object.
	copies map[Key]spokev1alpha1.Hold
}

func (w *world) agent(cluster string) *agent {
	if w.agents[cluster] == nil {
		w.agents[cluster] = &agent{cluster: cluster, seen: map[Key]*spokev1alpha1.LocalRouter{}, copies: map[Key]spokev1alpha1.Hold{}}
	}
	return w.agents[cluster]
}

// Versions of the agents.
const olderAgent, newerAgent = "0.1.0", "0.2.0"

// sync lets the agent see the hub as it is.
func (a *agent) sync(w *world) {
	clear(a.seen)
	for key, o := range w.routers {
		if o.Namespace == a.cluster {
			a.seen[key] = o
		}
	}
}

// apply makes or removes the copy of one object, and says whether the cluster has come to what the object says.
func (a *agent) apply(w *world, o *spokev1alpha1.LocalRouter) bool {
	key := keyOf(o)
	copy, has := a.copies[key]
	switch {
	case has && copy.VpcUID != o.Spec.VpcUID:
		return o.DeletionTimestamp != nil // the copy is another Vpc's
	case o.DeletionTimestamp != nil:
		delete(a.copies, key)
		return true
	case !has && !a.older && a.asked(w, o.Spec.VpcUID):
		return false
	}
	a.copies[key] = spokev1alpha1.Hold{VpcUID: o.Spec.VpcUID, VNI: o.Spec.Vpc.VNI, LinkCIDR: o.Spec.LinkCIDR}
	return true
}

// asked is true when the hub has released a Vpc here.
func (a *agent) asked(w *world, uid string) bool {
	g := w.gateways[joinKey(a.cluster, a.cluster)]
	return g != nil && slices.Contains(g.Spec.ReleasedVpcs, uid)
}

// say reports what the agent holds. It answers no question about a Vpc that it may still make a copy of.
func (a *agent) say(w *world) {
	key := joinKey(a.cluster, a.cluster)
	g := w.gateways[key]
	if g == nil {
		return
	}
	if a.older {
		if g.Status.Holds != nil && g.Status.AgentVersion != olderAgent { // it was rolled back, and knows nothing of what was said before
			change(w, w.gateways, key, func(o *spokev1alpha1.InterconnectGateway) { o.Status.AgentVersion = olderAgent })
		}
		return
	}
	holds := []spokev1alpha1.Hold{}
	for _, h := range inOrder(a.copies) {
		holds = append(holds, h)
	}
	slices.SortStableFunc(holds, func(x, y spokev1alpha1.Hold) int { return strings.Compare(x.VpcUID, y.VpcUID) })
	generation := g.Generation
	for _, o := range a.seen {
		if slices.Contains(g.Spec.ReleasedVpcs, o.Spec.VpcUID) {
			generation = g.Status.HoldsGeneration
		}
	}
	if g.Status.Holds != nil && reflect.DeepEqual(*g.Status.Holds, holds) && g.Status.HoldsGeneration == generation && g.Status.AgentVersion == newerAgent {
		return
	}
	change(w, w.gateways, key, func(o *spokev1alpha1.InterconnectGateway) {
		o.Status.Holds, o.Status.HoldsGeneration = &holds, generation
		o.Status.AgentVersion, o.Status.HoldsVersion = newerAgent, newerAgent
	})
}
