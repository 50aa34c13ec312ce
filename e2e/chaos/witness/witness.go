// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package witness looks on, past all faults, and says when a promise is broken:
//
//	I1  nothing is taken away from a cluster without its tombstone, or an act of a person that implies it
//	I2  no VNI, link or CIDR of a pool has two holders, on the hub or in any cluster
//	I3  the generation that a cluster goes by never decreases
//
// It watches the hub's API server, each cluster's and each cluster's northbound database. What one of them shows before
// another one is waited for; a broken promise that is seen is looked at once more, on the servers themselves.
package witness

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	networkv1alpha1 "github.com/tombolo-io/tombolo/apis/network/v1alpha1"
	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
	"github.com/tombolo-io/tombolo/charts"
	"github.com/tombolo-io/tombolo/e2e/chaos/world"
)

// patience is how far two servers' watches may be apart.
const patience = 5 * time.Second

// Witness looks on.
type Witness struct {
	world *world.World
	// Databases by cluster.
	Databases map[string]*Northbound

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup

	mu         sync.Mutex
	touched    map[string]bool
	tombstones map[string]bool            // UIDs of the hub's objects that were deleted
	said       map[string]map[string]bool // per cluster and name: every spec that the hub ever had
	removed    map[string]bool            // cluster/VpcUID of copies that were deleted
	hub        map[string]*spokev1alpha1.LocalRouter
	copies     map[string]map[string]*spokev1alpha1.LocalRouter
	gateways   map[string]map[string]*spokev1alpha1.InterconnectGateway
	pending    []doubt
	broken     []string
}

// doubt is something that must turn out to be right before until.
type doubt struct {
	until time.Time
	right func() bool
	text  string
}

// Start looks at a world.
func Start(ctx context.Context, w *world.World) (*Witness, error) {
	s := &Witness{world: w, Databases: map[string]*Northbound{}}
	s.ctx, s.stop = context.WithCancel(ctx)
	s.forget()
	s.hub = map[string]*spokev1alpha1.LocalRouter{}
	s.copies, s.gateways = map[string]map[string]*spokev1alpha1.LocalRouter{}, map[string]map[string]*spokev1alpha1.InterconnectGateway{}
	routers := func() client.ObjectList { return &spokev1alpha1.LocalRouterList{} }
	gateways := func() client.ObjectList { return &spokev1alpha1.InterconnectGatewayList{} }
	followers := []*follower{
		{server: w.Hub, list: routers, saw: s.onHub}, {server: w.Hub, list: gateways, saw: s.onHub},
		{server: w.Hub, list: func() client.ObjectList { return &networkv1alpha1.IPPoolList{} }, saw: s.onPool},
	}
	for _, spoke := range w.Spokes {
		s.copies[spoke.Name], s.gateways[spoke.Name] = map[string]*spokev1alpha1.LocalRouter{}, map[string]*spokev1alpha1.InterconnectGateway{}
		followers = append(followers,
			&follower{server: spoke.Server, namespace: charts.Namespace, list: routers, saw: func(o client.Object, gone, _ bool) { s.onCopy(spoke.Name, o, gone) }},
			&follower{server: spoke.Server, namespace: charts.Namespace, list: gateways, saw: func(o client.Object, gone, _ bool) { s.onCopy(spoke.Name, o, gone) }})
		database, err := watchNorthbound(s.ctx, spoke.Northbound, func(owner string) { s.onRowGone(spoke.Name, owner) })
		if err != nil {
			s.Stop()
			return nil, err
		}
		s.Databases[spoke.Name] = database
	}
	ready := make(chan struct{}, len(followers))
	for _, f := range followers {
		s.done.Go(func() { f.run(s.ctx, func() { ready <- struct{}{} }) })
	}
	for range followers {
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.done.Go(s.resolve)
	return s, nil
}

// Stop ends it.
func (s *Witness) Stop() {
	s.stop()
	for _, d := range s.Databases {
		d.close()
	}
	s.done.Wait()
}

// Begin forgets what was broken before, and what people did.
func (s *Witness) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	for _, r := range s.hub {
		s.hear(r)
	}
}

// Empty waits until the witness has seen that nothing is left, and begins.
func (s *Witness) Empty(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; pause(ctx) {
		s.mu.Lock()
		left := len(s.hub)
		for cluster := range s.copies {
			left += len(s.copies[cluster]) + len(s.gateways[cluster])
		}
		s.mu.Unlock()
		if left == 0 {
			s.Begin()
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("%d objects are left after everything was removed", left)
		}
	}
}

func (s *Witness) forget() {
	s.touched, s.tombstones, s.said, s.removed = map[string]bool{}, map[string]bool{}, map[string]map[string]bool{}, map[string]bool{}
	s.pending, s.broken = nil, nil
}

// Touch says that a person does something that may take away what these names stand for: vpc/NAME, cluster/NAME,
// subnet/VPC, peering/A/B, hub/CLUSTER for everything that the hub has said to a cluster.
func (s *Witness) Touch(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.touched[name] = true
	}
}

// Broken lists the promises that were broken. It waits for what is still in doubt when wait is true.
func (s *Witness) Broken(wait bool) []string {
	for {
		s.mu.Lock()
		broken, pending := slices.Clone(s.broken), len(s.pending)
		s.mu.Unlock()
		if !wait || pending == 0 || len(broken) > 0 || s.ctx.Err() != nil {
			return broken
		}
		time.Sleep(again)
	}
}

// fail notes a broken promise, once. The lock is held.
func (s *Witness) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(s.broken, text) {
		s.broken = append(s.broken, text)
	}
}

// expect notes a doubt. The lock is held, and is held when right is called.
func (s *Witness) expect(right func() bool, format string, args ...any) {
	if !right() {
		s.pending = append(s.pending, doubt{time.Now().Add(patience), right, fmt.Sprintf(format, args...)})
	}
}

func (s *Witness) resolve() {
	for s.ctx.Err() == nil {
		pause(s.ctx)
		s.mu.Lock()
		s.pending = slices.DeleteFunc(s.pending, func(d doubt) bool {
			if d.right() {
				return true
			}
			if time.Now().Before(d.until) {
				return false
			}
			s.fail("%s", d.text)
			return true
		})
		s.mu.Unlock()
	}
}

func (s *Witness) hear(r *spokev1alpha1.LocalRouter) {
	key := r.Namespace + "/" + r.Name
	if s.said[key] == nil {
		s.said[key] = map[string]bool{}
	}
	s.said[key][digest(&r.Spec)] = true
}

// onHub is told of what the hub says to its clusters.
func (s *Witness) onHub(object client.Object, gone, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := keyOf(object)
	dead := gone && !lost || object.GetDeletionTimestamp() != nil
	if dead {
		s.tombstones[string(object.GetUID())] = true
	}
	r, ok := object.(*spokev1alpha1.LocalRouter)
	if !ok {
		return
	}
	before := s.hub[key]
	if gone {
		delete(s.hub, key)
	} else {
		s.hub[key] = r
		s.hear(r)
	}
	if dead && (before == nil || before.DeletionTimestamp == nil) && !s.may(r.Namespace, vpcName(r.Spec.Vpc)) {
		s.fail("I1: the hub deletes LocalRouter %s (generation %d), and nobody has done anything to its Vpc or cluster", key, r.Generation)
	}
	if before != nil && before.UID == r.UID && !gone {
		s.narrowed(key, before, r)
	}
	s.holders()
}

// may is true when a person has done something by which a Vpc may be taken from a cluster.
func (s *Witness) may(cluster, vpc string) bool {
	return s.touched["vpc/"+vpc] || s.touched["cluster/"+cluster] || s.touched["hub/"+cluster]
}

// narrowed looks whether the hub took a way out of a router that nobody asked it to.
func (s *Witness) narrowed(key string, before, now *spokev1alpha1.LocalRouter) {
	own := vpcName(now.Spec.Vpc)
	for way := range ways(&before.Spec) {
		if _, still := ways(&now.Spec)[way]; still {
			continue
		}
		if s.may(now.Namespace, own) || s.may(way.cluster, way.vpc) || s.touched[pair(own, way.vpc)] {
			continue
		}
		s.fail("I1: the hub takes the way to Vpc %s in %s out of LocalRouter %s (generation %d), and nobody has done anything to either", way.vpc, way.cluster, key, now.Generation)
	}
}

type way struct{ vpc, cluster string }

// ways are the Vpcs and clusters that a router leads to.
func ways(spec *spokev1alpha1.LocalRouterSpec) map[way]bool {
	all := map[way]bool{}
	for _, r := range spec.Remotes {
		all[way{vpcName(r.Vpc), r.Cluster}] = true
	}
	for _, p := range spec.Peers {
		all[way{vpcName(p.Vpc), ""}] = true
	}
	return all
}

// pair names a peering by its ends, in order.
func pair(a, b string) string { return "peering/" + min(a, b) + "/" + max(a, b) }

// Peering names a peering for Touch.
func Peering(a, b string) string { return pair(a, b) }

func vpcName(v spokev1alpha1.VpcIdentity) string { return v.Name }

// onPool is told of the ledgers.
func (s *Witness) onPool(object client.Object, gone, _ bool) {
	p, ok := object.(*networkv1alpha1.IPPool)
	if !ok || gone {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	holders := map[string]string{}
	for _, a := range p.Status.Allocations {
		owner := a.Owner + " (" + a.UID + ")"
		for value, other := range holders {
			if overlap(value, a.Value) && other != owner {
				s.fail("I2: pool %s has handed out %s to %s and %s to %s", p.Name, value, other, a.Value, owner)
			}
		}
		holders[a.Value] = owner
	}
}

// onRowGone is told that a router was taken out of OVN.
func (s *Witness) onRowGone(cluster, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect(func() bool { return s.removed[cluster+"/"+owner] || s.touched["cluster/"+cluster] },
		"I1: the router of Vpc %s was taken out of OVN of %s, and its copy was not deleted", owner, cluster)
}

// Touched lists what people have done, for a report.
func (s *Witness) Touched() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(s.touched)), " ")
}
