// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// onCopy is told of what a cluster goes by.
func (s *Witness) onCopy(cluster string, object client.Object, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dead := gone || object.GetDeletionTimestamp() != nil
	switch o := object.(type) {
	case *spokev1alpha1.LocalRouter:
		before := remember(s.copies[cluster], o, gone)
		if dead {
			s.removed[cluster+"/"+o.Spec.VpcUID] = true
		} else {
			s.copied(cluster, o)
		}
		if before != nil {
			s.compare(cluster, before, o, dead, equality.Semantic.DeepEqual(before.Spec, o.Spec))
		}
		s.holders()
	case *spokev1alpha1.InterconnectGateway:
		if before := remember(s.gateways[cluster], o, gone); before != nil {
			s.compare(cluster, before, o, dead, equality.Semantic.DeepEqual(before.Spec, o.Spec))
		}
	}
}

// remember keeps an object, and gives the one that was kept before.
func remember[O client.Object](all map[string]O, object O, gone bool) O {
	before := all[object.GetName()]
	if gone {
		delete(all, object.GetName())
	} else {
		all[object.GetName()] = object
	}
	return before
}

// compare looks at a copy that has changed or gone.
func (s *Witness) compare(cluster string, before, now client.Object, dead, sameSpec bool) {
	s.follows(cluster, before.GetDeletionTimestamp() == nil && dead, before.GetAnnotations()[spokev1alpha1.AnnotationHubUID], now.GetName())
	if before.GetUID() == now.GetUID() && !dead {
		s.aged(cluster, before, now, sameSpec)
	}
}

// follows: a copy that is deleted follows a tombstone of the very object that it is the copy of.
func (s *Witness) follows(cluster string, deleted bool, uid, name string) {
	if !deleted {
		return
	}
	s.expect(func() bool {
		return s.tombstones[uid] || s.touched["cluster/"+cluster] || s.touched["copy/"+cluster+"/"+name]
	},
		"I1: %s deletes its copy %s, and the hub's object (UID %s) has no tombstone", cluster, name, uid)
}

// copied: a copy says what the hub has said, once.
func (s *Witness) copied(cluster string, o *spokev1alpha1.LocalRouter) {
	key, sum := cluster+"/"+o.Name, digest(&o.Spec)
	s.expect(func() bool { return s.said[key][sum] },
		"I1: the copy %s says what the hub never said: %s", key, compact(&o.Spec))
}

// aged: an older generation of the same object never replaces a newer one that says something else.
func (s *Witness) aged(cluster string, before, now client.Object, sameSpec bool) {
	if before.GetAnnotations()[spokev1alpha1.AnnotationHubUID] != now.GetAnnotations()[spokev1alpha1.AnnotationHubUID] || sameSpec {
		return
	}
	was, is := generation(before), generation(now)
	if is < was {
		s.fail("I3: the copy %s in %s goes from generation %d back to %d", now.GetName(), cluster, was, is)
	}
}

func generation(o client.Object) int64 {
	g, err := strconv.ParseInt(o.GetAnnotations()[spokev1alpha1.AnnotationHubGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return g
}

func compact(spec *spokev1alpha1.LocalRouterSpec) string {
	text, err := json.Marshal(spec)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func digest(spec *spokev1alpha1.LocalRouterSpec) string {
	sum := sha256.Sum256([]byte(compact(spec)))
	return hex.EncodeToString(sum[:8])
}

// holding is one value of a pool in one router.
type holding struct {
	value string
	// vpc and uid of who has it; uid is empty where only the name is told. place tells sites of a Vpc apart.
	vpc, uid, place string
	where           *spokev1alpha1.LocalRouter
	server          *world.Server
}

// same is true for two records of one holder.
func (h holding) same(other holding) bool {
	return h.vpc == other.vpc && h.place == other.place && (h.uid == other.uid || h.uid == "" || other.uid == "")
}

var pooled = []netip.Prefix{netip.MustParsePrefix("10.200.0.0/20"), netip.MustParsePrefix("100.64.0.0/24")}

// fromPool is true for prefixes that pools hand out: people may give the others to several Vpcs.
func fromPool(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && (pooled[0].Overlaps(p) || pooled[1].Overlaps(p))
}

func (s *Witness) holdingsOf(server *world.Server, cluster string, r *spokev1alpha1.LocalRouter) []holding {
	name := vpcName(r.Spec.Vpc)
	own := func(value, place string) holding {
		return holding{value: value, vpc: name, uid: r.Spec.VpcUID, place: place, where: r, server: server}
	}
	all := []holding{own(vni(r.Spec.Vpc), ""), own(r.Spec.LinkCIDR, cluster)}
	for _, n := range r.Spec.Subnets {
		if fromPool(n.CIDR) {
			all = append(all, own(n.CIDR, cluster))
		}
	}
	for _, m := range r.Spec.Remotes {
		all = append(all, holding{value: vni(m.Vpc), vpc: vpcName(m.Vpc), where: r, server: server})
		for _, p := range m.Prefixes {
			if fromPool(p) {
				all = append(all, holding{value: p, vpc: vpcName(m.Vpc), place: m.Cluster, where: r, server: server})
			}
		}
	}
	return all
}

func vni(v spokev1alpha1.VpcIdentity) string { return "VNI " + strconv.Itoa(int(v.VNI)) }

func overlap(a, b string) bool {
	p, err := netip.ParsePrefix(a)
	q, other := netip.ParsePrefix(b)
	if err != nil || other != nil {
		return a == b
	}
	return p.Overlaps(q)
}

// holders looks for a value with two holders. The lock is held.
func (s *Witness) holders() {
	byValue := map[string][]holding{}
	var values []string
	add := func(all []holding) {
		for _, h := range all {
			if byValue[h.value] == nil {
				values = append(values, h.value)
			}
			byValue[h.value] = append(byValue[h.value], h)
		}
	}
	for _, r := range s.hub {
		add(s.holdingsOf(s.world.Hub, r.Namespace, r))
	}
	for _, spoke := range s.world.Spokes {
		for _, r := range s.copies[spoke.Name] {
			add(s.holdingsOf(spoke.Server, spoke.Name, r))
		}
	}
	for i, value := range values {
		for _, other := range values[i:] {
			if !overlap(value, other) {
				continue
			}
			if a, b, found := clash(byValue[value], byValue[other]); found {
				s.done.Go(func() { s.confirm(a, b) })
			}
		}
	}
}

func clash(some, others []holding) (a, b holding, found bool) {
	for _, a := range some {
		for _, b := range others {
			if !a.same(b) {
				return a, b, true
			}
		}
	}
	return a, b, false
}

// confirm asks both servers themselves: one watch may be behind the other.
func (s *Witness) confirm(a, b holding) {
	if !s.still(a) || !s.still(b) || !s.still(a) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail("I2: %s of Vpc %s (UID %s) in LocalRouter %s of %s is also %s of Vpc %s (UID %s) in LocalRouter %s of %s",
		a.value, a.vpc, a.uid, keyOf(a.where), a.server.Name, b.value, b.vpc, b.uid, keyOf(b.where), b.server.Name)
}

// still is true when a router has a value now.
func (s *Witness) still(h holding) bool {
	var now spokev1alpha1.LocalRouter
	if err := h.server.Admin.Get(s.ctx, client.ObjectKeyFromObject(h.where), &now); err != nil || now.UID != h.where.UID {
		return false
	}
	for _, other := range s.holdingsOf(h.server, clusterOf(h), &now) {
		if other.value == h.value && other.vpc == h.vpc && other.uid == h.uid && other.place == h.place {
			return true
		}
	}
	return false
}

// clusterOf is the cluster that a record is in: the hub has one namespace for each.
func clusterOf(h holding) string {
	if h.server.Name == "hub" {
		return h.where.Namespace
	}
	return h.server.Name
}
