// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"fmt"
	"slices"
	"strings"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
)

// end is one of the two Vpcs of a peering, as its status sees it.
type end struct {
	*footprint
	*realization
}

// peeringStatus is the status of a VpcPeering. The ends count only when it is active.
func peeringStatus(v *peeringView, verdict *peeringVerdict, address *peerAddress, programmable bool, a, b end, e *encryption) *networkv1alpha1.VpcPeeringStatus {
	s := &networkv1alpha1.VpcPeeringStatus{State: verdict.state}
	c := chain{generation: v.generation}
	c.accept(verdict.refused)
	if !verdict.active {
		c.add(networkv1alpha1.ConditionAllocated, nil, "", "")
		c.add(networkv1alpha1.ConditionProgrammed, nil, "", "")
		c.add(networkv1alpha1.ConditionVerified, nil, "", "")
		s.Conditions = c.conditions
		return s
	}
	var waiting waits
	var probes probing
	for _, cluster := range clustersOf(a.footprint, b.footprint) {
		pc := networkv1alpha1.PeeringCluster{Name: networkv1alpha1.ClusterName(cluster)}
		state := joinStates(a, b, cluster)
		if !programmable {
			state = partState{message: "nothing is programmed before everything is allocated"}
		}
		waiting.add(cluster, state)
		fromHere := probing{}
		fromHere.from(a, b, cluster)
		fromHere.from(b, a, cluster)
		probes.join(&fromHere)
		pc.Programmed, pc.Verified = state.programmed, state.programmed && fromHere.refusal() == nil
		if pc.Message = state.message; state.programmed {
			pc.Message = fromHere.message()
		}
		s.Clusters = append(s.Clusters, pc)
	}
	if programmable && (v.wasActive || len(waiting.messages) == 0) {
		s.State = networkv1alpha1.StateActive
	}
	c.add(networkv1alpha1.ConditionAllocated, address.refused, networkv1alpha1.ReasonAllocated, fmt.Sprintf("%d links between routers of one cluster", len(address.links)))
	c.add(networkv1alpha1.ConditionProgrammed, waiting.refusal(), networkv1alpha1.ReasonProgrammed, programmedMessage(len(s.Clusters)))
	c.add(networkv1alpha1.ConditionVerified, probes.refusal(), networkv1alpha1.ReasonVerified, "every probe was answered, in both directions")
	encrypted := pairs{encryption: e}
	encrypted.between(a.footprint, b.footprint)
	encrypted.report(&c)
	s.Conditions = c.conditions
	return s
}

// clustersOf lists the clusters of two Vpcs in order.
func clustersOf(a, b *footprint) []string {
	var all []string
	for _, f := range []*footprint{a, b} {
		for _, s := range f.sites {
			all = append(all, s.cluster)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// joinStates is the state of a peering in a cluster that has one router of it or both.
func joinStates(a, b end, cluster string) partState {
	joined := partState{programmed: true}
	add := func(from, to end) {
		if site := from.realization.in(cluster); site != nil {
			if state := site.to(to.key); !state.programmed {
				joined = partState{failed: joined.failed || state.failed, message: state.message}
			}
		}
	}
	add(a, b)
	add(b, a)
	return joined
}

// probing collects the probes that are not answered.
type probing struct {
	unanswered []string
	awaited    []string
}

// from looks at the probes from a Vpc's router in a cluster to all routers of its peer.
func (p *probing) from(a, b end, cluster string) {
	state := a.realization.in(cluster)
	if state == nil {
		return
	}
	for _, target := range b.sites() {
		path := fmt.Sprintf("from %s in %s to %s in %s", a.key, cluster, b.key, target)
		i := slices.IndexFunc(state.reached, func(r reach) bool { return r.vpc == string(b.key) && r.cluster == target })
		switch {
		case i < 0:
			p.awaited = append(p.awaited, path)
		case !state.reached[i].reachable:
			p.unanswered = append(p.unanswered, path)
		}
	}
}

// sites lists the clusters of an end.
func (e end) sites() []string {
	var all []string
	for _, s := range e.footprint.sites {
		all = append(all, s.cluster)
	}
	return all
}

func (p *probing) join(q *probing) {
	p.unanswered = append(p.unanswered, q.unanswered...)
	p.awaited = append(p.awaited, q.awaited...)
}

// refusal says which probes have no answer; nil when all have.
func (p *probing) refusal() *refusal {
	switch {
	case len(p.unanswered) > 0:
		return refuse(networkv1alpha1.ReasonProbeFailed, "no answer %s", strings.Join(p.unanswered, "; "))
	case len(p.awaited) > 0:
		return refuse(networkv1alpha1.ReasonProbing, "no probe yet %s", strings.Join(p.awaited, "; "))
	}
	return nil
}

func (p *probing) message() string {
	if r := p.refusal(); r != nil {
		return r.message
	}
	return ""
}
