// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

// Package settled remembers which objects were found to be as decided, so that of a large fleet only what may have
// changed is compared again. Forgetting costs time, never correctness.
package settled

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tombolo-io/tombolo/federation"
)

// Kinds are the settled objects by kind.
type Kinds struct {
	Pools, Vpcs, Subnets, Peerings, Routers, Gateways Set
}

// Unsettle forgets every object whose decision has changed.
func (k *Kinds) Unsettle(changes federation.Changes) {
	k.Pools.forget(changes.Pools)
	k.Vpcs.forget(changes.Vpcs)
	k.Subnets.forget(changes.Subnets)
	k.Peerings.forget(changes.Peerings)
	k.Routers.forget(changes.Routers)
	k.Gateways.forget(changes.Gateways)
}

// Set holds the settled objects of one kind, each with the resourceVersion that was compared. The zero Set is empty.
type Set struct {
	versions map[federation.Key]string
}

// Has is true when this version of the object is as decided, and the decision has not changed since.
func (s *Set) Has(key federation.Key, object client.Object) bool {
	version, ok := s.versions[key]
	return ok && version == object.GetResourceVersion()
}

// Add says that this version of the object is as decided.
func (s *Set) Add(key federation.Key, object client.Object) {
	if s.versions == nil {
		s.versions = map[federation.Key]string{}
	}
	s.versions[key] = object.GetResourceVersion()
}

func (s *Set) forget(keys []federation.Key) {
	for _, key := range keys {
		delete(s.versions, key)
	}
}
