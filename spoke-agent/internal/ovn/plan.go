// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package ovn

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn/nbdb"
)

// planner decides what one Set does: it holds what is there against what should be.
type planner struct {
	seen    seen
	wanted  []*wanted
	parents map[string]string // UUID of a wanted row: UUID of its parent
	gone    map[string]*row   // rows to delete, by UUID
	orphans []string
}

// plan decides the operations of one transaction. It is pure, and the same input gives the same operations in the same
// order. A router that wants a name which somebody else has is left as it is, and stops no other.
func plan(s seen, desired Desired) ([]ovsdb.Operation, Report) {
	refused := map[string]error{}
	for {
		p := &planner{seen: s, wanted: want(desired), parents: map[string]string{}, gone: map[string]*row{}}
		p.match()
		p.sort(desired)
		taken := p.collisions()
		if len(taken) == 0 {
			ops := slices.Concat(p.deletes(), p.waits(), p.inserts(), p.updates(), p.mutations())
			orphans := slices.DeleteFunc(p.orphans, func(owner string) bool { return refused[owner] != nil })
			return ops, Report{Operations: len(ops), Orphans: orphans, Refused: refused, Ports: p.ports()}
		}
		maps.Copy(refused, taken)
		desired.Routers = slices.DeleteFunc(slices.Clone(desired.Routers), func(r Router) bool { return taken[r.Owner] != nil })
	}
}

// match gives each wanted row the UUID of the row that is there.
func (p *planner) match() {
	actual := make(map[identity]string, len(p.wanted))
	for _, w := range p.wanted {
		if have, ok := p.seen.places[place{w.table, w.identity}]; ok {
			w.uuid = have.uuid
			w.secure(have)
		}
		actual[w.identity] = w.uuid
		if w.column != "" {
			p.parents[w.uuid] = actual[w.parent] // Parents come before their children.
		}
	}
}

// sort decides for each row of ours whether it stays, goes, or is an orphan.
func (p *planner) sort(desired Desired) {
	known := map[string]bool{} // owner: true to keep what is wanted, false to remove all
	for _, owner := range desired.Removed {
		known[owner] = false
	}
	for _, r := range desired.Routers {
		known[r.Owner] = true
	}
	keep := make(map[string]bool, len(p.wanted))
	for _, w := range p.wanted {
		keep[w.uuid] = true
	}
	orphans := map[string]bool{}
	for uuid, r := range p.seen.ours {
		if _, ok := known[r.owner]; !ok {
			orphans[r.owner] = true
		} else if !keep[uuid] {
			p.gone[uuid] = r
		}
	}
	p.orphans = slices.Sorted(maps.Keys(orphans))
}

// collisions reports, by the owner who wants it, names that rows of others have. LRP and LSP names are unique in the
// database; LR and LS names are not, but two with one name would make every name in ovn-nbctl ambiguous.
func (p *planner) collisions() map[string]error {
	taken := map[string]error{}
	for _, w := range p.wanted {
		for _, r := range p.seen.named[w.table][w.name] {
			if _, going := p.gone[r.uuid]; w.name == "" || r.uuid == w.uuid || going {
				continue
			}
			err := fmt.Errorf("%s %q (%s) belongs to owner %s, not to %s: remove that owner first", w.table, w.name, r.uuid, r.owner, w.owner)
			if r.owner == "" {
				err = fmt.Errorf("%s %q (%s) is there and is not ours (no external_ids:%s): "+
					"rename or remove it in OVN_Northbound, or rename the Vpc or Subnet", w.table, w.name, r.uuid, KeyOwner)
			}
			taken[w.owner] = errors.Join(taken[w.owner], err)
		}
	}
	return taken
}

// deletes removes root rows; ovsdb-server then collects the rows that only they held.
func (p *planner) deletes() []ovsdb.Operation {
	var ops []ovsdb.Operation
	for _, r := range sorted(maps.Values(p.gone)) {
		if r.isRoot() {
			ops = append(ops, deleteOp(r.table, r.uuid))
		}
	}
	return ops
}

// sweeps removes what an owner has in the database itself: its newest rows may be on their way into the cache, and once its
// removal is done nobody speaks for them any more.
func sweeps(removed []string) []ovsdb.Operation {
	var ops []ovsdb.Operation
	for _, owner := range removed {
		for _, table := range []string{nbdb.LogicalRouterTable, nbdb.LogicalSwitchTable} {
			ops = append(ops, deleteOwnedOp(table, owner))
		}
	}
	return ops
}

// waits guards the names that the schema does not keep unique. They come after the deletes: a Vpc that was deleted and
// made again has its old router removed in the same transaction.
func (p *planner) waits() []ovsdb.Operation {
	var ops []ovsdb.Operation
	for _, w := range p.wanted {
		if _, there := p.seen.ours[w.uuid]; !there && w.isRoot() {
			ops = append(ops, waitAbsentOp(w.table, w.name))
		}
	}
	return ops
}

func (p *planner) inserts() []ovsdb.Operation {
	inside := map[string]map[string][]string{} // parent, column: children
	for _, w := range p.wanted {
		if w.column == "" {
			continue
		}
		parent := p.parents[w.uuid]
		if inside[parent] == nil {
			inside[parent] = map[string][]string{}
		}
		inside[parent][w.column] = append(inside[parent][w.column], w.uuid)
	}
	var ops []ovsdb.Operation
	for _, w := range p.wanted {
		if _, there := p.seen.ours[w.uuid]; there {
			continue
		}
		columns := maps.Clone(w.columns)
		for column, children := range inside[w.uuid] {
			columns[column] = uuids(children)
		}
		ops = append(ops, insertOp(w.table, w.uuid, columns))
	}
	return ops
}

// updates repairs the columns that differ, and no others.
func (p *planner) updates() []ovsdb.Operation {
	var ops []ovsdb.Operation
	for _, w := range p.wanted {
		have, there := p.seen.ours[w.uuid]
		if !there {
			continue
		}
		changed := map[string]any{}
		for column, v := range w.columns {
			if v, differs := change(have.columns[column], v); differs {
				changed[column] = v
			}
		}
		if len(changed) > 0 {
			ops = append(ops, updateOp(w.table, w.uuid, changed))
		}
	}
	return ops
}

// mutations puts children into parents that are there already, and takes those out that should go. What others put
// into our rows (a NAT, a route by hand) stays.
func (p *planner) mutations() []ovsdb.Operation {
	add := map[string]map[string][]string{} // parent, column: children
	for _, w := range p.wanted {
		parent, there := p.seen.ours[p.parents[w.uuid]]
		if w.column == "" || !there || slices.Contains(parent.children[w.column], w.uuid) {
			continue
		}
		if add[parent.uuid] == nil {
			add[parent.uuid] = map[string][]string{}
		}
		add[parent.uuid][w.column] = append(add[parent.uuid][w.column], w.uuid)
	}
	var ops []ovsdb.Operation
	for _, parent := range sorted(maps.Values(p.seen.roots())) {
		if _, going := p.gone[parent.uuid]; going {
			continue
		}
		var m []ovsdb.Mutation
		for _, column := range slices.Sorted(maps.Keys(parent.children)) {
			m = append(m, addOrRemove(column, add[parent.uuid][column], p.misplaced(parent, column))...)
		}
		if len(m) > 0 {
			ops = append(ops, mutateOp(parent.table, parent.uuid, m...))
		}
	}
	return ops
}

// misplaced are the children of parent that go, or that are wanted in another parent.
func (p *planner) misplaced(parent *row, column string) []string {
	var out []string
	for _, c := range parent.children[column] {
		_, going := p.gone[c]
		if right, ok := p.parents[c]; going || ok && right != parent.uuid {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return out
}

// ports reads what OVN gave the pods' ports.
func (p *planner) ports() map[string]PortBinding {
	ports := map[string]PortBinding{}
	for _, w := range p.wanted {
		have, there := p.seen.ours[w.uuid]
		if !there || w.table != nbdb.LogicalSwitchPortTable || w.kind != kindPodPort {
			continue
		}
		if mac, addr, ok := dynamic(have.dynamicAddresses); ok {
			ports[w.name] = PortBinding{Address: addr, MAC: mac, Up: have.up}
		}
	}
	return ports
}

// change compares a column and returns what it should become. Sets have no order. In maps only our own keys count: a
// key that somebody else put there stays.
func change(have, want any) (any, bool) {
	switch want := want.(type) {
	case []string:
		have, _ := have.([]string)
		same := slices.Equal(have, want) ||
			slices.Equal(slices.Sorted(slices.Values(have)), slices.Sorted(slices.Values(want)))
		return want, !same
	case map[string]string:
		have, _ := have.(map[string]string)
		for key, v := range want {
			if got, there := have[key]; !there || got != v {
				merged := maps.Clone(want)
				for key, v := range have {
					if _, ours := want[key]; !ours {
						merged[key] = v
					}
				}
				return merged, true
			}
		}
		return have, false
	}
	return want, have != want
}

// sorted orders rows for transactions and dumps that are the same each time.
func sorted(rows iter.Seq[*row]) []*row {
	return slices.SortedFunc(rows, func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.owner, b.owner), cmp.Compare(a.kind, b.kind),
			cmp.Compare(a.id, b.id), cmp.Compare(a.uuid, b.uuid))
	})
}
