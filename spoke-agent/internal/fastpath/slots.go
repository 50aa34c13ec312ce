// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package fastpath

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
)

// giveSlots gives flows the numbers that they have, or new ones, whose counts begin at zero.
func (f *Fastpath) giveSlots(want entries) error {
	have, err := f.read(gatewayMapTomboloSlots)
	if err != nil {
		return err
	}
	for _, slot := range assignSlots(want, have) {
		if err := f.maps[gatewayMapTomboloCounts].Put(slot, make([]flowCount, ebpf.MustPossibleCPU())); err != nil {
			return fmt.Errorf("clear count %d: %w", slot, err)
		}
	}
	return nil
}

// assignSlots writes into want the number that each flow has, or the lowest one that is free, and returns the latter. What goes with this
// change is not free yet: packets are still counted by it. Flows for which there is no number any more are left out, and counted by what they are.
func assignSlots(want, have entries) (fresh []uint32) {
	taken := map[string]bool{}
	for _, slot := range have {
		taken[string(slot)] = true
	}
	next := uint32(1) // 0 is none
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if slot, ok := have[key]; ok {
			want[key] = slot
			continue
		}
		for next < maxSlots && taken[string(encodeUint32(next))] {
			next++
		}
		if next == maxSlots {
			delete(want, key)
			continue
		}
		want[key] = encodeUint32(next)
		fresh = append(fresh, next)
		next++
	}
	return fresh
}
