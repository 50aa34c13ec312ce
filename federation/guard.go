// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

// The guard is the last pass: whatever the others were certain of, no plan takes more than a share of what is distributed away from the clusters
// before somebody has confirmed exactly that (docs/decisions/0015).
//
// What is held stays whole, as it was distributed: an object that would lose something and gain something else keeps its old spec. A union of both
// would be a state that no plan ever decided, with one prefix in two clusters. Objects that only gain are written.

const (
	// defaultRemovalPercent is the share when nobody has set one.
	defaultRemovalPercent = 20
	// freeObjects may lose something without a question: small fleets change as a whole.
	freeObjects = 10
	// maxExamples of what is held back.
	maxExamples = 10
	// digestBytes of a digest: short enough to be typed.
	digestBytes = 8
)

// Brake bounds what a plan may take away.
type Brake struct {
	// MaxRemovalPercent of what is distributed, from 1 to 100; 0 is 20.
	MaxRemovalPercent int32
	// Confirmed is the digest that an administrator has confirmed: of a Removal, or of a Doubt.
	Confirmed string
	// Granted is what was confirmed and is being carried out, Removal.Granted of the plan before: a pass may not do all of it. It is not asked about again,
	// whatever else is lost in the meantime.
	Granted map[string]bool
	// Past is what was distributed a while ago. What has gone since then counts too, or a removal in small steps would never be one.
	Past Past
}

// Past is how much each distributed object had.
type Past map[pastKey]weight

type pastKey struct {
	kind string
	key  Key
}

// Remember notes what is distributed now.
func Remember(s *Snapshot) Past {
	past := make(Past, len(s.Routers)+len(s.Gateways))
	for _, r := range s.Routers {
		if r.DeletionTimestamp == nil {
			past[pastKey{kindRouter, keyOf(r)}] = weight{routers: 1, ways: waysOf(&r.Spec)}
		}
	}
	for _, g := range s.Gateways {
		if g.DeletionTimestamp == nil {
			past[pastKey{kindGateway, keyOf(g)}] = weight{gateways: 1, endpoints: endpointsOf(&g.Spec)}
		}
	}
	return past
}

// Kinds of what is distributed.
const (
	kindRouter  = "LocalRouter"
	kindGateway = "InterconnectGateway"
)

// weight is an amount of what is distributed.
type weight struct {
	routers, ways, gateways, endpoints int
}

func (w weight) minus(v weight) weight {
	return weight{w.routers - v.routers, w.ways - v.ways, w.gateways - v.gateways, w.endpoints - v.endpoints}
}

func (w weight) plus(v weight) weight {
	return weight{w.routers + v.routers, w.ways + v.ways, w.gateways + v.gateways, w.endpoints + v.endpoints}
}

// below is what w lacks of v.
func (w weight) below(v weight) weight {
	return weight{max(0, v.routers-w.routers), max(0, v.ways-w.ways), max(0, v.gateways-w.gateways), max(0, v.endpoints-w.endpoints)}
}

// exceeds is true when any of w is more than that many percent of the same of all.
func (w weight) exceeds(percent int, all weight) bool {
	over := func(part, whole int) bool { return part*100 > whole*percent }
	return over(w.routers, all.routers) || over(w.ways, all.ways) || over(w.gateways, all.gateways) || over(w.endpoints, all.endpoints)
}

// loss is what one object would lose.
type loss struct {
	kind string
	key  Key
	weight
	// what goes, for the digest; because is why, for people.
	what, because string
}

// item names exactly this loss.
func (l *loss) item() string { return l.kind + " " + string(l.key) + ": " + l.what }

// noLoss is the loss of an object that keeps all that it has.
var noLoss loss

// Removal is what a plan takes away, when it is more than it may without being asked.
type Removal struct {
	// Digest of exactly this removal.
	Digest string
	// Held is true while nobody has confirmed it: nothing of it is in the Result.
	Held bool
	// Items of it, when it is held; who confirms the digest grants these.
	Items map[string]bool
	// Granted is what was confirmed, now or before, and is in the Result, for Brake.Granted.
	Granted map[string]bool
	granted []*loss
	// Objects that go or lose something now, of all.
	Objects, TotalObjects int
	// Routers and Gateways that go; Ways (remotes, peers, subnets, routes of routers) and Endpoints (with nodes) that go or shrink. Each of all.
	Routers, TotalRouters, Ways, TotalWays, Gateways, TotalGateways, Endpoints, TotalEndpoints int
	// Earlier are the objects that have lost something a while ago already, which counted too.
	Earlier int
	// Percent that would have been free.
	Percent int
	// Examples for people.
	Examples []string
}

// After is what is distributed when all that was granted has gone.
func (r *Removal) After(s *Snapshot) Past {
	past := Remember(s)
	for _, l := range r.granted {
		k := pastKey{l.kind, l.key}
		if left := past[k].minus(l.weight); left.routers+left.gateways > 0 {
			past[k] = left
		} else {
			delete(past, k)
		}
	}
	return past
}

// guard judges the losses of a plan. What is distributed weighs all, in that many objects.
func guard(b *Brake, losses []*loss, earlier []*loss, all weight, objects int) *Removal {
	r := &Removal{Items: map[string]bool{}, Granted: map[string]bool{}, TotalObjects: objects, Percent: int(b.MaxRemovalPercent)}
	if r.Percent == 0 {
		r.Percent = defaultRemovalPercent
	}
	var fresh []*loss
	for _, l := range losses {
		if b.Granted[l.item()] {
			r.grant(l)
			all = all.minus(l.weight)
		} else {
			fresh = append(fresh, l)
		}
	}
	r.weigh(fresh, earlier, all)
	if r.Held && r.Digest == b.Confirmed {
		for _, l := range fresh {
			r.grant(l)
		}
		r.Held = false
	}
	if !r.Held && len(r.granted) == 0 {
		return nil
	}
	return r
}

func (r *Removal) grant(l *loss) {
	r.granted = append(r.granted, l)
	r.Granted[l.item()] = true
}

// weigh holds what nobody has confirmed when it is too much, with what has gone earlier.
func (r *Removal) weigh(losses, earlier []*loss, all weight) {
	now, gone := weight{}, weight{}
	touched := map[pastKey]bool{}
	for _, l := range losses {
		now = now.plus(l.weight)
		touched[pastKey{l.kind, l.key}] = true
	}
	for _, l := range earlier {
		gone = gone.plus(l.weight)
		touched[pastKey{l.kind, l.key}] = true
	}
	if len(losses) == 0 || !now.plus(gone).counting(touched).exceeds(r.Percent, all.plus(gone)) {
		return
	}
	r.Held, r.Objects, r.Earlier = true, len(losses), len(touched)-len(losses)
	r.Routers, r.TotalRouters, r.Ways, r.TotalWays = now.routers, all.routers, now.ways, all.ways
	r.Gateways, r.TotalGateways, r.Endpoints, r.TotalEndpoints = now.gateways, all.gateways, now.endpoints, all.endpoints
	for _, l := range losses {
		r.Items[l.item()] = true
		if len(r.Examples) < maxExamples {
			r.Examples = append(r.Examples, clip(fmt.Sprintf("%s %s: %s", l.kind, l.key, l.because), maxMessage))
		}
	}
	r.Digest = digest(r.Items)
}

// counting leaves out what few objects have lost: many routers that lose a way each say nothing of one gateway that is replaced.
func (w weight) counting(touched map[pastKey]bool) weight {
	routers := 0
	for key := range touched {
		if key.kind == kindRouter {
			routers++
		}
	}
	if routers <= freeObjects {
		w.routers, w.ways = 0, 0
	}
	if len(touched)-routers <= freeObjects {
		w.gateways, w.endpoints = 0, 0
	}
	return w
}

// digest of a set of words.
func digest(items map[string]bool) string {
	sum := sha256.New()
	for _, item := range slices.Sorted(maps.Keys(items)) {
		fmt.Fprintf(sum, "%d:%s", len(item), item)
	}
	return hex.EncodeToString(sum.Sum(nil)[:digestBytes])
}

// waysOf counts what leads somewhere in a router.
func waysOf(s *spokev1alpha1.LocalRouterSpec) int {
	return len(s.Remotes) + len(s.Peers) + len(s.Subnets) + len(s.Routes)
}

// endpointsOf counts what others may send to in a cluster, and the ranges that its routers send to its gateways.
func endpointsOf(s *spokev1alpha1.InterconnectGatewaySpec) int {
	return len(s.Endpoints) + len(s.Nodes) + len(s.LinkCIDRs)
}

// routerLoss is what a router would lose by a new spec.
func routerLoss(o, desired *spokev1alpha1.LocalRouter) *loss {
	was, will := &o.Spec, &desired.Spec
	if was.Vpc != will.Vpc || was.VpcUID != will.VpcUID || was.LinkCIDR != will.LinkCIDR {
		l := &loss{kind: kindRouter, key: keyOf(o), weight: weight{ways: waysOf(was)}}
		l.what = fmt.Sprintf("from %v %s %s to %v %s %s", was.Vpc, was.VpcUID, was.LinkCIDR, will.Vpc, will.VpcUID, will.LinkCIDR)
		l.because = "becomes another router: " + l.what
		return l
	}
	gone := slices.Concat(remotesLost(was, will), peersLost(was, will))
	for _, n := range was.Subnets {
		if !slices.ContainsFunc(will.Subnets, func(m spokev1alpha1.RouterSubnet) bool { return m.Name == n.Name && m.CIDR == n.CIDR }) {
			gone = append(gone, "subnet "+n.Name+" "+n.CIDR)
		}
	}
	for _, route := range without(was.Routes, will.Routes) {
		gone = append(gone, "route "+route)
	}
	return newLoss(kindRouter, keyOf(o), weight{ways: len(gone)}, gone)
}

// remotesLost are the remotes that go or lose prefixes.
func remotesLost(was, will *spokev1alpha1.LocalRouterSpec) []string {
	var gone []string
	for _, r := range was.Remotes {
		i := slices.IndexFunc(will.Remotes, func(n spokev1alpha1.Remote) bool { return n.Vpc == r.Vpc && n.Cluster == r.Cluster })
		if i < 0 {
			gone = append(gone, fmt.Sprintf("%s/%s in %s", r.Vpc.Namespace, r.Vpc.Name, r.Cluster))
		} else if lost := without(r.Prefixes, will.Remotes[i].Prefixes); len(lost) > 0 {
			gone = append(gone, fmt.Sprintf("%s of %s/%s in %s", strings.Join(lost, " "), r.Vpc.Namespace, r.Vpc.Name, r.Cluster))
		}
	}
	return gone
}

// peersLost are the peers that go or lose prefixes.
func peersLost(was, will *spokev1alpha1.LocalRouterSpec) []string {
	var gone []string
	for _, p := range was.Peers {
		i := slices.IndexFunc(will.Peers, func(n spokev1alpha1.LocalPeer) bool {
			return n.Vpc == p.Vpc && n.LocalConnectIP == p.LocalConnectIP && n.RemoteConnectIP == p.RemoteConnectIP
		})
		if i < 0 {
			gone = append(gone, fmt.Sprintf("peer %s/%s", p.Vpc.Namespace, p.Vpc.Name))
		} else if lost := without(p.Prefixes, will.Peers[i].Prefixes); len(lost) > 0 {
			gone = append(gone, fmt.Sprintf("%s of peer %s/%s", strings.Join(lost, " "), p.Vpc.Namespace, p.Vpc.Name))
		}
	}
	return gone
}

// gatewayLoss is what a cluster's gateways would lose by a new spec.
func gatewayLoss(o, desired *spokev1alpha1.InterconnectGateway) *loss {
	var gone []string
	for _, e := range o.Spec.Endpoints {
		if !slices.ContainsFunc(desired.Spec.Endpoints, func(n spokev1alpha1.GatewayEndpoint) bool { return n.Node == e.Node && n.Address == e.Address }) {
			gone = append(gone, "gateway "+e.Node+" "+e.Address)
		}
	}
	for _, e := range o.Spec.Nodes {
		if !slices.Contains(desired.Spec.Nodes, e) {
			gone = append(gone, "node "+e.Node+" "+e.Address)
		}
	}
	for _, link := range without(o.Spec.LinkCIDRs, desired.Spec.LinkCIDRs) {
		gone = append(gone, "links "+link)
	}
	return newLoss(kindGateway, keyOf(o), weight{endpoints: len(gone)}, gone)
}

func newLoss(kind string, key Key, w weight, gone []string) *loss {
	if len(gone) == 0 {
		return &noLoss
	}
	what := strings.Join(gone, ", ")
	return &loss{kind: kind, key: key, weight: w, what: what, because: "loses " + what}
}

// without are the words of a that are not in b.
func without(a, b []string) []string {
	var lost []string
	for _, word := range a {
		if !slices.Contains(b, word) {
			lost = append(lost, word)
		}
	}
	return lost
}
