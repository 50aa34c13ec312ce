// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"context"
	"maps"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tombolo-io/tombolo/federation"
	"github.com/tombolo-io/tombolo/hub/internal/fleet"
	"github.com/tombolo-io/tombolo/hub/internal/metrics"
	"github.com/tombolo-io/tombolo/hub/internal/snapshot"
)

// window is how long what has gone counts with what is to go: a removal in small steps is one removal.
const window = 10 * time.Minute

// past is what was distributed when the window began.
type past struct {
	began time.Time
	then  federation.Past
}

// since is what was distributed when the window began that now belongs to.
func (p *past) since(s *federation.Snapshot, now time.Time) federation.Past {
	if p.then == nil || now.Sub(p.began) >= window || now.Before(p.began) {
		p.began, p.then = now, federation.Remember(s)
	}
	return p.then
}

// ends is how long the window still lasts.
func (p *past) ends(now time.Time) time.Duration { return max(time.Second, window-now.Sub(p.began)) }

// grant remembers what is confirmed while it is being carried out. When all of it is, what has gone by it counts no more.
func (c *Controller) grant(removal *federation.Removal) {
	switch {
	case removal != nil && !removal.Held:
		if c.granted == nil {
			c.granted = map[string]bool{}
		}
		maps.Copy(c.granted, removal.Items)
	case c.granted != nil && removal == nil:
		c.granted, c.past.then = nil, nil
	}
}

// doubt tells that nothing is written, and why; or, when somebody has confirmed that this hub is right, makes its word count: then
// it is time to plan again.
func (c *Controller) doubt(ctx context.Context, state *snapshot.State, result *federation.Result) (accepted bool, err error) {
	if state.Fleet != nil && state.Fleet.Spec.ConfirmedRemoval == result.Doubt.Digest {
		log.FromContext(ctx).Info("somebody has confirmed that this hub is right", "reason", result.Doubt.Reason)
		return true, c.fleet.Accept(ctx, result.Doubt)
	}
	return false, c.reportFleet(ctx, state, result)
}

// reportFleet says in the Fleet what is held back.
func (c *Controller) reportFleet(ctx context.Context, state *snapshot.State, result *federation.Result) error {
	metrics.Frozen.Reset()
	if state.Fleet == nil {
		return nil
	}
	if reason := fleet.Reason(result); reason != "" {
		metrics.Frozen.WithLabelValues(reason).Set(1)
	}
	news, err := c.fleet.Report(ctx, state.Fleet, result)
	c.announce(news)
	return err
}
