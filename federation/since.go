// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"encoding/json"
	"maps"
	"slices"

	spokev1alpha1 "github.com/tombolo-io/tombolo/apis/spoke/v1alpha1"
)

const (
	// ownPart is all of a router but the ways to other Vpcs; the others are called as the Vpc. No Vpc is called so.
	ownPart = "."
	// otherParts are those that are not named.
	otherParts = "*"
)

// since is from which generation on a LocalRouter says what it says, part by part. The hub writes it beside each new spec: what the
// cluster had realized before is left out.
type since struct {
	generation int64
	parts      map[string]int64
}

// readSince reads what the hub has written beside the spec. Of a router without that, nothing is older than its generation.
func readSince(o *spokev1alpha1.LocalRouter) since {
	s := since{generation: o.Generation}
	if text, ok := o.Annotations[spokev1alpha1.AnnotationPending]; ok {
		if err := json.Unmarshal([]byte(text), &s.parts); err != nil {
			s.parts = nil // somebody else wrote it
		}
	}
	return s
}

func (s since) of(part string) int64 {
	if s.parts == nil {
		return s.generation
	}
	if generation, ok := s.parts[part]; ok {
		return generation
	}
	return s.parts[otherParts]
}

// Pending is the value of the annotation that goes with a new spec of a router: which parts the cluster may not have realized, and since which
// generation they say what they say.
func Pending(before *spokev1alpha1.LocalRouter, updated *spokev1alpha1.LocalRouterSpec) string {
	generation, had := before.Generation+1, readSince(before)
	parts := maps.Clone(had.parts)
	if parts == nil {
		parts = map[string]int64{otherParts: before.Generation}
	}
	maps.DeleteFunc(parts, func(_ string, since int64) bool { return since <= before.Status.ObservedGeneration })
	if before.Spec.VpcUID != updated.VpcUID {
		parts = map[string]int64{otherParts: generation}
	}
	if !sameOwn(&before.Spec, updated) {
		parts[ownPart] = generation
	}
	haveWays, wantWays := waysByVpc(&before.Spec), waysByVpc(updated)
	for vpc, want := range wantWays {
		if !haveWays[vpc].same(want) {
			parts[string(vpc)] = generation
		}
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return "" // numbers by name can always be written
	}
	return string(text)
}

// ways are a router's ways to another Vpc.
type ways struct {
	remotes []spokev1alpha1.Remote
	peers   []spokev1alpha1.LocalPeer
}

// waysByVpc are the ways to each other Vpc.
func waysByVpc(spec *spokev1alpha1.LocalRouterSpec) map[Key]ways {
	all := map[Key]ways{}
	for _, r := range spec.Remotes {
		if key := vpcKeyOf(r.Vpc); key != vpcKeyOf(spec.Vpc) {
			w := all[key]
			w.remotes = append(w.remotes, r)
			all[key] = w
		}
	}
	for _, p := range spec.Peers {
		w := all[vpcKeyOf(p.Vpc)]
		w.peers = append(w.peers, p)
		all[vpcKeyOf(p.Vpc)] = w
	}
	return all
}

func vpcKeyOf(v spokev1alpha1.VpcIdentity) Key { return joinKey(v.Namespace, v.Name) }

func (w ways) same(x ways) bool {
	return slices.EqualFunc(w.remotes, x.remotes, sameRemote) && slices.EqualFunc(w.peers, x.peers, samePeer)
}

// sameOwn is true when two specs say the same but for the ways to other Vpcs.
func sameOwn(a, b *spokev1alpha1.LocalRouterSpec) bool {
	own := func(spec *spokev1alpha1.LocalRouterSpec) *spokev1alpha1.LocalRouterSpec {
		o := *spec
		o.Peers, o.Remotes, o.Routes = nil, nil, nil // the routes follow from the ways
		for _, r := range spec.Remotes {
			if vpcKeyOf(r.Vpc) == vpcKeyOf(spec.Vpc) {
				o.Remotes = append(o.Remotes, r)
			}
		}
		return &o
	}
	return sameSpec(own(a), own(b))
}
