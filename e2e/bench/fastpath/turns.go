// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/frames"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/load"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/measure"
	"github.com/tombolo-io/tombolo/e2e/bench/fastpath/topology"
)

// Turns are longer than caches need to fill, and shorter than most of what disturbs a machine. Streams and frames touch the most memory. Processes that
// carry packets work on after a turn of theirs: they get few, and nobody takes turns with them.
const (
	shortTurn = 5 * time.Millisecond
	longTurn  = 10 * time.Millisecond
)

// sending is a load between two pods.
type sending struct {
	*load.Session
	suite   *suite
	name    string
	kind    load.Kind
	turn    time.Duration
	path    *topology.Path
	restore func() error
	// carried is the CPU time of the path's processes until now, and left what has no count yet.
	carried, left time.Duration
}

// Turn implements measure.Run.
func (r *sending) Turn() (float64, error) {
	t, err := r.Session.Turn(r.turn)
	if err != nil {
		return 0, err
	}
	carried, err := r.path.CPU()
	if err != nil {
		return 0, err
	}
	spent := r.left + t.Spent + carried - r.carried
	r.carried = carried
	if t.Count == 0 {
		r.left = spent
		return math.NaN(), nil
	}
	r.left = 0
	unit := map[load.Kind]float64{load.RR: 1e-3, load.UDP: 1, load.TCP: 1e3}[r.kind] // of nanoseconds
	return float64(spent) / float64(t.Count) * unit, nil
}

// End implements measure.Run.
func (r *sending) End() (factor float64, others []measure.Value, err error) {
	result, err := r.Session.End()
	if err := errors.Join(err, r.restore()); err != nil {
		return 0, nil, err
	}
	r.suite.realTime = r.suite.realTime && result.RealTime
	switch r.kind {
	case load.RR:
		others = []measure.Value{
			{Measure: r.name + "_p50", Unit: "us", Value: float64(result.P50) / 1e3},
			{Measure: r.name + "_rate", Unit: "txn/s", Value: float64(result.Count) / result.Wall.Seconds()},
		}
	case load.UDP:
		return float64(result.Sent) / float64(result.Count), nil, nil // what was lost has been paid for
	}
	return 1, others, nil
}

// passing is frames through a gateway.
type passing struct {
	*frames.Run
	n    int
	turn time.Duration
}

// Turn implements measure.Run.
func (r passing) Turn() (float64, error) { return r.Run.Turn(r.n, r.turn) }

// End implements measure.Run.
func (r passing) End() (factor float64, others []measure.Value, err error) {
	return 1, nil, r.Run.End()
}

// calm waits for a moment in which few others want to run, ten seconds at most.
func calm(ctx context.Context) error {
	const few = 3
	for range 20 {
		var load [3]float64
		var running int
		text, err := os.ReadFile("/proc/loadavg")
		if err == nil {
			_, err = fmt.Sscanf(string(text), "%f %f %f %d/", &load[0], &load[1], &load[2], &running)
		}
		if err != nil || running <= few {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}
