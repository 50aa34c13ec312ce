// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// maxLead is how far a cluster may say that the epoch is. No hub has had that many leaders more: who says so lies, and the count would run out.
const maxLead = 1 << 20

// Doubt is why this hub may not be the one that the clusters know.
type Doubt struct {
	// Reason is WentBack or ForeignHub.
	Reason string
	// Message for people, without the cure.
	Message string
	// Digest of exactly this doubt: who confirms it says that this hub is right.
	Digest string
	// Highest epoch that anybody has seen.
	Highest int64
	// Foreign are the identities of other hubs that wrote what is distributed.
	Foreign []string
}

// doubt looks for traces of another hub, and of a later time of this one.
func (p *Planner) doubt(s *Snapshot) *Doubt {
	if s.Hub.UID == "" {
		return nil
	}
	if foreign := p.foreign(&s.Hub); len(foreign) > 0 {
		return &Doubt{
			Reason: networkv1alpha1.ReasonForeignHub, Foreign: foreign, Highest: s.Hub.Epoch,
			Digest: digest(map[string]bool{"ForeignHub": true, s.Hub.UID: true, strings.Join(foreign, " "): true}),
			Message: fmt.Sprintf("What is distributed here was written by another hub (UID of its namespace kube-system: %s), and this one is %s: these objects were copied here, "+
				"or this API server is not the one that the fleet knows.", strings.Join(foreign, ", "), s.Hub.UID),
		}
	}
	highest, witnesses := p.later(&s.Hub)
	if len(witnesses) == 0 {
		return nil
	}
	return &Doubt{
		Reason: networkv1alpha1.ReasonWentBack, Highest: max(highest, s.Hub.Epoch),
		Digest: digest(map[string]bool{"WentBack": true, s.Hub.UID: true, fmt.Sprint(s.Hub.RestoredEpoch, " ", highest): true}),
		Message: fmt.Sprintf("This hub has gone back in time, as after a restore from a backup: its epoch is %d, and %s.", s.Hub.Epoch,
			clip(strings.Join(witnesses, "; "), maxMessage)),
	}
}

// foreign are the identities of other hubs that wrote what is distributed, in order.
func (p *Planner) foreign(hub *Hub) []string {
	found := map[string]bool{}
	look := func(uid string) {
		if uid != "" && uid != hub.UID && !slices.Contains(hub.FormerUIDs, uid) {
			found[uid] = true
		}
	}
	look(hub.RecordedUID)
	for _, n := range p.gateways.sorted {
		look(n.obj.Spec.Hub.UID)
	}
	for _, n := range p.routers.sorted {
		look(n.writer)
	}
	return slices.Sorted(maps.Keys(found))
}

// later is the highest epoch that anybody has seen beyond the hub's, and who says that the hub has gone back. Only members are believed.
func (p *Planner) later(hub *Hub) (highest int64, witnesses []string) {
	if hub.SeenEpoch > hub.Epoch {
		highest = hub.SeenEpoch
		witnesses = append(witnesses, fmt.Sprintf("this process has seen %d", highest))
	}
	for _, n := range p.gateways.sorted {
		g := n.obj
		if g.Name != g.Namespace || p.fleet.value.unusable(g.Name) != "" {
			continue
		}
		if e := g.Status.ObservedEpoch; e > hub.Epoch && credible(e, hub.Epoch) {
			highest = max(highest, e)
			witnesses = append(witnesses, fmt.Sprintf("cluster %q has seen %d", g.Name, e))
		} else if c := wentBack(g, hub); c != nil {
			witnesses = append(witnesses, fmt.Sprintf("cluster %q says: %s", g.Name, clip(c.Message, maxName)))
		}
	}
	return highest, witnesses
}

// credible is true for an epoch that a cluster may have seen.
func credible(e, epoch int64) bool { return e <= epoch+maxLead }

// Told is the highest epoch that a member has seen, of a hub that counts epoch.
func Told(s *Snapshot, epoch int64) int64 {
	members, highest := newFleet(s), int64(0)
	for _, g := range s.Gateways {
		if e := g.Status.ObservedEpoch; g.Name == g.Namespace && credible(e, epoch) && members.unusable(g.Name) == "" {
			highest = max(highest, e)
		}
	}
	return highest
}

// wentBack is what a cluster says of a hub that has gone back, if it has been told all that was confirmed since.
func wentBack(g *spokev1alpha1.InterconnectGateway, hub *Hub) *metav1.Condition {
	c := meta.FindStatusCondition(g.Status.Conditions, spokev1alpha1.ConditionHubTrusted)
	if c == nil || c.Status != metav1.ConditionFalse || c.Reason != spokev1alpha1.ReasonWentBack ||
		g.Spec.Hub.UID != hub.UID || g.Spec.Hub.RestoredEpoch < hub.RestoredEpoch || c.ObservedGeneration < g.Generation {
		return nil
	}
	return c
}

// hubIdentity is what clusters are told of the hub.
type hubIdentity struct {
	uid             string
	epoch, restored int64
}

// stamp says in a gateway which hub it is from. The epoch is that of its last write: a new leader rewrites nothing for its epoch alone.
func (h hubIdentity) stamp(o *spokev1alpha1.InterconnectGateway, spec *spokev1alpha1.InterconnectGatewaySpec) {
	if h.uid == "" {
		return
	}
	spec.Hub = spokev1alpha1.HubIdentity{UID: h.uid, Epoch: h.epoch, RestoredEpoch: h.restored}
	if o == nil || o.Spec.Hub.Epoch < h.restored || o.Spec.Hub.Epoch == h.epoch {
		return
	}
	as := *spec
	as.Hub.Epoch = o.Spec.Hub.Epoch
	if equality.Semantic.DeepEqual(as, o.Spec) {
		spec.Hub.Epoch = as.Hub.Epoch
	}
}
