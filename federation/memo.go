// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package federation

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A cell remembers one value and what it was computed from. Inputs are compared by identity: they are pointers (or
// small values), and what they point to never changes. A new value that says the same as the old one is dropped for
// it, so that whoever has the cell's value among its own inputs sees no change.
//
// All of the planner's memory is cells, so "incremental" is not a second way to plan: a full plan is the same
// code with empty cells.
type cell[T any] struct {
	inputs []any
	value  *T
}

// get returns the value for these inputs. It keeps no reference to the list of them.
func (c *cell[T]) get(compute func() *T, inputs ...any) *T {
	if c.inputs != nil && slices.Equal(c.inputs, inputs) {
		return c.value
	}
	c.inputs = append(c.inputs[:0], inputs...)
	return c.keep(compute())
}

// set puts a value that was computed elsewhere.
func (c *cell[T]) set(value *T) *T {
	c.inputs = nil
	return c.keep(value)
}

// keep takes a value for the old one, unless both say the same.
func (c *cell[T]) keep(value *T) *T {
	if c.value == value {
		return value
	}
	if c.value == nil || value == nil || !reflect.DeepEqual(c.value, value) {
		c.value = value
	}
	return c.value
}

// object is what the planner needs of an object of any kind.
type object interface {
	comparable
	metav1.Object
}

// tracked is an object of the snapshot, from plan to plan.
type tracked[O object] struct {
	key Key
	// obj stays the same pointer as long as the object is unchanged.
	obj O
	// raw is the pointer of the newest snapshot.
	raw O
	// created is the creation time in seconds.
	created int64
	// seen is the plan that had the object last.
	seen int
}

func (t *tracked[O]) track() *tracked[O] { return t }

// older orders by age and then by key.
func (t *tracked[O]) older(u *tracked[O]) int {
	return cmp.Or(cmp.Compare(t.created, u.created), cmp.Compare(t.key, u.key))
}

// store keeps one node for each object of a kind.
type store[O object, N any, P interface {
	*N
	track() *tracked[O]
}] struct {
	byKey map[Key]P
	byRaw map[O]P
	// sorted by compare; all passes go through it in this order.
	sorted []P
	// gone are the nodes that the newest snapshot has no object for.
	gone []P
	plan int
}

// sync takes a new list of objects. It returns true when any of them is new, other or gone.
func (s *store[O, N, P]) sync(objects []O, changed func(P), compare func(a, b P) int) bool {
	if s.byKey == nil {
		s.byKey, s.byRaw = make(map[Key]P, len(objects)), make(map[O]P, len(objects))
	}
	s.plan++
	any := false
	var none O
	for _, obj := range objects {
		if obj == none {
			continue
		}
		n, known := s.byRaw[obj]
		if !known && s.adopt(obj, &n) {
			any = true
			changed(n)
		}
		n.track().seen = s.plan
	}
	s.gone = s.gone[:0]
	s.sorted = slices.DeleteFunc(s.sorted, func(n P) bool {
		t := n.track()
		if t.seen == s.plan {
			return false
		}
		s.gone = append(s.gone, n)
		delete(s.byKey, t.key)
		delete(s.byRaw, t.raw)
		return true
	})
	if any {
		slices.SortFunc(s.sorted, compare)
	}
	return any || len(s.gone) > 0
}

// adopt finds or makes the node of a pointer that was not seen before, and returns true when the object is a new one.
func (s *store[O, N, P]) adopt(obj O, node *P) bool {
	key := keyOf(obj)
	n, known := s.byKey[key]
	if !known {
		n = new(N)
		s.byKey[key] = n
		s.sorted = append(s.sorted, n)
	}
	*node = n
	t := n.track()
	delete(s.byRaw, t.raw)
	t.key, t.raw = key, obj
	s.byRaw[obj] = n
	if known && sameObject(t.obj, obj) {
		return false
	}
	t.obj, t.created = obj, obj.GetCreationTimestamp().Unix()
	return true
}

// sameObject is true when both are one version of one object.
func sameObject[O metav1.Object](a, b O) bool {
	return a.GetUID() != "" && a.GetUID() == b.GetUID() &&
		a.GetResourceVersion() != "" && a.GetResourceVersion() == b.GetResourceVersion()
}

// keyOf names an object.
func keyOf(o metav1.Object) Key {
	if o.GetNamespace() == "" {
		return Key(o.GetName())
	}
	return joinKey(o.GetNamespace(), o.GetName())
}

func joinKey(namespace, name string) Key { return Key(namespace + "/" + name) }

// shelf is one map of the Result. The map that was handed out last is never written to again.
type shelf[V any] struct {
	items   map[Key]V
	shared  bool
	changed []Key
}

// put sets the value of a key; the caller knows that it differs.
func (s *shelf[V]) put(key Key, value V) {
	s.own()
	s.items[key] = value
	s.changed = append(s.changed, key)
}

// drop removes a key.
func (s *shelf[V]) drop(key Key) {
	if _, ok := s.items[key]; !ok {
		return
	}
	s.own()
	delete(s.items, key)
	s.changed = append(s.changed, key)
}

// hand gives the map out, and the keys that changed since it was handed out before.
func (s *shelf[V]) hand() (map[Key]V, []Key) {
	if s.items == nil {
		s.items = map[Key]V{}
	}
	changed := slices.Sorted(slices.Values(s.changed))
	s.shared, s.changed = true, nil
	return s.items, slices.Compact(changed)
}

func (s *shelf[V]) own() {
	if s.items == nil {
		s.items = map[Key]V{}
	} else if s.shared {
		s.items = maps.Clone(s.items)
	}
	s.shared = false
}
