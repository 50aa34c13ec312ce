// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"time"

	"github.com/tombolo-io/tombolo/e2e/lab/probe"
)

// FirstPacket measures the time from the start of act until the first echo reply between two pods, by the clock of
// this machine, which is also the pods'. Echo requests go out every 5 ms from before act on, for at most the patience.
func FirstPacket(ctx context.Context, from, to *Pod, patience time.Duration, act func(context.Context) error) (time.Duration, error) {
	const interval = 5 * time.Millisecond
	type answer struct {
		report probe.PingReport
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		report, err := from.Ping(ctx, to.Address, int(patience/interval), interval)
		answers <- answer{report, err}
	}()
	// The pinger has to be under way: exec takes some 50 ms to reach the pod.
	select {
	case <-time.After(500 * time.Millisecond):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	begin := time.Now()
	if err := act(ctx); err != nil {
		return 0, err
	}
	a := <-answers
	if a.err != nil {
		return 0, a.err
	}
	if a.report.Received == 0 {
		return 0, fmt.Errorf("%s got no reply from %s within %s", from.Name, to.Address, patience)
	}
	took := time.Unix(0, a.report.FirstReplyUnixNano).Sub(begin)
	if took < 0 {
		return 0, fmt.Errorf("%s reached %s before anything was done", from.Name, to.Address)
	}
	return took, nil
}
