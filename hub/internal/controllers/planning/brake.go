// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package planning

import (
	"context"
	"maps"
	"slices"
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

// maxOffers are kept. In a fleet where something is always lost, each of them stands for a short while only.
const maxOffers = 8

// offers are the removals that waited last for somebody to confirm them: who confirms one has read it before something else was lost.
type offers []*federation.Removal

// note keeps a removal that is held. When nothing is, none is offered any more.
func (o *offers) note(r *federation.Removal) {
	switch {
	case r == nil || !r.Held:
		*o = nil
	case len(*o) == 0 || (*o)[len(*o)-1].Digest != r.Digest:
		*o = append(*o, r)
		*o = (*o)[max(0, len(*o)-maxOffers):]
	}
}

// find is what was offered with a digest.
func (o offers) find(digest string) map[string]bool {
	for _, r := range o {
		if r.Digest == digest {
			return r.Items
		}
	}
	return nil
}

// brake is what bounds the next plan.
func (c *Controller) brake(b federation.Brake, s *federation.Snapshot, now time.Time) federation.Brake {
	b.Past, b.Granted = c.past.since(s, now), maps.Clone(c.granted)
	if items := c.offers.find(b.Confirmed); items != nil {
		if b.Granted == nil {
			b.Granted = map[string]bool{}
		}
		maps.Copy(b.Granted, items)
	}
	return b
}

// grant remembers what is confirmed while it is being carried out. What has gone before somebody confirmed something, and what he confirmed, counts no more.
func (c *Controller) grant(removal *federation.Removal, confirmed string, s *federation.Snapshot, now time.Time) {
	var granted map[string]bool
	if removal != nil {
		granted = removal.Granted
	}
	for item := range granted {
		if !c.granted[item] {
			c.past = past{began: now, then: removal.After(s)}
			break
		}
	}
	c.granted = granted
	c.offers = slices.DeleteFunc(c.offers, func(r *federation.Removal) bool { return r.Digest == confirmed }) // once
	c.offers.note(removal)
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
