// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"maps"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// withheld are the keys of objects that this plan leaves as they are although it decided otherwise.
type withheld struct {
	routers, gateways map[Key]bool
}

// brake finds what the plan takes away, and whether it may.
func (p *Planner) brake(b *Brake, deletions []Deletion) *Removal {
	losses, all := p.losses(deletions)
	p.held = withheld{}
	if len(losses) == 0 {
		return nil
	}
	slices.SortFunc(losses, func(a, b *loss) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key)) })
	r := guard(b, losses, p.lostBefore(b.Past), all, len(p.routers.sorted)+len(p.gateways.sorted))
	if r == nil || !r.Held {
		return r
	}
	p.held = withheld{routers: map[Key]bool{}, gateways: map[Key]bool{}}
	for _, l := range losses {
		if r.Granted[l.item()] {
			continue
		}
		if l.kind == kindRouter {
			p.held.routers[l.key] = true
		} else {
			p.held.gateways[l.key] = true
		}
	}
	return r
}

// losses are what each distributed object loses, and what all of them have.
func (p *Planner) losses(deletions []Deletion) (losses []*loss, all weight) {
	because := map[pastKey]string{}
	for _, d := range deletions {
		because[pastKey{d.Kind, d.Key}] = d.Because
	}
	for _, n := range p.routers.sorted {
		has := weight{routers: 1, ways: waysOf(n.spec)}
		all = all.plus(has)
		why, goes := because[pastKey{kindRouter, n.key}]
		switch {
		case n.obj.DeletionTimestamp != nil: // it went before
		case goes:
			losses = append(losses, &loss{kind: kindRouter, key: n.key, weight: has, what: "deleted " + string(n.obj.UID), because: "deleted, " + why})
		case n.desired != nil:
			if l := n.loss.get(func() *loss { return routerLoss(n.obj, n.desired) }, n.obj, n.desired); l.what != "" {
				losses = append(losses, l)
			}
		}
	}
	desired := make(map[Key]*spokev1alpha1.InterconnectGateway, len(p.gateway.value.list))
	for _, g := range p.gateway.value.list {
		desired[keyOf(g)] = g
	}
	for _, n := range p.gateways.sorted {
		has := weight{gateways: 1, endpoints: endpointsOf(&n.obj.Spec)}
		all = all.plus(has)
		why, goes := because[pastKey{kindGateway, n.key}]
		switch {
		case n.obj.DeletionTimestamp != nil:
		case goes:
			losses = append(losses, &loss{kind: kindGateway, key: n.key, weight: has, what: "deleted " + string(n.obj.UID), because: "deleted, " + why})
		case desired[n.key] != nil:
			if l := n.loss.get(func() *loss { return gatewayLoss(n.obj, desired[n.key]) }, n.obj, desired[n.key]); l.what != "" {
				losses = append(losses, l)
			}
		}
	}
	return losses, all
}

// lostBefore is what has gone of what was distributed a while ago.
func (p *Planner) lostBefore(past Past) []*loss {
	var lost []*loss
	for k, had := range past {
		has := weight{}
		if n := p.routers.byKey[k.key]; k.kind == kindRouter && n != nil && n.obj.DeletionTimestamp == nil {
			has = weight{routers: 1, ways: waysOf(n.spec)}
		}
		if n := p.gateways.byKey[k.key]; k.kind == kindGateway && n != nil && n.obj.DeletionTimestamp == nil {
			has = weight{gateways: 1, endpoints: endpointsOf(&n.obj.Spec)}
		}
		if gone := has.below(had); gone != (weight{}) {
			lost = append(lost, &loss{kind: k.kind, key: k.key, weight: gone})
		}
	}
	return lost
}

// holdBack takes what is withheld out of the Result: what is in neither its maps nor its Deletions stays as it is. Changes are those of what is
// handed out.
func (p *Planner) holdBack(r *Result, c *Changes) {
	held := len(p.held.routers)+len(p.held.gateways) > 0
	if held {
		r.Routers, r.Gateways = minus(r.Routers, p.held.routers), minus(r.Gateways, p.held.gateways)
		r.Deletions = slices.DeleteFunc(r.Deletions, func(d Deletion) bool {
			return d.Kind == kindRouter && p.held.routers[d.Key] || d.Kind == kindGateway && p.held.gateways[d.Key]
		})
	}
	if held || p.wasHeld {
		c.Routers, c.Gateways = changed(p.handed.routers, r.Routers), changed(p.handed.gateways, r.Gateways)
	}
	p.wasHeld, p.handed = held, handed{r.Routers, r.Gateways}
}

// handed is what the last Result had.
type handed struct {
	routers  map[Key]*spokev1alpha1.LocalRouter
	gateways map[Key]*spokev1alpha1.InterconnectGateway
}

func minus[V any](m map[Key]V, held map[Key]bool) map[Key]V {
	rest := maps.Clone(m)
	maps.DeleteFunc(rest, func(key Key, _ V) bool { return held[key] })
	return rest
}

// changed are the keys whose values differ.
func changed[V comparable](before, after map[Key]V) []Key {
	var all []Key
	for key, v := range after {
		if was, had := before[key]; !had || was != v {
			all = append(all, key)
		}
	}
	for key := range before {
		if _, has := after[key]; !has {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	return all
}
