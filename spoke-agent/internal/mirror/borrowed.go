// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"context"
	"errors"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// borrowed is the spoke's cache for one session. The cache lives on, and a controller that ends leaves its handlers in it: borrowed takes
// them out.
type borrowed struct {
	cache.Cache

	mu     sync.Mutex
	given  bool
	remove []func() error
}

// GetInformer lends an informer.
func (b *borrowed) GetInformer(ctx context.Context, o client.Object, opts ...cache.InformerGetOption) (cache.Informer, error) {
	informer, err := b.Cache.GetInformer(ctx, o, opts...)
	if err != nil {
		return nil, err
	}
	return lent{informer, b}, nil
}

// giveBack removes every handler, and lets no further one in.
func (b *borrowed) giveBack() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.given = true
	var errs []error
	for _, remove := range b.remove {
		errs = append(errs, remove())
	}
	b.remove = nil
	return errors.Join(errs...)
}

// lent is an informer whose handlers are counted.
type lent struct {
	cache.Informer
	to *borrowed
}

func (l lent) note(add func() (toolscache.ResourceEventHandlerRegistration, error)) (toolscache.ResourceEventHandlerRegistration, error) {
	l.to.mu.Lock()
	defer l.to.mu.Unlock()
	if l.to.given {
		return nil, errors.New("the session has ended")
	}
	registration, err := add()
	if err == nil {
		l.to.remove = append(l.to.remove, func() error { return l.Informer.RemoveEventHandler(registration) })
	}
	return registration, err
}

// AddEventHandler implements cache.Informer.
func (l lent) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.note(func() (toolscache.ResourceEventHandlerRegistration, error) { return l.Informer.AddEventHandler(h) })
}

// AddEventHandlerWithResyncPeriod implements cache.Informer.
func (l lent) AddEventHandlerWithResyncPeriod(h toolscache.ResourceEventHandler, period time.Duration) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.note(func() (toolscache.ResourceEventHandlerRegistration, error) {
		return l.Informer.AddEventHandlerWithResyncPeriod(h, period)
	})
}

// AddEventHandlerWithOptions implements cache.Informer.
func (l lent) AddEventHandlerWithOptions(h toolscache.ResourceEventHandler, options toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	return l.note(func() (toolscache.ResourceEventHandlerRegistration, error) {
		return l.Informer.AddEventHandlerWithOptions(h, options)
	})
}
