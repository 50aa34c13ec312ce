// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import "fmt"

// LedgerGuards are what keeps one value from two holders. The zero value has none of them.
type LedgerGuards struct {
	// CompareAndSwap: a ledger is written only over the version that was decided from.
	CompareAndSwap bool
	// LedgerFirst: nothing is distributed before the ledger is known to have it.
	LedgerFirst bool
	// Reread: a write of unknown outcome is looked up, and neither taken for done nor for failed.
	Reread bool
	// Quarantine: a released value is free only when the hub has no router with it.
	Quarantine bool
	// Holds: and only when no cluster says that it still has it, for the hub's objects can vanish without a tombstone.
	Holds bool
	// SayFirst: a cluster says that it has a value before it has it.
	SayFirst bool
}

const (
	owners = 2
	spokes = 2
	// versions bounds how often the ledger is written.
	versions = 5
	// vanishes bounds how often an object vanishes without a tombstone.
	vanishes = 1
)

// State of an owner, and of a router on the hub.
const (
	notYet uint8 = iota
	alive
	dead
)

const (
	none uint8 = iota
	there
	tombstone
)

// view is the ledger of the one value that there is.
type view struct {
	version uint8
	// holder is 0 for nobody, or an owner's number and one.
	holder   uint8
	released bool
}

// Ledger is a state: two leaders, two owners, two clusters, one value.
type Ledger struct {
	stored view
	cache  [2]view
	doubt  [2]bool
	owner  [owners]uint8
	router [owners][spokes]uint8
	copy   [owners][spokes]bool
	says   [owners][spokes]bool
	leader uint8
	gone   uint8
}

// Exclusive is the promise: no two owners' copies have the value at the same time.
func (s Ledger) Exclusive() bool {
	var held [owners]bool
	for o := range owners {
		for c := range spokes {
			held[o] = held[o] || s.copy[o][c]
		}
	}
	return !held[0] || !held[1]
}

// Steps are what may happen. Only the newest leader distributes (what a deposed one creates late is stopped by its epoch,
// see Publish); both may write ledgers.
func (g LedgerGuards) Steps(s Ledger) []Step[Ledger] {
	var all []Step[Ledger]
	add := func(to Ledger, format string, args ...any) {
		all = append(all, Step[Ledger]{fmt.Sprintf(format, args...), to})
	}
	next := s
	next.leader = 1 - s.leader
	add(next, "leader %d takes over", next.leader)
	for l := range uint8(2) {
		next := s
		next.cache[l], next.doubt[l] = s.stored, false
		add(next, "leader %d reads", l)
		g.write(s, l, add)
	}
	for o := range uint8(owners) {
		next := s
		switch s.owner[o] {
		case notYet:
			next.owner[o] = alive
			add(next, "%d is created", o)
		case alive:
			next.owner[o] = dead
			add(next, "%d is deleted", o)
		}
		for c := range spokes {
			g.distribute(s, o, c, add)
			g.realize(s, o, c, add)
		}
	}
	return all
}

type adder func(to Ledger, format string, args ...any)

// write is what a leader may do to the ledger: hand out, mark as released, free.
func (g LedgerGuards) write(s Ledger, l uint8, add adder) {
	have := s.cache[l]
	if s.doubt[l] && g.Reread || s.stored.version >= versions {
		return
	}
	for o := range uint8(owners) {
		if have.holder == 0 && s.owner[o] == alive {
			g.swap(s, l, view{holder: o + 1}, fmt.Sprintf("leader %d gives to %d", l, o), add)
		}
		if have.holder != o+1 || s.owner[o] != dead {
			continue
		}
		if !have.released {
			g.swap(s, l, view{holder: o + 1, released: true}, fmt.Sprintf("leader %d releases %d", l, o), add)
		} else if g.drained(s, o) {
			g.swap(s, l, view{}, fmt.Sprintf("leader %d frees %d", l, o), add)
		}
	}
}

// drained is what a leader takes for proof that nobody has the value any more.
func (g LedgerGuards) drained(s Ledger, o uint8) bool {
	for c := range spokes {
		if g.Quarantine && s.router[o][c] != none || g.Holds && s.says[o][c] {
			return false
		}
	}
	return true
}

// swap writes the ledger: it is done and told, done and not told, or not done and not told.
func (g LedgerGuards) swap(s Ledger, l uint8, to view, what string, add adder) {
	if g.CompareAndSwap && s.cache[l].version != s.stored.version {
		return // refused, and told
	}
	done := s
	done.stored = view{version: s.stored.version + 1, holder: to.holder, released: to.released}
	told := done
	told.cache[l], told.doubt[l] = told.stored, false
	add(told, "%s", what)
	for outcome, lost := range map[string]Ledger{" (reply lost)": done, " (request lost)": s} {
		lost.doubt[l] = true
		if !g.Reread { // taken for done
			lost.doubt[l] = false
			lost.cache[l].holder, lost.cache[l].released = to.holder, to.released
		}
		add(lost, "%s%s", what, outcome)
	}
}

// distribute is what the leader does to the routers of an owner, and what may happen to them.
func (g LedgerGuards) distribute(s Ledger, o uint8, c int, add adder) {
	have := s.cache[s.leader]
	given := have.holder == o+1 && !have.released || !g.LedgerFirst && have.holder == 0
	next := s
	switch {
	case s.router[o][c] == none && s.owner[o] == alive && given && !(s.doubt[s.leader] && g.Reread):
		next.router[o][c] = there
		add(next, "%d is told to cluster %d", o, c)
	case s.router[o][c] == there && s.owner[o] == dead:
		next.router[o][c] = tombstone
		add(next, "%d gets a tombstone in cluster %d", o, c)
	}
	if s.router[o][c] != none && s.gone < vanishes {
		next := s
		next.router[o][c], next.gone = none, s.gone+1
		add(next, "the router of %d in cluster %d vanishes", o, c)
	}
}

// realize is what a cluster does.
func (g LedgerGuards) realize(s Ledger, o uint8, c int, add adder) {
	next := s
	switch {
	case s.router[o][c] == there && !s.copy[o][c] && (s.says[o][c] || !g.SayFirst):
		next.copy[o][c] = true
		add(next, "cluster %d has %d", c, o)
	case s.router[o][c] == tombstone && s.copy[o][c]:
		next.copy[o][c] = false
		add(next, "cluster %d has let %d go", c, o)
	case s.router[o][c] == tombstone && !s.copy[o][c]:
		next.router[o][c] = none
		add(next, "cluster %d acknowledges the tombstone of %d", c, o)
	}
	now := s.copy[o][c] || g.SayFirst && s.router[o][c] == there
	if s.says[o][c] != now {
		next := s
		next.says[o][c] = now
		add(next, "cluster %d says that it has %d: %v", c, o, now)
	}
}
