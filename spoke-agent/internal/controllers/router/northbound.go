// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/tombolo-io/tombolo/spoke-agent/internal/ovn"
)

// redial is how long to wait between two attempts to reach the northbound database for the first time. From then on
// the connection keeps itself.
const redial = 2 * time.Second

// Northbound is what the controller needs of ovn.Northbound.
type Northbound interface {
	Set(ctx context.Context, desired ovn.Desired) (ovn.Report, error)
	Changed() <-chan struct{}
}

// errNotDialled is the state before the first attempt has ended.
var errNotDialled = errors.New("not connected yet")

// fenced ends the process when another controller has begun to write: what this one knows may be old, and a new process begins anew.
type fenced chan error

// Start implements manager.Runnable.
func (f fenced) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-f:
		return err
	}
}

// end the process for an error.
func (f fenced) end(err error) {
	select {
	case f <- err:
	default: // It ends already.
	}
}

// northbound dials in the background, so that a database that is away blocks no reconciliation, and wakes the
// controller when the database is there and whenever it changes.
type northbound struct {
	dial func(context.Context) (Northbound, error)

	mu  sync.Mutex
	nb  Northbound
	err error
}

// get is the database, or why it is not there.
func (n *northbound) get() (Northbound, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nb == nil && n.err == nil {
		return nil, errNotDialled
	}
	return n.nb, n.err
}

// Start implements source.Source.
func (n *northbound) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	go func() {
		for !n.connect(ctx) {
			queue.Add(key)
			select {
			case <-ctx.Done():
				return
			case <-time.After(redial):
			}
		}
		queue.Add(key)
		for {
			select {
			case <-ctx.Done():
				return
			case <-n.nb.Changed():
				queue.Add(key)
			}
		}
	}()
	return nil
}

func (n *northbound) connect(ctx context.Context) bool {
	nb, err := n.dial(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	if err == nil {
		n.nb = nb
	}
	return err == nil
}
