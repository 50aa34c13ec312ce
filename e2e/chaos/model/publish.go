// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import "fmt"

// PublishGuards are what keeps a cluster from going back in time. The zero value has none of them.
type PublishGuards struct {
	// Generations: an older generation never replaces a newer one of its epoch.
	Generations bool
	// Tombstones: a copy goes by the tombstone of its object alone, and not because nothing is listed.
	Tombstones bool
	// Identity: a tombstone counts only for the very object (UID) that the copy is of.
	Identity bool
	// Restart: a restore of the hub's store ends the leader; the next one counts the epoch up.
	Restart bool
	// AskFirst: a leader writes nothing to a cluster before that has reported in the leader's epoch. What clusters reported before
	// is in the hub's store, and went back with it.
	AskFirst bool
	// Compare: a leader freezes when the cluster reports a newer generation, or epoch, than the hub has.
	Compare bool
}

const (
	epochs      = 3
	generations = 4
	restores    = 1
	// late is how many versions the cluster may still be shown after newer ones.
	late = 2
)

// said is a version of the one object. order is when its content was decided, which nobody in the system knows.
type said struct {
	epoch, generation, uid, order uint8
	exists, deleted               bool
}

// Publish is a state: one object on the hub, its backup, versions that are on their way, one copy.
type Publish struct {
	epoch   uint8
	hub     said
	backup  said
	backed  uint8 // epoch of the backup, 0: none was made
	old     [late]said
	copy    said
	report  report // what the cluster last said
	before  report // the same in the backup
	lost    bool   // the leader was ended by a restore
	news    uint8  // order of the newest content ever
	uids    uint8
	undone  uint8
	frozen  bool
	back    bool // the copy went back in time
	emptied bool // the copy went without a tombstone of its own
}

// report is what a cluster tells of its copy, and in which epoch of the hub.
type report struct{ epoch, uid, generation uint8 }

// Forward is the promise: a copy never goes back in time, and goes by its own tombstone alone.
func (s Publish) Forward() bool { return !s.back && !s.emptied }

// Begin is a hub with one object.
func (g PublishGuards) Begin() Publish {
	return Publish{epoch: 1, hub: said{epoch: 1, generation: 1, uid: 1, order: 1, exists: true}, news: 1, uids: 1}
}

// Steps are what may happen.
func (g PublishGuards) Steps(s Publish) []Step[Publish] {
	var all []Step[Publish]
	add := func(what string, to Publish) { all = append(all, Step[Publish]{what, to}) }
	g.publish(s, add)
	g.lead(s, add)
	if s.backed == 0 {
		next := s
		next.backup, next.before, next.backed = s.hub, s.report, s.epoch
		add("a backup is made", next)
	}
	if s.backed > 0 && s.undone < restores {
		next := s
		next.hub, next.report, next.epoch, next.undone = s.backup, s.before, s.backed, s.undone+1
		next.old = [late]said{} // its servers were stopped
		next.lost = g.Restart
		add("the backup is restored", next)
	}
	if now := (report{s.epoch, s.copy.uid, s.copy.generation}); s.report != now && !s.lost {
		next := s
		next.report = now
		add("the cluster reports", next)
	}
	g.deliver(s, s.hub, "the cluster looks", add)
	for i, v := range s.old {
		if v != (said{}) {
			g.deliver(s, v, fmt.Sprintf("the cluster is shown version %d late", i), add)
		}
	}
	return all
}

// ahead is true when the cluster has reported something newer than the hub has.
func (s Publish) ahead() bool {
	return s.report.uid != 0 && s.report.uid == s.hub.uid && s.report.generation > s.hub.generation
}

// remember keeps the version that is replaced for late deliveries.
func (s *Publish) remember() {
	s.old[1] = s.old[0]
	s.old[0] = s.hub
}

// writes is true when there is a leader that may write.
func (g PublishGuards) writes(s Publish) bool {
	return !s.frozen && !s.lost && (!g.AskFirst || s.report.epoch == s.epoch)
}

// publish is what the hub does to the object.
func (g PublishGuards) publish(s Publish, add func(string, Publish)) {
	if g.Compare && s.ahead() {
		next := s
		next.frozen = true
		add("the hub freezes", next)
		return
	}
	if !g.writes(s) || s.hub.generation >= generations || s.news >= generations {
		return
	}
	next := s
	next.remember()
	switch {
	case s.hub.exists && !s.hub.deleted:
		next.news++
		next.hub.generation, next.hub.epoch, next.hub.order = s.hub.generation+1, s.epoch, next.news
		add("something new is published", next)
		if s.hub.epoch != s.epoch {
			same := s
			same.remember()
			same.hub.generation, same.hub.epoch = s.hub.generation+1, s.epoch
			add("the same is published in the new epoch", same)
		}
		gone := s
		gone.remember()
		gone.hub.deleted = true
		add("it gets a tombstone", gone)
	case s.hub.deleted && !s.copy.exists:
		next.hub = said{}
		add("it is collected", next)
	case !s.hub.exists && s.uids < 2:
		next.news++
		next.uids++
		next.hub = said{epoch: s.epoch, generation: 1, uid: next.uids, order: next.news, exists: true}
		add("another one of its name is published", next)
	}
}

// lead is a new leader, which counts the epoch up.
func (g PublishGuards) lead(s Publish, add func(string, Publish)) {
	if s.epoch >= epochs {
		return
	}
	next := s
	next.epoch++
	next.lost = false
	add("a new leader", next)
}

// deliver is what a cluster does with a version.
func (g PublishGuards) deliver(s Publish, v said, what string, add func(string, Publish)) {
	next := s
	switch {
	case !v.exists:
		if g.Tombstones || !s.copy.exists {
			return
		}
		next.copy, next.emptied = said{}, true
	case v.deleted:
		if !s.copy.exists || g.Identity && v.uid != s.copy.uid {
			return
		}
		next.emptied = v.uid != s.copy.uid
		next.copy = said{}
	case !s.copy.exists:
		next.copy = v
	case g.refuses(s, v):
		return
	default:
		next.back = v.order < s.copy.order
		next.copy = v
	}
	add(what, next)
}

func (g PublishGuards) refuses(s Publish, v said) bool {
	if v.uid != s.copy.uid {
		return true // another object takes its place when it is gone
	}
	if v.epoch != s.copy.epoch {
		return g.Generations && v.epoch < s.copy.epoch
	}
	return g.Generations && v.generation <= s.copy.generation
}
