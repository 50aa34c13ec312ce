// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
)

// Overlaps lists the pairs of owners that relied on overlapping values at the same time.
func Overlaps(lives []*Life) []string {
	var found []string
	pools := byPool(lives)
	for _, pool := range slices.Sorted(maps.Keys(pools)) {
		all := pools[pool]
		slices.SortFunc(all, func(a, b held) int { return cmp.Compare(a.life.from(), b.life.from()) })
		var live []held
		for _, h := range all {
			live = slices.DeleteFunc(live, func(o held) bool { return o.life.until() <= h.life.from() })
			for _, o := range live {
				if o.prefix.Overlaps(h.prefix) && o.life != h.life {
					found = append(found, fmt.Sprintf("pool %s: %s had %s and %s had %s, both %s", pool, o.life.Owner, o.value, h.life.Owner, h.value,
						during(h.life.from(), min(o.life.until(), h.life.until()))))
				}
			}
			live = append(live, h)
		}
	}
	return found
}

func during(from, until int64) string {
	if until == Forever {
		return "to the end"
	}
	return "for " + time.Duration(until-from).String()
}

// Doubles lists the owners that got more than one value of a pool.
func Doubles(lives []*Life) []string {
	var found []string
	for _, l := range lives {
		seen := map[string]bool{}
		for _, v := range l.Values {
			pool, _ := record.Split(v)
			if seen[pool] {
				found = append(found, fmt.Sprintf("%s has %v", l.Owner, l.Values))
			}
			seen[pool] = true
		}
	}
	return found
}
