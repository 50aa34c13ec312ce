// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package wireguard

import (
	"net/netip"
	"slices"
	"time"
)

// How long a pair of keys is served beside the one that replaces it.
const (
	// grace is after the first session of the new pair. It is longer than keepalive, after which at the latest the other end has that
	// session too, and what it sent before has long arrived.
	grace = 60 * time.Second
	// patience is for the other end, which may not hear of the new key for a while.
	patience = time.Hour
)

// pair is one of this node's keys and one of a gateway's. Sessions of several pairs with one gateway can live at the same time, and
// each is received from; packets are sent through one.
type pair struct {
	// own is the public half of this node's key.
	own PublicKey
	Peer
	// since is when it was first served; established when its first session was seen, the zero time before.
	since, established time.Time
	// replaced is when it was first seen not to be wanted any more.
	replaced time.Time
}

// wants says whether a pair is one of those that state names: the former key is served and not wanted.
func (s state) wants(p *pair) bool {
	peer, ok := s.peers[p.Key]
	if !ok || peer.Address != p.Address {
		return false
	}
	for _, own := range []PrivateKey{s.key, s.next} {
		if public, err := own.Public(); err == nil && public == p.own {
			return true
		}
	}
	return false
}

// hasAddress says whether there is a gateway at that address, whatever its key.
func (s state) hasAddress(a netip.Addr) bool {
	for _, p := range s.peers {
		if p.Address == a {
			return true
		}
	}
	return false
}

// over says whether a pair has to go. A gateway that is gone goes at once; one of its keys, or of this node's, goes when the pair
// that replaces it works at both ends.
func over(p *pair, all []*pair, want state, now time.Time) bool {
	switch {
	case want.wants(p):
		p.replaced = time.Time{}
		return false
	case !want.hasAddress(p.Address):
		return true
	case p.replaced.IsZero():
		p.replaced = now
	}
	if now.Sub(p.replaced) >= patience {
		return true
	}
	return replacedAt(p.Address, all, want, now)
}

// replacedAt says whether a wanted pair of the gateway at that address has worked for long enough.
func replacedAt(a netip.Addr, all []*pair, want state, now time.Time) bool {
	return slices.ContainsFunc(all, func(p *pair) bool {
		return p.Address == a && want.wants(p) && !p.established.IsZero() && now.Sub(p.established) >= grace
	})
}

// choose is the pair that packets go through: the newest with a session, since the other end has that pair too; before there is one,
// that of the key in use. Pairs of one address, at least one.
func choose(pairs []*pair, current PublicKey, want state) *pair {
	var best *pair
	rank := func(p *pair) int {
		switch {
		case !p.established.IsZero():
			return 2
		case p.own == current && want.wants(p):
			return 1
		default:
			return 0
		}
	}
	for _, p := range pairs {
		if best == nil || rank(p) > rank(best) || rank(p) == rank(best) && p.since.After(best.since) {
			best = p
		}
	}
	return best
}
