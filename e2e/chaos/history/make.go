// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/faulty"
)

// Profile is what goes wrong in a history.
type Profile string

// The profiles.
const (
	// Lies: agents see empty and short lists of the hub and of their own cluster.
	Lies Profile = "lies"
	// Refusals: 403, 404, 410, 429, 500 and refused connections, for everybody.
	Refusals Profile = "refusals"
	// Replies: what was done is not told.
	Replies Profile = "replies"
	// Deaths: programs are killed before and after writes.
	Deaths Profile = "deaths"
	// Freezes: programs are stopped, and go on later with an old view.
	Freezes Profile = "freezes"
	// Garbage: truncated and oversized answers, slow watches.
	Garbage Profile = "garbage"
	// Strangers: another hub answers.
	Strangers Profile = "strangers"
	// Losses: CRDs are made anew, namespaces deleted.
	Losses Profile = "losses"
	// Backups: the hub is put back to an older state.
	Backups Profile = "backups"
)

// weights are how often a profile comes in a hundred histories. Backups comes only when it is asked for: the tree does not keep
// that promise yet (decision 14), and a Vpc that is made again gets what the clusters still have.
var weights = []struct {
	profile Profile
	weight  int
}{{Lies, 20}, {Refusals, 14}, {Replies, 16}, {Deaths, 14}, {Freezes, 14}, {Garbage, 12}, {Strangers, 6}, {Losses, 4}, {Backups, 0}}

// Profiles are all that there are.
func Profiles() []Profile {
	var all []Profile
	for _, w := range weights {
		all = append(all, w.profile)
	}
	return all
}

// ProfileOf is the profile of a seed.
func ProfileOf(seed uint64) Profile {
	n := rand.New(rand.NewPCG(seed, 1)).IntN(100)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.profile
		}
	}
	return Lies
}

// maker makes the steps of one history.
type maker struct {
	*rand.Rand
	clusters []string
	wanted   *Wanted
	steps    []Step
	frozen   map[string]bool
}

var vpcs = []string{"a", "b", "c", "d", "e"}

// Make makes a history of a profile from a seed: the same one each time.
func Make(seed uint64, profile Profile, clusters []string) []Step {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 2)), clusters: clusters, wanted: nothing(), frozen: map[string]bool{}}
	m.foundation()
	m.add(Step{Kind: Settle})
	if profile == Backups {
		m.backup()
		return m.steps
	}
	for range 1 + m.IntN(3) {
		m.trouble(profile)
		for range 1 + m.IntN(3) {
			m.act()
			if m.IntN(2) == 0 {
				m.add(Step{Kind: Pause, Delay: time.Duration(m.IntN(120)) * time.Millisecond})
			}
		}
	}
	return m.steps
}

func (m *maker) add(s Step) bool {
	if !m.wanted.apply(s) {
		return false
	}
	m.steps = append(m.steps, s)
	return true
}

// foundation is two peered Vpcs with subnets, so that there is something to lose.
func (m *maker) foundation() {
	m.add(Step{Kind: MakeVpc, Vpc: "a", Clusters: m.clusters})
	m.add(Step{Kind: MakeVpc, Vpc: "b", Clusters: m.some()})
	m.add(Step{Kind: MakeSubnet, Vpc: "a", Subnet: 1, Clusters: m.clusters[:1]})
	m.add(Step{Kind: MakeSubnet, Vpc: "b", Subnet: 1, Pool: true, Clusters: m.wanted.Vpcs["b"][:1]})
	m.add(Step{Kind: MakePeer, Vpc: "a", Peer: "b"})
}

func pick[T any](m *maker, from []T) T { return from[m.IntN(len(from))] }

// some are at least one of the clusters.
func (m *maker) some() []string {
	var chosen []string
	for _, c := range m.clusters {
		if m.IntN(3) > 0 {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		chosen = []string{pick(m, m.clusters)}
	}
	return chosen
}

// act is one thing that people do.
func (m *maker) act() {
	for range 20 {
		if m.add(m.idea()) {
			return
		}
	}
}

// idea is what somebody may want to do now. Not all of them can be done.
func (m *maker) idea() Step {
	vpc := pick(m, vpcs)
	switch m.IntN(9) {
	case 0, 1:
		return Step{Kind: MakeVpc, Vpc: vpc, Clusters: m.some()}
	case 2:
		return Step{Kind: DropVpc, Vpc: vpc}
	case 3: // a name that comes back is another object
		m.add(Step{Kind: DropVpc, Vpc: vpc})
		return Step{Kind: MakeVpc, Vpc: vpc, Clusters: m.some()}
	case 4:
		return Step{Kind: MoveVpc, Vpc: vpc, Clusters: m.some()}
	case 5, 6:
		return m.peering()
	case 7:
		clusters := m.wanted.Vpcs[vpc]
		if len(clusters) == 0 {
			clusters = m.clusters
		}
		return Step{Kind: MakeSubnet, Vpc: vpc, Subnet: 1 + m.IntN(3), Clusters: []string{pick(m, clusters)}, Pool: m.IntN(2) == 0}
	}
	return m.returning()
}

// returning drops a subnet, and often asks the pool for another one at once: what was given back is soon given out again.
func (m *maker) returning() Step {
	var all []Step
	for _, vpc := range slices.Sorted(maps.Keys(m.wanted.Subnets)) {
		for _, n := range slices.Sorted(maps.Keys(m.wanted.Subnets[vpc])) {
			all = append(all, Step{Kind: DropSubnet, Vpc: vpc, Subnet: n})
		}
	}
	if len(all) == 0 {
		return Step{Kind: MakeVpc, Vpc: pick(m, vpcs), Clusters: m.clusters}
	}
	drop := pick(m, all)
	if m.IntN(3) == 0 {
		return drop
	}
	m.add(drop)
	vpc := pick(m, slices.Sorted(maps.Keys(m.wanted.Vpcs)))
	return Step{Kind: MakeSubnet, Vpc: vpc, Subnet: 1 + m.IntN(3), Clusters: []string{pick(m, m.wanted.Vpcs[vpc])}, Pool: true}
}

func (m *maker) peering() Step {
	there := slices.Sorted(maps.Keys(m.wanted.Vpcs))
	if len(there) < 2 {
		return Step{Kind: MakeVpc, Vpc: pick(m, vpcs), Clusters: m.clusters}
	}
	m.Shuffle(len(there), func(i, j int) { there[i], there[j] = there[j], there[i] })
	s := Step{Kind: MakePeer, Vpc: there[0], Peer: there[1]}
	if m.IntN(3) == 0 {
		s.Kind = DropPeer
	}
	return s
}

// trouble is one thing that goes wrong.
func (m *maker) trouble(profile Profile) {
	agent := pick(m, m.clusters)
	target := pick(m, append([]string{"hub"}, m.clusters...))
	server := "hub"
	if target != "hub" && m.IntN(3) == 0 {
		server = "own"
	}
	inject := func(f faulty.Fault) { m.add(Step{Kind: Inject, Target: target, Server: server, Fault: &f}) }
	switch profile {
	case Lies:
		kind := pick(m, []faulty.Kind{faulty.Empty, faulty.Short})
		m.add(Step{Kind: Lie, Target: agent, Server: pick(m, []string{"hub", "own"}), Resource: pick(m, []string{"localrouters", "localrouters", "interconnectgateways"}), Fault: &faulty.Fault{Kind: kind}})
		if m.IntN(3) == 0 { // a new process believes what it is told first
			m.add(Step{Kind: Kill, Target: agent})
			m.add(Step{Kind: Start, Target: agent})
		}
	case Refusals:
		m.refuse(target, inject)
	case Replies:
		inject(faulty.Fault{Kind: faulty.Drop, Verb: "write", Skip: m.IntN(4), Times: 1 + m.IntN(3)})
	case Deaths:
		inject(faulty.Fault{Kind: pick(m, []faulty.Kind{faulty.KillBefore, faulty.KillAfter}), Verb: "write", Skip: m.IntN(12), Times: 1})
	case Freezes:
		m.freeze(target)
	case Garbage:
		if m.IntN(2) == 0 { // of what matters most
			kind := pick(m, []faulty.Kind{faulty.Oversize, faulty.Truncate})
			m.add(Step{Kind: Lie, Target: agent, Server: "hub", Resource: "localrouters", Fault: &faulty.Fault{Kind: kind}})
			return
		}
		f := pick(m, []faulty.Fault{
			{Kind: faulty.Truncate, Times: 1 + m.IntN(4)},
			{Kind: faulty.Oversize, Times: 1 + m.IntN(4)},
			{Kind: faulty.Slow, Delay: time.Duration(50+m.IntN(250)) * time.Millisecond},
		})
		inject(f)
		if f.Kind != faulty.Slow {
			m.add(Step{Kind: Cut, Target: target})
		}
	case Strangers:
		m.add(Step{Kind: Foreign, Target: agent})
		m.add(Step{Kind: Pause, Delay: time.Duration(2000+m.IntN(1000)) * time.Millisecond})
		if m.IntN(2) == 0 {
			m.add(Step{Kind: Home, Target: agent})
		}
	case Losses:
		m.add(pick(m, []Step{
			{Kind: Namespace, Target: agent},
			{Kind: Definition, Resource: pick(m, []string{"localrouters.spoke.tombolo.io", "vpcpeerings.network.tombolo.io"})},
		}))
	}
}

func (m *maker) refuse(target string, inject func(faulty.Fault)) {
	codes := []int{http.StatusForbidden, http.StatusNotFound, http.StatusGone, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	f := faulty.Fault{Kind: faulty.Status, Code: pick(m, codes), Verb: pick(m, []string{"", "list", "watch", "write", "write", "write"}), Times: 1 + m.IntN(6)}
	if m.IntN(4) == 0 {
		f.Kind, f.Code = faulty.Refuse, 0
	}
	if f.Verb == "write" {
		f.Times += m.IntN(12)
	}
	inject(f)
	if f.Verb != "write" { // watches come back after about a second
		m.add(Step{Kind: Cut, Target: target})
		m.add(Step{Kind: Pause, Delay: time.Duration(800+m.IntN(800)) * time.Millisecond})
	}
}

// freeze stops a program and lets it go on two troubles later.
func (m *maker) freeze(target string) {
	if m.frozen[target] {
		m.add(Step{Kind: Go, Target: target})
		m.frozen[target] = false
		return
	}
	m.add(Step{Kind: Stop, Target: target})
	m.frozen[target] = true
}

// backup: what was done after the backup is lost.
func (m *maker) backup() {
	m.add(Step{Kind: Backup})
	for range 1 + m.IntN(3) {
		m.act()
	}
	if m.IntN(2) == 0 {
		m.add(Step{Kind: Settle})
	}
	m.add(Step{Kind: Restore})
}
