// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// slice is how long a run is looked at a time. What disturbs the machine for a moment disturbs some of them, and the
// median of all does not show it.
const slice = 5 * time.Millisecond

// meter takes the CPU time of this process, both ends', slice by slice.
type meter struct {
	at    time.Time
	spent time.Duration
	count int64
	costs []float64
}

func newMeter(now time.Time) *meter { return &meter{at: now, spent: processTime()} }

// look is called now and then with what was delivered until now.
func (m *meter) look(now time.Time, count int64) {
	if now.Sub(m.at) < slice || count == m.count {
		return
	}
	spent := processTime()
	m.costs = append(m.costs, float64(spent-m.spent)/float64(count-m.count))
	m.at, m.spent, m.count = now, spent, count
}

// cost is nanoseconds each.
func (m *meter) cost() float64 {
	if len(m.costs) == 0 {
		return 0
	}
	slices.Sort(m.costs)
	return m.costs[len(m.costs)/2]
}

func processTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(t.Nano())
}
