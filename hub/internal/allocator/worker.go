// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tombolo-io/tombolo/e2e/chaos/ipam/record"
	"github.com/tombolo-io/tombolo/hub/internal/stale"
)

// kind is what owners are, and how they ask and let go. Each call may be made again after its process was killed.
type kind interface {
	kind() string
	// ask chooses what the next owner asks for: POOL[/...].
	ask(random *rand.Rand) string
	// allocate asks, and waits for the answer. again: a process before may have asked.
	allocate(ctx context.Context, owner, ask string, again bool) (answer, error)
	// release gives back, and released waits until nobody keeps it for the owner any more.
	release(ctx context.Context, owner, ask string) error
	released(ctx context.Context, owner string) error
}

// worker asks for one thing after the other.
type worker struct {
	*tenant
	kind
	number int
	has    []*owned
	random *rand.Rand
}

// run goes on with what a process before had begun, and then asks and gives back at random.
func (w *worker) run(ctx, stop context.Context, g *errgroup.Group) error {
	before := w.has
	w.has = nil
	for _, o := range before {
		var err error
		switch o.what {
		case record.Allocate:
			err = w.allocate(ctx, g, o, true)
		case record.Allocated:
			w.has = append(w.has, o)
		default:
			err = w.release(ctx, g, o)
		}
		if err != nil {
			return err
		}
	}
	for i := 0; stop.Err() == nil; i++ {
		if w.random.IntN(w.keep) < len(w.has) {
			n := w.random.IntN(len(w.has))
			o := w.has[n]
			w.has[n] = w.has[len(w.has)-1]
			w.has = w.has[:len(w.has)-1]
			if err := w.release(ctx, g, o); err != nil {
				return err
			}
			continue
		}
		// Nobody has had this name before: the clock of the machine only goes forward.
		name := fmt.Sprintf("w%d-%d-%d", w.number, record.Now()/1000, i)
		o := &owned{owner: w.kind.kind() + "/" + w.name + "/" + name, pool: w.ask(w.random)}
		if err := w.history.Write(record.Allocate, o.owner, o.pool); err != nil {
			return err
		}
		if err := w.allocate(ctx, g, o, false); err != nil {
			return err
		}
	}
	return nil
}

// allocate asks. Who is refused gives back at once: it might be given something later.
func (w *worker) allocate(ctx context.Context, g *errgroup.Group, o *owned, again bool) error {
	a, err := w.kind.allocate(ctx, o.owner, o.pool, again)
	if err != nil {
		return fmt.Errorf("allocate %s: %w", o.owner, err)
	}
	if a.refused {
		if err := w.history.Write(record.Refused, o.owner); err != nil {
			return err
		}
		sleep(ctx, stale.RetrySoon) // it is full
		return w.giveBack(ctx, g, o)
	}
	w.has = append(w.has, o)
	return w.history.Write(record.Allocated, o.owner, a.values...)
}

func (w *worker) release(ctx context.Context, g *errgroup.Group, o *owned) error {
	if o.what == record.Refused {
		return w.giveBack(ctx, g, o)
	}
	if err := w.history.Write(record.Release, o.owner); err != nil {
		return err
	}
	return w.giveBack(ctx, g, o)
}

// giveBack gives back. That takes long when clusters were told: then nobody waits for it here.
func (w *worker) giveBack(ctx context.Context, g *errgroup.Group, o *owned) error {
	if err := w.kind.release(ctx, o.owner, o.pool); err != nil {
		return fmt.Errorf("release %s: %w", o.owner, err)
	}
	wait := func() error {
		if err := w.released(ctx, o.owner); err != nil {
			return fmt.Errorf("wait for the end of %s: %w", o.owner, err)
		}
		return w.history.Write(record.Released, o.owner)
	}
	if strings.HasSuffix(o.pool, "/east") || strings.HasSuffix(o.pool, "/west") {
		g.Go(wait)
		return nil
	}
	return wait()
}
