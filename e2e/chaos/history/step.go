// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history makes sequences of what people do and of what goes wrong, each from a seed, plays them on a world,
// heals it, and looks whether everything is as it should be.
package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
)

// Kind of a step.
type Kind string

// What people do.
const (
	MakeVpc    Kind = "make-vpc"
	DropVpc    Kind = "drop-vpc"
	MoveVpc    Kind = "move-vpc"
	MakePeer   Kind = "make-peering"
	DropPeer   Kind = "drop-peering"
	MakeSubnet Kind = "make-subnet"
	DropSubnet Kind = "drop-subnet"
	// Settle waits until all is as wanted.
	Settle Kind = "settle"
	// Pause lets some time go by.
	Pause Kind = "pause"
)

// What goes wrong.
const (
	// Inject a fault between Target and the API server of Server.
	Inject Kind = "inject"
	// Lie makes Target look anew at a Resource, and shows it a list that is empty or short.
	Lie Kind = "lie"
	// Cut breaks the connections of Target.
	Cut Kind = "cut"
	// Kill ends Target, Start starts it again.
	Kill  Kind = "kill"
	Start Kind = "start"
	// Stop freezes Target, and Go lets it go on.
	Stop Kind = "stop"
	Go   Kind = "go"
	// Heal ends all faults now, and not only at the end.
	Heal Kind = "heal"
	// Backup of the hub's etcd, and Restore of it.
	Backup  Kind = "backup"
	Restore Kind = "restore"
	// Definition deletes a CRD of the hub, with everything of that kind, and makes it again.
	Definition Kind = "recreate-crd"
	// Namespace deletes everything in the hub's namespace of a cluster.
	Namespace Kind = "delete-namespace"
	// Foreign puts another hub in the place of the agent's, and Home the right one.
	Foreign Kind = "foreign-hub"
	Home    Kind = "own-hub"
)

// Step of a history.
type Step struct {
	Kind Kind `json:"kind"`
	// Vpc, and Peer of a peering.
	Vpc  string `json:"vpc,omitempty"`
	Peer string `json:"peer,omitempty"`
	// Clusters of a Vpc; of a Subnet the first one counts.
	Clusters []string `json:"clusters,omitempty"`
	// Subnet by number; Pool: its CIDR comes from the pool.
	Subnet int  `json:"subnet,omitempty"`
	Pool   bool `json:"pool,omitempty"`
	// Target is "hub" or the cluster whose agent it is.
	Target string `json:"target,omitempty"`
	// Server is "hub" or "own": the API server of the agent's own cluster.
	Server   string        `json:"server,omitempty"`
	Fault    *faulty.Fault `json:"fault,omitempty"`
	Resource string        `json:"resource,omitempty"`
	Delay    time.Duration `json:"delay,omitempty"`
}

func (s Step) String() string {
	parts := []string{string(s.Kind)}
	add := func(format string, set bool, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add("%s", s.Vpc != "", s.Vpc)
	add("and %s", s.Peer != "", s.Peer)
	add("subnet %d", s.Subnet > 0, s.Subnet)
	add("from pool", s.Pool)
	add("in %s", len(s.Clusters) > 0, strings.Join(s.Clusters, ", "))
	add("%s", s.Resource != "", s.Resource)
	if s.Fault != nil {
		parts = append(parts, s.Fault.String())
	}
	add("for %s", s.Target != "", s.Target)
	add("at its %s server", s.Server != "", s.Server)
	add("%s", s.Delay > 0, s.Delay)
	return strings.Join(parts, " ")
}

// Wanted is what people want at the end of the steps so far.
type Wanted struct {
	// Vpcs with their clusters, by name.
	Vpcs map[string][]string
	// Subnets of a Vpc.
	Subnets map[string]map[int]Subnet
	// Peerings by the names of their ends, in order.
	Peerings map[[2]string]bool
}

// Subnet of a Vpc in one cluster.
type Subnet struct {
	Cluster string
	Pool    bool
}

func nothing() *Wanted {
	return &Wanted{Vpcs: map[string][]string{}, Subnets: map[string]map[int]Subnet{}, Peerings: map[[2]string]bool{}}
}

func ends(a, b string) [2]string { return [2]string{min(a, b), max(a, b)} }

// apply does to the wish what a step does. Steps that make no sense any more, as when others were left out, do nothing;
// then it is false.
func (w *Wanted) apply(s Step) bool {
	switch s.Kind {
	case MakeVpc, DropVpc, MoveVpc:
		return w.applyVpc(s)
	case MakePeer, DropPeer:
		return w.applyPeering(s)
	case MakeSubnet, DropSubnet:
		return w.applySubnet(s)
	}
	return true
}

func (w *Wanted) applyVpc(s Step) bool {
	if _, there := w.Vpcs[s.Vpc]; there == (s.Kind == MakeVpc) {
		return false
	}
	switch s.Kind {
	case MakeVpc:
		w.Vpcs[s.Vpc], w.Subnets[s.Vpc] = slices.Clone(s.Clusters), map[int]Subnet{}
	case DropVpc:
		delete(w.Vpcs, s.Vpc)
		delete(w.Subnets, s.Vpc)
		maps.DeleteFunc(w.Peerings, func(p [2]string, _ bool) bool { return p[0] == s.Vpc || p[1] == s.Vpc })
	case MoveVpc:
		w.Vpcs[s.Vpc] = slices.Clone(s.Clusters)
		maps.DeleteFunc(w.Subnets[s.Vpc], func(_ int, n Subnet) bool { return !slices.Contains(s.Clusters, n.Cluster) })
	}
	return true
}

func (w *Wanted) applyPeering(s Step) bool {
	key := ends(s.Vpc, s.Peer)
	if s.Kind == DropPeer {
		there := w.Peerings[key]
		delete(w.Peerings, key)
		return there
	}
	_, one := w.Vpcs[s.Vpc]
	_, other := w.Vpcs[s.Peer]
	if !one || !other || w.Peerings[key] {
		return false
	}
	w.Peerings[key] = true
	return true
}

func (w *Wanted) applySubnet(s Step) bool {
	_, taken := w.Subnets[s.Vpc][s.Subnet]
	if taken != (s.Kind == DropSubnet) {
		return false
	}
	if s.Kind == DropSubnet {
		delete(w.Subnets[s.Vpc], s.Subnet)
		return true
	}
	if !slices.Contains(w.Vpcs[s.Vpc], s.Clusters[0]) {
		return false
	}
	w.Subnets[s.Vpc][s.Subnet] = Subnet{Cluster: s.Clusters[0], Pool: s.Pool}
	return true
}
